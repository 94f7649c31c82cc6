// Any schema against any body: the input is both, split at the first zero byte.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "content/contract.h"

namespace content = claw::content;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = std::min(input.find('\0'), input.size());
  const auto contract = content::Contract::compile(input.substr(0, zero), {.assert_formats = size % 2 == 0});
  content::Document body;
  if (!contract.ok() || content::read_json(input.substr(std::min(zero + 1, input.size())), body)) return 0;
  const auto answer = contract->check(body.root());
  const auto violations = contract->explain(body.root());
  CLAW_CHECK(violations.empty() || answer != content::Contract::Answer::meets);
  return 0;
}
