// Numbers as JSON spells them, compared exactly: 0.1 + binary floating point would call valid messages violations.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

namespace claw::content {

// sign × digits × 10^exponent, without leading or trailing zeros in `digits`; zero has none. Refers to the text parsed.
class Decimal {
 public:
  // RFC 8259's number; nothing for other text and for exponents beyond nine digits.
  static std::optional<Decimal> parse(std::string_view text);

  bool is_zero() const { return first_.empty() && rest_.empty(); }
  bool is_negative() const { return negative_ && !is_zero(); }
  // 1.0 and 1e2 are integers.
  bool is_integer() const { return is_zero() || exponent_ >= 0; }
  std::strong_ordering operator<=>(const Decimal& other) const;
  std::uint64_t hash() const;  // equal for equal values
  bool operator==(const Decimal& other) const { return (*this <=> other) == 0; }
  // Exact for divisors of up to 37 digits once both are scaled to integers; beyond, as doubles. divisor > 0.
  bool is_multiple_of(const Decimal& divisor) const;

 private:
  std::uint64_t digit_count() const { return first_.size() + rest_.size(); }
  // 0 beyond the last.
  char digit(std::uint64_t i) const { return i < first_.size() ? first_[i] : i < digit_count() ? rest_[i - first_.size()] : '0'; }
  std::strong_ordering compare_magnitude(const Decimal& other) const;
  double approximate() const;

  bool negative_ = false;
  std::string_view first_;  // digits before the point that count
  std::string_view rest_;   // and after it
  std::int64_t exponent_ = 0;
};

}  // namespace claw::content
