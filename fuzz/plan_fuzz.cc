// Foreign bytes as a plan file: it is the plan that its hash says, or an error.
#include <cstdint>
#include <string_view>

#include "model/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto plan = claw::plan_from_text({reinterpret_cast<const char*>(data), size}, "plan.json");
  if (!plan.ok()) return 0;
  const claw::PlanText text = claw::pin(*plan);
  const auto again = claw::plan_from_text(text.text, "plan.json");
  CLAW_CHECK(again.ok() && claw::pin(*again).text == text.text);
  return 0;
}
