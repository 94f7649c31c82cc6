// Foreign bytes as a Redis server's replies, in one piece and byte by byte: the same replies, or the same refusal.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "redis/parser.h"

namespace {

// How many whole replies came out; -1 when the bytes were refused.
int replies(std::string_view bytes, std::size_t step) {
  claw::redis::Parser parser;
  int count = 0;
  while (!bytes.empty()) {
    const std::size_t part = std::min(step, bytes.size());
    std::memcpy(parser.room(part).data(), bytes.data(), part);
    parser.commit(part);
    bytes.remove_prefix(part);
    for (;;) {
      claw::redis::Reply reply;
      const claw::Result<bool> whole = parser.next(reply);
      if (!whole.ok()) return -1;
      if (!*whole) break;
      ++count;
    }
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  CLAW_CHECK(replies(bytes, std::max<std::size_t>(size, 1)) == replies(bytes, 1));
  return 0;
}
