// Foreign text as deployclaw.yaml: read, or refused with a line a problem.
#include <cstdint>
#include <string_view>

#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = claw::parse_config({reinterpret_cast<const char*>(data), size}, "f.yaml");
  CLAW_CHECK(config.ok() || !config.error().detail.empty());
  return 0;
}
