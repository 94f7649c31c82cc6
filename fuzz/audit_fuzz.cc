// Foreign bytes as a verifier key, a checkpoint and a proof of an entry: nothing unsigned is ever believed.
#include <cstdint>
#include <string>
#include <string_view>

#include "audit/format.h"
#include "audit/read.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static const claw::audit::VerifierKey key = claw::audit::verifier_of_seed("deployclaw/fuzz", std::string(32, 's'));
  if (const auto parsed = claw::audit::parse_verifier_key(bytes); parsed.ok()) {
    const auto again = claw::audit::parse_verifier_key(parsed->text());
    CLAW_CHECK(again.ok() && again->text() == parsed->text());
  }
  CLAW_CHECK(!claw::audit::open_checkpoint(bytes, key).ok());
  CLAW_CHECK(!claw::check_proof(bytes, "{}", key.text()).ok());
  return 0;
}
