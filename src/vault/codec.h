// Messages as bytes and back: the plaintext of a snapshot, any bytes in any field.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/message.h"

namespace claw {

// Bounds on what is read back. Nothing is allocated before its size was checked against them.
inline constexpr std::uint64_t kMaxPlain = 4ull << 30;

// What encoded messages begin with: version and count.
inline constexpr std::size_t kEncodedHead = 12;
std::string encoded_head(std::uint64_t count);

// Code::full from kMaxPlain on.
Result<std::string> encode_messages(std::span<const Message> messages);
// Exactly the inverse; Code::corrupt on anything else, with the byte where it went wrong.
Result<std::vector<Message>> decode_messages(std::string_view bytes);

// Little-endian integers and length-prefixed strings, as the vault's files use them.
void put_number(std::string& out, std::uint64_t value, unsigned bytes);
void put_text(std::string& out, std::string_view text);  // u32 length, then the bytes; below 4 GiB

// Takes from the front of foreign bytes. After a failure everything reads as zero and ok() is false.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes), total_(bytes.size()) {}
  std::uint64_t number(unsigned bytes);
  std::string_view bytes(std::uint64_t size);
  std::string_view text() { return bytes(number(4)); }
  // A count of things of at least `least` bytes each; more than can follow is a failure.
  std::uint64_t count(unsigned bytes, std::uint64_t least);
  void fail() { ok_ = false; }

  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }
  std::uint64_t offset() const { return total_ - rest_.size(); }

 private:
  std::string_view rest_;
  std::uint64_t total_;
  bool ok_ = true;
};

}  // namespace claw
