// Rates seen as successes and failures: the Beta posterior with Jeffreys' prior, and a cheap bound beside it.
#pragma once

namespace claw::detect {

// Quantile `q` (0..1) of Beta(a, b); a, b > 0. Deterministic: fixed iterations of bisection on the regularised
// incomplete beta function (continued fraction, DLMF 8.17.22).
double beta_quantile(double q, double a, double b);

// Wilson's bounds at one-sided 2% for `hits` of `all`; 0 and 1 when all is 0. Good for ranking, not for a verdict.
double wilson_lower(double hits, double all);
double wilson_upper(double hits, double all);

// Natural logarithm of an upper bound (Chernoff) of P(X >= hits), X ~ Binomial(all, rate).
double log_tail(double hits, double all, double rate);

}  // namespace claw::detect
