#include "content/escapes.h"

#include <cstdint>
#include <cstring>

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

// Copies up to the first backslash, or all; how much that was. Eight bytes at a time: escapes stand close together in JSON
// within JSON. There is room for as much as there is to copy.
std::size_t copy_plain(std::string_view from, char* to) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kBackslashes = kOnes * '\\';
  std::size_t at = 0;
  for (; from.size() - at >= 8; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, from.data() + at, 8);
    std::memcpy(to + at, &word, 8);
    const std::uint64_t other = word ^ kBackslashes;
    if (((other - kOnes) & ~other & kOnes << 7) != 0) break;
  }
  for (; at < from.size() && from[at] != '\\'; ++at) to[at] = from[at];
  return at;
}

char simple_escape(char c) {
  switch (c) {
    case '"': case '\\': case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return '\0';
  }
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

Unescaped check_escapes(std::string_view raw) {
  Unescaped result;
  for (std::size_t at = raw.find('\\'); at != std::string_view::npos; at = raw.find('\\', at)) {
    if (++at == raw.size()) return {.well_formed = false};
    if (raw[at] != 'u') {
      if (simple_escape(raw[at++]) == '\0') return {.well_formed = false};
    } else if (code_point(raw, at, result.lone_surrogate) == kNoUnit) {
      return {.well_formed = false};
    }
  }
  return result;
}

Unescaped unescape(std::string_view raw, std::string& out) {
  Unescaped result;
  // Never longer than it was: six bytes become at most three, twelve become four.
  out.resize_and_overwrite(raw.size(), [&](char* const start, std::size_t) {
    char* to = start;
    for (std::size_t at = 0;;) {
      const std::size_t run = copy_plain(raw.substr(at), to);
      to += run;
      at += run + 1;
      if (at > raw.size()) break;  // no backslash any more
      result.well_formed = at < raw.size();
      if (!result.well_formed) break;
      if (raw[at] != 'u') {
        *to = simple_escape(raw[at++]);
        result.well_formed = *to++ != '\0';
      } else {
        const std::uint32_t c = code_point(raw, at, result.lone_surrogate);
        result.well_formed = c != kNoUnit;
        if (result.well_formed) to = put_utf8(to, c);
      }
      if (!result.well_formed) break;
    }
    return static_cast<std::size_t>(to - start);
  });
  return result;
}

}  // namespace claw::content
