// Foreign bytes as a server's replies: whole and in pieces they are understood alike.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "redis/parser.h"

namespace {

void write(std::string& out, claw::redis::Reply::View value) {
  out += static_cast<char>('a' + static_cast<int>(value.type()));
  out += std::to_string(value.is_array() ? static_cast<std::int64_t>(value.size()) : value.integer()) + ":";
  out += value.text();
  claw::redis::Reply::View child = value.first();
  for (std::size_t i = 0; i < value.size(); ++i, child = child.next()) write(out, child);
}

// All replies as text, fed `step` bytes at a time; '!' where they stop being RESP.
std::string understood(std::string_view bytes, std::size_t step) {
  claw::redis::Parser parser;
  claw::redis::Reply reply;
  std::string out;
  while (!bytes.empty()) {
    const std::size_t size = std::min(step, bytes.size());
    std::memcpy(parser.room(size).data(), bytes.data(), size);
    parser.commit(size);
    bytes.remove_prefix(size);
    for (;;) {
      const auto whole = parser.next(reply);
      if (!whole.ok()) return out + "!";
      if (!*whole) break;
      write(out, reply.root());
      out += "\n";
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size < 1) return 0;
  const std::string whole = understood(bytes.substr(1), size), pieces = understood(bytes.substr(1), static_cast<std::size_t>(data[0] % 7) + 1);
  CLAW_CHECK(whole == pieces);
  return 0;
}
