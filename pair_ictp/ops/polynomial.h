// SPDX-License-Identifier: MIT
#ifndef ICTP_POLYNOMIAL_H
#define ICTP_POLYNOMIAL_H

#include <cstdint>

// Polynomials with few terms: rows of numbers, each the sum of products of two earlier rows.
// Product basis, harmonics and coupling matrices are of this kind, and so are their gradients.

namespace ictp {

/// value * left * right
template <typename T>
struct Term {
  int32_t left, right;
  T value;
};

/// Row targets[k] is the sum of terms[offsets[k]], ..., terms[offsets[k+1]-1]; in this order.
template <typename T>
struct ProgramView {
  const int32_t *targets, *offsets;
  const Term<T> *terms;
  int64_t num_targets;
};

}    // namespace ictp

#endif
