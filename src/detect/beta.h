// The Beta posterior of a rate seen as successes and failures, with Jeffreys' prior.
#pragma once

namespace claw::detect {

// Quantile `q` (0..1) of Beta(a, b); a, b > 0. Deterministic: fixed iterations of bisection on the regularised
// incomplete beta function (continued fraction, DLMF 8.17.22).
double beta_quantile(double q, double a, double b);

}  // namespace claw::detect
