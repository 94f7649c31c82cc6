// Foreign binary, read forward only; a read that would leave the body gives nothing and moves nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace claw::content {

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  bool done() const { return left() == 0; }

  std::optional<std::string_view> take(std::uint64_t count) {
    if (count > left()) return std::nullopt;
    const auto piece = bytes_.substr(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return piece;
  }
  std::optional<std::uint8_t> byte() {
    if (done()) return std::nullopt;
    return static_cast<std::uint8_t>(bytes_[at_++]);
  }
  // `width` bytes of at most 8, most significant first.
  std::optional<std::uint64_t> big_endian(unsigned width) {
    const auto piece = take(width);
    if (!piece) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : *piece) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }
  std::optional<std::uint64_t> little_endian(unsigned width) {
    const auto piece = take(width);
    if (!piece) return std::nullopt;
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i) value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>((*piece)[i])) << (8 * i);
    return value;
  }
  // Base 128, least significant group first, at most ten bytes and 64 bits.
  std::optional<std::uint64_t> varint() {
    const std::size_t start = at_;
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const auto next = byte();
      if (!next || (shift == 63 && *next > 1)) break;
      value |= static_cast<std::uint64_t>(*next & 0x7f) << shift;
      if ((*next & 0x80) == 0) return value;
    }
    at_ = start;
    return std::nullopt;
  }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

}  // namespace claw::content
