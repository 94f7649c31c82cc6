// Foreign bytes as a snapshot's plaintext, and as a sealed object.
#include <cstdint>
#include <string>
#include <string_view>

#include "vault/codec.h"
#include "vault/sealed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto messages = claw::decode_messages(bytes); messages.ok()) {
    const auto again = claw::encode_messages(*messages);
    CLAW_CHECK(again.ok() && *again == bytes);
  }
  const std::string key(claw::kKeyBytes, 'k');
  CLAW_CHECK(!claw::unseal(bytes, key, "bound").ok());
  CLAW_CHECK(!claw::unwrap(bytes, key).ok());
  return 0;
}
