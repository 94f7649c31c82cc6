#include "content/decimal.h"

#include <algorithm>
#include <cmath>

namespace claw::content {
namespace {

using Wide = unsigned __int128;

constexpr std::int64_t kMaxScaledDigits = 37;  // remainder × 10 + 9 stays below 2^128

std::string_view take_digits(std::string_view& text) {
  const auto count = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) - text.begin());
  const std::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::int64_t> take_exponent(std::string_view& text) {
  if (!take(text, 'e') && !take(text, 'E')) return 0;
  const bool negative = take(text, '-');
  if (!negative) take(text, '+');
  std::string_view digits = take_digits(text);
  if (digits.empty()) return std::nullopt;
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.size() > 9) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : digits) value = value * 10 + (c - '0');
  return negative ? -value : value;
}

Wide power_of_ten(std::int64_t exponent) {
  Wide power = 1;
  while (exponent-- > 0) power *= 10;
  return power;
}

Wide multiply_modulo(Wide a, Wide b, Wide modulus) {
  Wide product = 0;
  for (a %= modulus; b != 0; b >>= 1) {
    if (b & 1) product = (product + a) % modulus;
    a = a * 2 % modulus;
  }
  return product;
}

Wide power_of_ten_modulo(std::int64_t exponent, Wide modulus) {
  Wide power = 1 % modulus;
  for (Wide base = 10 % modulus; exponent > 0; exponent >>= 1) {
    if (exponent & 1) power = multiply_modulo(power, base, modulus);
    base = multiply_modulo(base, base, modulus);
  }
  return power;
}

}  // namespace

std::optional<Decimal> Decimal::parse(std::string_view text) {
  Decimal out;
  out.negative_ = take(text, '-');
  out.first_ = take_digits(text);
  if (out.first_.empty() || (out.first_.size() > 1 && out.first_[0] == '0')) return std::nullopt;
  if (take(text, '.')) {
    out.rest_ = take_digits(text);
    if (out.rest_.empty()) return std::nullopt;
  }
  const auto exponent = take_exponent(text);
  if (!exponent || !text.empty()) return std::nullopt;
  out.exponent_ = *exponent - static_cast<std::int64_t>(out.rest_.size());
  while (out.digit_count() > 0 && out.digit(out.digit_count() - 1) == '0') {
    (out.rest_.empty() ? out.first_ : out.rest_).remove_suffix(1);
    ++out.exponent_;
  }
  while (out.digit_count() > 0 && out.digit(0) == '0') (out.first_.empty() ? out.rest_ : out.first_).remove_prefix(1);
  if (out.is_zero()) out.exponent_ = 0;
  return out;
}

std::strong_ordering Decimal::compare_magnitude(const Decimal& other) const {
  if (is_zero() || other.is_zero()) return !is_zero() <=> !other.is_zero();
  const auto top = [](const Decimal& d) { return d.exponent_ + static_cast<std::int64_t>(d.digit_count()); };
  if (top(*this) != top(other)) return top(*this) <=> top(other);
  const std::uint64_t count = std::max(digit_count(), other.digit_count());
  for (std::uint64_t i = 0; i < count; ++i)
    if (digit(i) != other.digit(i)) return digit(i) <=> other.digit(i);
  return std::strong_ordering::equal;
}

std::strong_ordering Decimal::operator<=>(const Decimal& other) const {
  if (is_negative() != other.is_negative()) return is_negative() ? std::strong_ordering::less : std::strong_ordering::greater;
  return is_negative() ? other.compare_magnitude(*this) : compare_magnitude(other);
}

std::uint64_t Decimal::hash() const {
  std::uint64_t hash = static_cast<std::uint64_t>(exponent_) * 2 + is_negative();
  for (std::uint64_t i = 0; i < digit_count(); ++i) hash = (hash ^ static_cast<std::uint64_t>(digit(i))) * 0x100000001b3;
  return hash;
}

double Decimal::approximate() const {
  double value = 0;
  for (std::uint64_t i = 0; i < digit_count(); ++i) value = value * 10 + (digit(i) - '0');
  return value * std::pow(10.0, static_cast<double>(exponent_));
}

bool Decimal::is_multiple_of(const Decimal& divisor) const {
  if (is_zero()) return true;
  if (divisor.is_zero()) return false;
  const std::int64_t scale = std::min(exponent_, divisor.exponent_);
  const std::int64_t divisor_zeros = divisor.exponent_ - scale;
  if (compare_magnitude(divisor) < 0) return false;
  if (static_cast<std::int64_t>(divisor.digit_count()) + divisor_zeros > kMaxScaledDigits)
    return std::fmod(approximate(), divisor.approximate()) == 0;
  Wide modulus = 0;
  for (std::uint64_t i = 0; i < divisor.digit_count(); ++i) modulus = modulus * 10 + static_cast<Wide>(divisor.digit(i) - '0');
  modulus *= power_of_ten(divisor_zeros);
  Wide remainder = 0;
  for (std::uint64_t i = 0; i < digit_count(); ++i) remainder = (remainder * 10 + static_cast<Wide>(digit(i) - '0')) % modulus;
  return multiply_modulo(remainder, power_of_ten_modulo(exponent_ - scale, modulus), modulus) == 0;
}

}  // namespace claw::content
