// SPDX-License-Identifier: MIT
#ifndef ICTP_INTERPOLATION_KERNELS_H
#define ICTP_INTERPOLATION_KERNELS_H

#include <cstdint>

// The loops of interpolation in a table, plain C++ without PyTorch. interpolation_kernels.cpp is
// compiled once per instruction set; interpolation.cpp picks one at run time.

namespace ictp {

/// The three operands of sum_(e, k, c) weights[e, k] table[rows[e] + k, c] values[e, c]. The
/// kernels yield the derivative to one of them, of edges begin, ..., end-1.
template <typename T>
struct InterpolationData {
  const int64_t *rows = nullptr;    ///< (E,) the first of the points of each edge
  int64_t num_points = 0, num_columns = 0;
  T *table = nullptr;      ///< (knots, columns)
  T *weights = nullptr;    ///< (E, points)
  T *values = nullptr;     ///< (E, columns)
};

template <typename T>
struct InterpolationKernels {
  using Kernel = void (*)(const InterpolationData<T> &, int64_t begin, int64_t end);
  Kernel to_table, to_weights, to_values;    ///< table: added to; not shared between threads
};

struct InterpolationKernelSet {
  InterpolationKernels<float> single;
  InterpolationKernels<double> full;
};

extern const InterpolationKernelSet interpolation_kernels_baseline, interpolation_kernels_avx2,
    interpolation_kernels_avx512;

}    // namespace ictp

#endif
