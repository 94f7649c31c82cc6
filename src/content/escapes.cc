#include "content/escapes.h"

#include <array>
#include <cstdint>

namespace claw::content {
namespace {

constexpr std::uint32_t kNoUnit = 0xffffffff;

// Four hex digits at `at`.
std::uint32_t code_unit(std::string_view s, std::size_t at) {
  if (at + 4 > s.size()) return kNoUnit;
  std::uint32_t unit = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    const char c = s[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
    if (digit < 0) return kNoUnit;
    unit = unit << 4 | static_cast<std::uint32_t>(digit);
  }
  return unit;
}

char* put_utf8(char* to, std::uint32_t c) {
  const auto byte = [&](std::uint32_t b) { *to++ = static_cast<char>(b); };
  if (c < 0x80) return byte(c), to;
  if (c < 0x800) return byte(0xc0 | c >> 6), byte(0x80 | (c & 0x3f)), to;
  if (c < 0x10000) return byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f)), to;
  return byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 0x3f)), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f)), to;
}

// The code point that the \u at `at` - 1 begins, `at` moved behind it; U+FFFD for half a pair, kNoUnit for what is none.
std::uint32_t code_point(std::string_view raw, std::size_t& at, bool& lone_surrogate) {
  const std::uint32_t c = code_unit(raw, at + 1);
  if (c == kNoUnit) return kNoUnit;
  at += 5;
  if (c < 0xd800 || c > 0xdfff) return c;
  const std::uint32_t low = c <= 0xdbff && raw.substr(at).starts_with("\\u") ? code_unit(raw, at + 2) : kNoUnit;
  if (low < 0xdc00 || low > 0xdfff) {
    lone_surrogate = true;
    return 0xfffd;
  }
  at += 6;
  return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

}  // namespace

Escapes check_escapes(std::string_view raw) {
  Escapes result;
  for (std::size_t at = raw.find('\\'); at != std::string_view::npos; at = raw.find('\\', at)) {
    if (++at == raw.size()) return {.well_formed = false};
    if (raw[at] != 'u') {
      if (kEscapes[static_cast<unsigned char>(raw[at++])] == '\0') return {.well_formed = false};
    } else if (code_point(raw, at, result.lone_surrogate) == kNoUnit) {
      return {.well_formed = false};
    }
  }
  return result;
}

char* put_code_point(const char*& at, const char* end, char* to, bool& lone_surrogate) {
  const std::string_view rest(at, static_cast<std::size_t>(end - at));
  std::size_t behind = 1;
  const std::uint32_t c = rest.size() > 1 && rest[1] == 'u' ? code_point(rest, behind, lone_surrogate) : kNoUnit;
  if (c == kNoUnit) return nullptr;
  at += behind;
  return put_utf8(to, c);
}

}  // namespace claw::content
