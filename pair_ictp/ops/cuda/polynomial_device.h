// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_POLYNOMIAL_DEVICE_H
#define ICTP_CUDA_POLYNOMIAL_DEVICE_H

#include "ops/polynomial.h"

// Only for .cu files. Each thread has one element of every row: row k at k * stride.

namespace ictp {

/// Target k of a program: the sum of value * left * right over its terms.
template <typename T>
__device__ inline T sum_terms(const ProgramView<T> &program, int64_t k, const T *left,
                              const T *right, int stride)
{
  T sum = T(0);
  const int32_t last = program.offsets[k + 1];
#pragma unroll 4
  for (int32_t n = program.offsets[k]; n < last; ++n) {
    const Term<T> term = program.terms[n];
    sum += term.value * left[term.left * stride] * right[term.right * stride];
  }
  return sum;
}

/// A number and its derivative along a direction.
template <typename T>
struct Dual {
  T value, tangent;
};

/// Target k and its derivative: of each product, both factors in turn.
template <typename T>
__device__ inline Dual<T> sum_terms_and_tangent(const ProgramView<T> &program, int64_t k,
                                                const T *left, const T *left_tangent,
                                                const T *right, const T *right_tangent, int stride)
{
  Dual<T> sum = {T(0), T(0)};
  const int32_t last = program.offsets[k + 1];
#pragma unroll 2
  for (int32_t n = program.offsets[k]; n < last; ++n) {
    const Term<T> term = program.terms[n];
    const T x = left[term.left * stride], y = right[term.right * stride];
    sum.value += term.value * x * y;
    sum.tangent += term.value *
                   (left_tangent[term.left * stride] * y + x * right_tangent[term.right * stride]);
  }
  return sum;
}

}    // namespace ictp

#endif
