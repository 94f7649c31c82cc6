#include "detect/beta.h"

#include <cmath>
#include <initializer_list>

namespace claw::detect {
namespace {

// Lentz's evaluation of the continued fraction; converges fast for x < (a + 1) / (a + b + 2).
double continued_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  if (std::fabs(d) < kTiny) d = kTiny;
  d = 1 / d;
  double result = d;
  for (int m = 1; m <= 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      c = 1 + term / c;
      if (std::fabs(d) < kTiny) d = kTiny;
      if (std::fabs(c) < kTiny) c = kTiny;
      d = 1 / d;
      result *= d * c;
    }
    if (std::fabs(d * c - 1) < 1e-14) break;
  }
  return result;
}

double incomplete_beta(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * continued_fraction(x, a, b) / a;
  return 1 - front * continued_fraction(1 - x, b, a) / b;
}

}  // namespace

double beta_quantile(double q, double a, double b) {
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (incomplete_beta(middle, a, b) < q ? low : high) = middle;
  }
  return (low + high) / 2;
}

namespace {

constexpr double kZ = 2.0537489106318225;  // 98% quantile of the normal distribution

double wilson(double hits, double all, double z) {
  const double p = hits / all, z2 = z * z;
  return (p + z2 / (2 * all) + z * std::sqrt(p * (1 - p) / all + z2 / (4 * all * all))) / (1 + z2 / all);
}

}  // namespace

double wilson_lower(double hits, double all) { return all <= 0 ? 0 : std::fmax(0, wilson(hits, all, -kZ)); }
double wilson_upper(double hits, double all) { return all <= 0 ? 1 : std::fmin(1, wilson(hits, all, kZ)); }

double log_tail(double hits, double all, double rate) {
  if (hits <= all * rate) return 0;
  const double x = hits / all, p = std::fmin(std::fmax(rate, 1e-9), 1 - 1e-9);
  return -all * (x * std::log(x / p) + (x < 1 ? (1 - x) * std::log((1 - x) / (1 - p)) : 0));
}

}  // namespace claw::detect
