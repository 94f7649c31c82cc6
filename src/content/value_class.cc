#include "content/value_class.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "content/byte_sets.h"

namespace claw::content {
namespace {

using namespace set;

constexpr Sets kUpperLetters = kHexUpper | kUpper, kLowerLetters = kHexLower | kLower;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

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

bool is_uuid(std::string_view s) {
  if (s.size() != 36) return false;
  for (const std::size_t at : {8, 13, 18, 23})
    if (s[at] != '-') return false;
  return true;
}

// "2026-03-14" in front, and what follows it.
Shape date_shape(std::string_view s) {
  if (s.size() == 10) return Shape::date;
  if (s.size() < 16 || !Form("???00:00").is_at(s.data() + 8)) return Shape::odd_date;
  const bool zone = s.back() == 'Z' || (s.size() > 6 && (s[s.size() - 6] == '+' || s[s.size() - 6] == '-'));
  return s[10] == 'T' && zone ? Shape::instant : Shape::odd_date;
}

bool same_word(std::string_view s, std::string_view lower) {
  if (s.size() != lower.size()) return false;
  for (std::size_t i = 0; i < s.size(); ++i)
    if ((s[i] | 0x20) != lower[i]) return false;
  return true;
}

Shape letters_only(std::string_view s, Sets sets) {
  if (s.size() <= 9) {
    for (const std::string_view nothing : {"null", "none", "nan", "undefined", "nil", "infinity"})
      if (same_word(s, nothing)) return Shape::placeholder;
    if (same_word(s, "true") || same_word(s, "false")) return Shape::boolean;
  }
  if ((sets & kUpperLetters) == 0) return Shape::lower;
  if ((sets & kLowerLetters) == 0) return Shape::upper;
  return Shape::word;
}

Shape escaped_shape(std::string_view s) {
  if (s.starts_with("{\\\"") || s.starts_with("[{\\\"")) return Shape::looks_json;
  for (std::size_t at = s.find('\\'); at != std::string_view::npos && at + 1 < s.size(); at = s.find('\\', at + 2))
    if (s.substr(at + 1).starts_with("u00") && at + 4 < s.size() && (s[at + 4] == '0' || s[at + 4] == '1')) return Shape::control;
  return Shape::escaped;
}

// Digits with signs, no letters.
Shape numeric_shape(std::string_view s, Sets sets) {
  std::size_t dots = 0;
  for (const char c : s) dots += c == '.';
  if ((sets & ~(kDigit | kDot)) == 0 && dots == 3) return Shape::ipv4;
  if (dots > 1) return Shape::other;
  if (s.front() == '-' && (sets & ~(kDigit | kDot | kDash)) == 0) return s.find('-', 1) == std::string_view::npos && s.size() > 1 ? Shape::negative : Shape::other;
  if ((sets & ~(kDigit | kDot)) == 0) return s.front() != '.' && s.back() != '.' ? Shape::decimal : Shape::other;
  if ((sets & ~(kDigit | kDash)) == 0) return Shape::kebab;
  return Shape::other;
}

Shape text_shape(std::string_view s, Sets sets) {
  if (sets == kDigit) return Shape::digits;
  if ((sets & ~kLetters) == 0) return letters_only(s, sets);
  if ((sets & kHigh) != 0) return Shape::non_ascii;
  if ((sets & kBackslash) != 0) return escaped_shape(s);
  if (s.front() == ' ' || s.back() == ' ') return Shape::padded;
  if (s.front() == '{' || s.front() == '[') return Shape::looks_json;
  if ((sets & kDash) != 0 && s.size() >= 10 && Form("0000-00-").is_at(s.data()) && is_digit(s[8]) && is_digit(s[9])) return date_shape(s);
  if ((sets & ~(kDigit | kLetters)) == 0) {
    const bool hexadecimal = (sets & (kLower | kUpper)) == 0 && (sets & (kHexLower | kHexUpper)) != (kHexLower | kHexUpper);
    return hexadecimal && s.size() >= 8 ? Shape::hex : Shape::alphanumeric;
  }
  if ((sets & ~(kDigit | kHexLower | kHexUpper | kDash)) == 0 && is_uuid(s)) return Shape::uuid;
  if ((sets & kSpace) != 0) return Shape::text;
  if ((sets & kLetters) == 0) return numeric_shape(s, sets);
  if ((sets & kAt) != 0) return std::count(s.begin(), s.end(), '@') == 1 && s.front() != '@' && s.back() != '@' ? Shape::email : Shape::other;
  if ((sets & kOtherSign) == 0 && same_word(s, "n/a")) return Shape::placeholder;
  if (s.starts_with("http://") || s.starts_with("https://")) return Shape::url;
  const Sets signs = sets & ~(kDigit | kLetters);
  if (signs == kUnderscore) return Shape::identifier;
  if (signs == kDot) return Shape::dotted;
  if (signs == kDash) return Shape::kebab;
  if ((signs & ~(kSlash | kBase64Sign)) == 0 && s.size() >= 16) return Shape::base64;
  return (signs & kSlash) != 0 ? Shape::path : Shape::other;
}

Code band(std::size_t length) { return length <= 32 ? 0 : length <= 128 ? 1 : length <= 1024 ? 2 : 3; }

Code integer_code(std::string_view digits, bool negative) {
  if (digits == "0") return code::kZero;
  const bool beyond = digits.size() > 19 || (digits.size() == 19 && digits > (negative ? "9223372036854775808" : "9223372036854775807"));
  const bool wide = digits.size() > 10 || (digits.size() == 10 && digits > "2147483647");
  if (negative) return beyond ? code::kNegativeBigger : wide ? code::kNegativeInt64 : code::kNegative;
  if (beyond) return digits.size() < 20 || (digits.size() == 20 && digits <= "18446744073709551615") ? code::kUint64 : code::kBigger;
  if (!wide) return digits.size() <= 3 ? code::kSmall : digits.size() <= 6 ? code::kThousands : code::kInt32;
  return digits.size() < 16 || (digits.size() == 16 && digits <= "9007199254740992") ? code::kInt53 : code::kInt64;
}

std::size_t digits_in_front(std::string_view s, std::size_t from) {
  std::size_t i = from;
  while (i < s.size() && static_cast<unsigned char>(s[i] - '0') <= 9) ++i;
  return i - from;
}

}  // namespace

Code classify_text(std::string_view raw, bool escapes) {
  if (raw.empty()) return code::kFirstText;
  // The first bytes of longer texts decide their shape.
  const Sets sets = sets_of(raw.data(), std::min(raw.size(), kMostSetBytes)) | (escapes ? kBackslash : 0);
  return static_cast<Code>(code::kFirstText + 4 * static_cast<Code>(text_shape(raw, sets)) + band(raw.size()));
}

Number classify_number(std::string_view text) {
  constexpr Number kNone{0, 0};
  const bool negative = text.starts_with('-');
  const std::size_t start = negative ? 1 : 0;
  const std::size_t whole = digits_in_front(text, start);
  if (whole == 0 || (whole > 1 && text[start] == '0')) return kNone;
  std::size_t at = start + whole, fraction = 0;
  int exponent = 0;
  bool scientific = false;
  if (at < text.size() && text[at] == '.') {
    fraction = digits_in_front(text, at + 1);
    if (fraction == 0) return kNone;
    at += 1 + fraction;
  }
  if (at < text.size() && (text[at] | 0x20) == 'e') {
    scientific = true;
    ++at;
    const bool down = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    const std::size_t digits = digits_in_front(text, at);
    if (digits == 0) return kNone;
    for (std::size_t i = at; i < at + digits && exponent < 100'000; ++i) exponent = exponent * 10 + (text[i] - '0');
    if (down) exponent = -exponent;
    at += digits;
  }
  if (!scientific && fraction == 0) return {integer_code(text.substr(start, whole), negative), at};
  if (static_cast<int>(std::min<std::size_t>(whole, 1'000)) + exponent > 309) return {code::kOverflow, at};
  if (scientific) return {code::kExponent, at};
  if (whole + fraction > 17) return {code::kPrecise, at};
  return {negative ? code::kNegativeFraction : code::kFraction, at};
}

std::string words_of(Code c) {
  if (is_text(c)) {
    static constexpr const char* kFormats[] = {
        "an empty text", "digits in quotes", "a decimal number in quotes", "a negative number in quotes", "hexadecimal text", "a UUID", "an instant (ISO 8601)", "a date", "a date in another form",
        "an email address", "a URL", "an IPv4 address", "an identifier with underscores", "upper-case letters", "lower-case letters", "letters", "letters and digits", "text with dots",
        "text with dashes", "a path", "base64 text", "free text", "text beyond ASCII", "text with escapes", "text with control characters", "text with blanks around it",
        "a placeholder such as \"null\"", "\"true\" or \"false\" in quotes", "text that begins like JSON", "a lone surrogate", "text of another form"};
    static constexpr const char* kBands[] = {"", ", longer than 32", ", longer than 128", ", longer than 1,024"};
    return std::string(kFormats[static_cast<std::size_t>(shape_of(c))]) + (shape_of(c) == Shape::empty ? "" : kBands[(c - code::kFirstText) % 4]);
  }
  switch (c) {
    case code::kAbsent: return "missing";
    case code::kNull: return "null";
    case code::kTrue: return "true";
    case code::kFalse: return "false";
    case code::kObject: return "an object";
    case code::kEmptyObject: return "an empty object";
    case code::kArray: return "an array";
    case code::kEmptyArray: return "an empty array";
    case code::kEmbeddedJson: return "JSON in a text";
    case code::kTooDeep: return "JSON in a text, nested too deep";
    case code::kDuplicate: return "a key that comes twice";
    case code::kZero: return "zero";
    case code::kSmall: return "an integer below 1,000";
    case code::kThousands: return "an integer of 4 to 6 digits";
    case code::kInt32: return "an integer of 7 to 10 digits";
    case code::kInt53: return "an integer beyond 32 bits";
    case code::kInt64: return "an integer beyond 53 bits";
    case code::kUint64: return "an integer beyond signed 64 bits";
    case code::kBigger: return "an integer beyond 64 bits";
    case code::kNegative: return "a negative integer";
    case code::kNegativeInt64: return "a negative integer beyond 32 bits";
    case code::kNegativeBigger: return "a negative integer beyond 64 bits";
    case code::kFraction: return "a number with a fraction";
    case code::kNegativeFraction: return "a negative number with a fraction";
    case code::kExponent: return "a number with an exponent";
    case code::kPrecise: return "a number of more than 17 digits";
    case code::kOverflow: return "a number beyond double precision";
    default: return "another value";
  }
}

}  // namespace claw::content
