// Foreign bytes as a message's body: judged without trouble, and alike the second time.
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/result.h"
#include "content/inspect.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static claw::content::Inspector inspector;
  std::vector<char> padded(size + claw::Batch::kPadding);
  if (size > 0) std::memcpy(padded.data(), data, size);
  const claw::Field field{"payload", {padded.data(), size}};
  const auto one = inspector.inspect({&field, 1}), two = inspector.inspect({&field, 1});
  CLAW_CHECK(one.has_value() == two.has_value());
  if (one) CLAW_CHECK(one->kind == two->kind && one->path == two->path && one->offset == two->offset && one->field == 0);
  return 0;
}
