// The shape of a text, from the sets of characters that it is made of.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "content/byte_sets.h"
#include "content/value_class.h"

namespace claw::content {
namespace detail {

inline constexpr Sets kUpperLetters = set::kHexUpper | set::kUpper, kLowerLetters = set::kHexLower | set::kLower;

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Eight bytes of a certain form: a digit where it has a 0, anything where it has a ?, otherwise the same.
struct Form {
  std::uint64_t same = 0;    // what each byte is taken from: a right one becomes 0, a digit 0 to 9
  std::uint64_t counts = 0;  // bytes that matter
  std::uint64_t carry = 0;   // added to them, it sets the highest bit of a wrong one

  consteval explicit Form(const char* form) {
    std::array<std::uint8_t, 8> from{}, matter{}, more{};
    for (std::size_t i = 0; i < 8; ++i) {
      if (form[i] == '?') continue;
      from[i] = static_cast<std::uint8_t>(form[i]);
      matter[i] = 0xff;
      more[i] = form[i] == '0' ? 0x76 : 0x7f;
    }
    same = std::bit_cast<std::uint64_t>(from), counts = std::bit_cast<std::uint64_t>(matter), carry = std::bit_cast<std::uint64_t>(more);
  }
  bool is_at(const char* at) const {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    word = (word ^ same) & counts;
    return (((word + carry) | word) & 0x8080808080808080u) == 0;
  }
};

inline bool is_uuid(std::string_view s) {
  if (s.size() != 36) return false;
  for (const std::size_t at : {8, 13, 18, 23})
    if (s[at] != '-') return false;
  return true;
}

// "2026-03-14" in front, and what follows it.
inline Shape date_shape(std::string_view s) {
  if (s.size() == 10) return Shape::date;
  if (s.size() < 16 || !Form("???00:00").is_at(s.data() + 8)) return Shape::odd_date;
  const bool zone = s.back() == 'Z' || (s.size() > 6 && (s[s.size() - 6] == '+' || s[s.size() - 6] == '-'));
  return s[10] == 'T' && zone ? Shape::instant : Shape::odd_date;
}

inline bool same_word(std::string_view s, std::string_view lower) {
  if (s.size() != lower.size()) return false;
  for (std::size_t i = 0; i < s.size(); ++i)
    if ((s[i] | 0x20) != lower[i]) return false;
  return true;
}

inline Shape letters_only(std::string_view s, Sets sets) {
  if (s.size() <= 9) {
    for (const std::string_view nothing : {"null", "none", "nan", "undefined", "nil", "infinity"})
      if (same_word(s, nothing)) return Shape::placeholder;
    if (same_word(s, "true") || same_word(s, "false")) return Shape::boolean;
  }
  if ((sets & kUpperLetters) == 0) return Shape::lower;
  if ((sets & kLowerLetters) == 0) return Shape::upper;
  return Shape::word;
}

inline Shape escaped_shape(std::string_view s) {
  if (s.starts_with("{\\\"") || s.starts_with("[{\\\"")) return Shape::looks_json;
  for (std::size_t at = s.find('\\'); at != std::string_view::npos && at + 1 < s.size(); at = s.find('\\', at + 2))
    if (s.substr(at + 1).starts_with("u00") && at + 4 < s.size() && (s[at + 4] == '0' || s[at + 4] == '1')) return Shape::control;
  return Shape::escaped;
}

// Digits with signs, no letters.
inline Shape numeric_shape(std::string_view s, Sets sets) {
  std::size_t dots = 0;
  for (const char c : s) dots += c == '.';
  if ((sets & ~(set::kDigit | set::kDot)) == 0 && dots == 3) return Shape::ipv4;
  if (dots > 1) return Shape::other;
  if (s.front() == '-' && (sets & ~(set::kDigit | set::kDot | set::kDash)) == 0) return s.find('-', 1) == std::string_view::npos && s.size() > 1 ? Shape::negative : Shape::other;
  if ((sets & ~(set::kDigit | set::kDot)) == 0) return s.front() != '.' && s.back() != '.' ? Shape::decimal : Shape::other;
  if ((sets & ~(set::kDigit | set::kDash)) == 0) return Shape::kebab;
  return Shape::other;
}

[[gnu::always_inline]] inline Shape text_shape(std::string_view s, Sets sets) {
  if (sets == set::kDigit) return Shape::digits;
  if ((sets & ~set::kLetters) == 0) return letters_only(s, sets);
  if ((sets & set::kHigh) != 0) return Shape::non_ascii;
  if ((sets & set::kBackslash) != 0) return escaped_shape(s);
  if (s.front() == ' ' || s.back() == ' ') return Shape::padded;
  if (s.front() == '{' || s.front() == '[') return Shape::looks_json;
  if ((sets & set::kDash) != 0 && s.size() >= 10 && Form("0000-00-").is_at(s.data()) && is_digit(s[8]) && is_digit(s[9])) return date_shape(s);
  if ((sets & ~(set::kDigit | set::kLetters)) == 0) {
    const bool hexadecimal = (sets & (set::kLower | set::kUpper)) == 0 && (sets & (set::kHexLower | set::kHexUpper)) != (set::kHexLower | set::kHexUpper);
    return hexadecimal && s.size() >= 8 ? Shape::hex : Shape::alphanumeric;
  }
  if ((sets & ~(set::kDigit | set::kHexLower | set::kHexUpper | set::kDash)) == 0 && is_uuid(s)) return Shape::uuid;
  if ((sets & set::kSpace) != 0) return Shape::text;
  if ((sets & set::kLetters) == 0) return numeric_shape(s, sets);
  if ((sets & set::kAt) != 0) return std::count(s.begin(), s.end(), '@') == 1 && s.front() != '@' && s.back() != '@' ? Shape::email : Shape::other;
  if ((sets & set::kOtherSign) == 0 && same_word(s, "n/a")) return Shape::placeholder;
  if (s.starts_with("http://") || s.starts_with("https://")) return Shape::url;
  const Sets signs = sets & ~(set::kDigit | set::kLetters);
  if (signs == set::kUnderscore) return Shape::identifier;
  if (signs == set::kDot) return Shape::dotted;
  if (signs == set::kDash) return Shape::kebab;
  if ((signs & ~(set::kSlash | set::kBase64Sign)) == 0 && s.size() >= 16) return Shape::base64;
  return (signs & set::kSlash) != 0 ? Shape::path : Shape::other;
}

inline Code band(std::size_t length) { return length <= 32 ? 0 : length <= 128 ? 1 : length <= 1024 ? 2 : 3; }

}  // namespace detail

// classify_text() by one way: `sets_of` is one of byte_sets.h.
template <class SetsOf>
[[gnu::always_inline]] inline Code classify(std::string_view raw, bool escapes, SetsOf sets_of) {
  if (raw.empty()) return code::kFirstText;
  const Sets sets = sets_of(raw.data(), raw.size() < kShapeBytes ? raw.size() : kShapeBytes) | (escapes ? set::kBackslash : 0);
  return static_cast<Code>(code::kFirstText + 4 * static_cast<Code>(detail::text_shape(raw, sets)) + detail::band(raw.size()));
}

}  // namespace claw::content
