// Foreign bytes as a config file.
#include <cstdint>
#include <string_view>

#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = claw::parse_config({reinterpret_cast<const char*>(data), size}, "deployclaw.yaml");
  CLAW_CHECK(config.ok() || !config.error().detail.empty());
  return 0;
}
