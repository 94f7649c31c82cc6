#include "content/msgpack.h"

#include <fmt/format.h>

#include <bit>
#include <vector>

#include "content/byte_reader.h"
#include "content/number_text.h"
#include "content/utf8.h"

namespace claw::content {
namespace {

class Reader {
 public:
  Reader(std::string_view body, Emitter& out) : in_(body), out_(out) {}

  Decoding read() {
    if (!value()) return flaw();
    while (!open_.empty())
      if (!step()) return flaw();
    if (!in_.done()) return Flaw{"bytes after the end", in_.at()};
    return std::nullopt;
  }

 private:
  struct Level {
    bool map;
    std::uint64_t left;
  };

  Decoding flaw() const { return flaw_ ? flaw_ : out_.flaw(); }
  bool fail(std::string_view what) {
    flaw_ = Flaw{what, in_.at()};
    return false;
  }

  bool step() {
    Level& level = open_.back();
    if (level.left == 0) {
      const bool map = level.map;
      open_.pop_back();
      return map ? out_.end_object(in_.at()) : out_.end_array(in_.at());
    }
    --level.left;
    return (!level.map || key()) && value();
  }

  // Every entry takes at least one byte (two in a map), so a count that the body cannot hold is refused at once.
  bool enter(bool map, std::optional<std::uint64_t> count, std::size_t at) {
    if (!count) return fail("cut off");
    if (*count > in_.left() / (map ? 2 : 1)) return fail("longer than the body");
    if (!(map ? out_.begin_object(at) : out_.begin_array(at))) return false;
    open_.push_back({map, *count});
    return true;
  }

  bool key() {
    const std::size_t at = in_.at();
    const auto mark = in_.byte();
    if (!mark) return fail("cut off");
    if (const auto integer = integer_text(*mark)) return out_.key(*integer, at);
    std::optional<std::uint64_t> size;
    if (*mark >= 0xa0 && *mark <= 0xbf) size = *mark & 0x1f;
    else if (*mark >= 0xd9 && *mark <= 0xdb) size = in_.big_endian(1u << (*mark - 0xd9));
    else return fail("key that is neither text nor an integer");
    const auto text = size ? in_.take(*size) : std::nullopt;
    if (!text) return fail("cut off");
    if (!is_utf8(*text)) return fail("key that is not UTF-8");
    return out_.key(*text, at);
  }

  // Digits of the integer that `mark` begins; nothing when it begins none, or when it is cut off.
  std::optional<std::string> integer_text(std::uint8_t mark) {
    if (mark <= 0x7f) return fmt::format_int(mark).str();
    if (mark >= 0xe0) return fmt::format_int(static_cast<std::int8_t>(mark)).str();
    if (mark < 0xcc || mark > 0xd3) return std::nullopt;
    const bool is_signed = mark >= 0xd0;
    const unsigned width = 1u << ((mark - (is_signed ? 0xd0u : 0xccu)) & 3u);
    const auto bits = in_.big_endian(width);
    if (!bits) return std::nullopt;
    if (!is_signed) return fmt::format_int(*bits).str();
    const unsigned unused = 64 - 8 * width;
    return fmt::format_int(static_cast<std::int64_t>(*bits << unused) >> unused).str();
  }

  bool value() {
    const std::size_t at = in_.at();
    const auto mark = in_.byte();
    if (!mark) return fail("cut off");
    if (*mark <= 0x7f || *mark >= 0xe0 || (*mark >= 0xcc && *mark <= 0xd3)) {
      const auto integer = integer_text(*mark);
      return integer ? out_.number(*integer, at) : fail("cut off");
    }
    if (*mark <= 0x8f) return enter(true, *mark & 0x0f, at);
    if (*mark <= 0x9f) return enter(false, *mark & 0x0f, at);
    if (*mark <= 0xbf) return text(*mark & 0x1f, at);
    switch (*mark) {
      case 0xc0: return out_.null(at);
      case 0xc2: return out_.boolean(false, at);
      case 0xc3: return out_.boolean(true, at);
      case 0xc4: case 0xc5: case 0xc6: return raw(in_.big_endian(1u << (*mark - 0xc4)), 0, at);
      case 0xc7: case 0xc8: case 0xc9: return raw(in_.big_endian(1u << (*mark - 0xc7)), 1, at);
      case 0xca: return number32(at);
      case 0xcb: return number64(at);
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return raw(1u << (*mark - 0xd4), 1, at);
      case 0xd9: case 0xda: case 0xdb: return text(in_.big_endian(1u << (*mark - 0xd9)), at);
      case 0xdc: case 0xdd: return enter(false, in_.big_endian(2u << (*mark - 0xdc)), at);
      case 0xde: case 0xdf: return enter(true, in_.big_endian(2u << (*mark - 0xde)), at);
      default: return fail("0xc1, which MessagePack never uses");
    }
  }

  bool text(std::optional<std::uint64_t> size, std::size_t at) {
    const auto piece = size ? in_.take(*size) : std::nullopt;
    if (!piece) return fail("cut off");
    return is_utf8(*piece) ? out_.string(*piece, at) : out_.bytes(*piece, at);
  }
  bool raw(std::optional<std::uint64_t> size, std::uint64_t type_bytes, std::size_t at) {
    const auto piece = size ? in_.take(*size + type_bytes) : std::nullopt;
    return piece ? out_.bytes(*piece, at) : fail("cut off");
  }
  bool number32(std::size_t at) {
    const auto bits = in_.big_endian(4);
    return bits ? out_.number(number_text(std::bit_cast<float>(static_cast<std::uint32_t>(*bits))), at) : fail("cut off");
  }
  bool number64(std::size_t at) {
    const auto bits = in_.big_endian(8);
    return bits ? out_.number(number_text(std::bit_cast<double>(*bits)), at) : fail("cut off");
  }

  ByteReader in_;
  Emitter& out_;
  std::vector<Level> open_;
  Decoding flaw_;
};

}  // namespace

Decoding read_msgpack(std::string_view body, Emitter& out) { return Reader(body, out).read(); }

}  // namespace claw::content
