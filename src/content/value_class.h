// What kind of thing a JSON value is, in one byte: type, magnitude of a number, shape and length of a text. Mining
// compares these bytes, never the values themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace claw::content {

using Code = std::uint8_t;

namespace code {
inline constexpr Code kAbsent = 0;  // a member that its object usually has
inline constexpr Code kNull = 1, kTrue = 2, kFalse = 3;
inline constexpr Code kObject = 4, kEmptyObject = 5, kArray = 6, kEmptyArray = 7;
inline constexpr Code kEmbeddedJson = 8, kTooDeep = 9, kDuplicate = 10;  // kDuplicate: a key twice in one object
// Integers by what holds them.
inline constexpr Code kZero = 16, kSmall = 17, kThousands = 18, kInt32 = 19, kInt53 = 20, kInt64 = 21, kUint64 = 22, kBigger = 23;
inline constexpr Code kNegative = 24, kNegativeInt64 = 25, kNegativeBigger = 26;
inline constexpr Code kFraction = 27, kNegativeFraction = 28, kExponent = 29, kPrecise = 30, kOverflow = 31;
inline constexpr Code kFirstText = 64;  // + 4 * shape + band of length
}  // namespace code

enum class Shape : std::uint8_t {
  empty, digits, decimal, negative, hex, uuid, instant, date, odd_date, email, url, ipv4, identifier, upper, lower, word, alphanumeric,
  dotted, kebab, path, base64, text, non_ascii, escaped, control, padded, placeholder, boolean, looks_json, lone_surrogate, other,
};

inline constexpr std::size_t kShapeBytes = 64;  // the first bytes of longer texts decide their shape

// A text as it stands between its quotes in JSON; `escapes`: it has a backslash. kShapeBytes from its first byte on are
// readable whatever its size is.
using ClassifyText = Code (*)(std::string_view raw, bool escapes);
extern const ClassifyText classify_text;  // the best way of this machine

// The ways there are on this machine, the best one first, for a test that they agree.
struct ClassifyWay {
  const char* name;
  ClassifyText classify;
};
std::span<const ClassifyWay> classify_ways();

inline bool is_text(Code code) { return code >= code::kFirstText; }
inline Shape shape_of(Code code) { return static_cast<Shape>((code - code::kFirstText) / 4); }

// The number at the front of `text`: its class and length. Length 0: it is none by RFC 8259. The caller checks what follows.
struct Number {
  Code code;
  std::size_t length;
};
Number classify_number(std::string_view text);

// "a number beyond 64 bits", "text like an email address"; for people.
std::string words_of(Code code);

}  // namespace claw::content
