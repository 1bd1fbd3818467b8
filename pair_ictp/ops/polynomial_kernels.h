// SPDX-License-Identifier: MIT
#ifndef ICTP_POLYNOMIAL_KERNELS_H
#define ICTP_POLYNOMIAL_KERNELS_H

#include "ops/polynomial.h"
#include "ops/vectors.h"

// Only for files compiled once per instruction set.

namespace ictp {
namespace {

/// out[target] = sum of value * left * right over N vectors. The program of values reads and writes
/// the same rows; the adjoint one reads gradients on the left and values on the right.
template <int N, typename T>
inline void run(Number<N>, const ProgramView<T> &program, T *const *out, const T *const *left,
                const T *const *right)
{
  for (int64_t k = 0; k < program.num_targets; ++k) {
    Vector<T> sum[N] = {};
    const Term<T> *last = program.terms + program.offsets[k + 1];
    for (const Term<T> *term = program.terms + program.offsets[k]; term < last; ++term) {
      const T *x = left[term->left], *y = right[term->right];
      for (int n = 0; n < N; ++n)
        sum[n] += term->value * load(x + n * BLOCK<T>) * load(y + n * BLOCK<T>);
    }
    for (int n = 0; n < N; ++n) store(out[program.targets[k]] + n * BLOCK<T>, sum[n]);
  }
}

/// What `run` yields differentiated along a direction: of each product, both factors in turn.
template <int N, typename T>
inline void run_tangent(Number<N>, const ProgramView<T> &program, T *const *out,
                        const T *const *left, const T *const *left_tangent, const T *const *right,
                        const T *const *right_tangent)
{
  for (int64_t k = 0; k < program.num_targets; ++k) {
    Vector<T> sum[N] = {};
    const Term<T> *last = program.terms + program.offsets[k + 1];
    for (const Term<T> *term = program.terms + program.offsets[k]; term < last; ++term)
      for (int n = 0; n < N; ++n) {
        const int64_t at = n * BLOCK<T>;
        sum[n] +=
            term->value * (load(left_tangent[term->left] + at) * load(right[term->right] + at) +
                           load(left[term->left] + at) * load(right_tangent[term->right] + at));
      }
    for (int n = 0; n < N; ++n) store(out[program.targets[k]] + n * BLOCK<T>, sum[n]);
  }
}

}    // namespace
}    // namespace ictp

#endif
