// Foreign text as a plan file: whatever is accepted is exactly what its hash says.
#include <cstdint>
#include <string_view>

#include "model/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto plan = claw::plan_from_text({reinterpret_cast<const char*>(data), size}, "plan.json");
  if (!plan.ok()) return 0;
  const auto again = claw::plan_from_text(claw::plan_to_text(*plan), "plan.json");
  CLAW_CHECK(again.ok() && claw::plan_hash(*again) == claw::plan_hash(*plan));
  return 0;
}
