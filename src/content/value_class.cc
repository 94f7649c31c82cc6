#include "content/value_class.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "content/byte_sets.h"
#include "content/text_shape.h"

namespace claw::content {
namespace {

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

Code portable(std::string_view raw, bool escapes) { return classify(raw, escapes, portable_sets); }
#if defined(__x86_64__)
[[gnu::target("avx2")]] Code by_avx2(std::string_view raw, bool escapes) { return classify(raw, escapes, avx2_sets); }
[[gnu::target("avx2,bmi2,avx512bw,avx512vl")]] Code by_avx512(std::string_view raw, bool escapes) { return classify(raw, escapes, avx512_sets); }
#endif

struct Ways {
  std::array<ClassifyWay, 3> all;  // best first
  std::size_t count = 0;
};

Ways make_ways() {
  Ways ways;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) ways.all[ways.count++] = {"avx512", by_avx512};
  if (__builtin_cpu_supports("avx2")) ways.all[ways.count++] = {"avx2", by_avx2};
#endif
  ways.all[ways.count++] = {"portable", portable};
  return ways;
}

const Ways kWays = make_ways();

}  // namespace

const ClassifyText classify_text = kWays.all[0].classify;

std::span<const ClassifyWay> classify_ways() { return std::span(kWays.all).first(kWays.count); }

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
