// SPDX-License-Identifier: MIT
#ifndef ICTP_MIXING_KERNELS_H
#define ICTP_MIXING_KERNELS_H

#include <cstdint>

// The loops of a matrix product, plain C++ without PyTorch. mixing_kernels.cpp is compiled once per
// instruction set; mixing.cpp picks one at run time.

namespace ictp {

/// y = x w, all by rows: x (rows, in), w (in, out), y (rows, out).
template <typename T>
struct MixingData {
  const T *x, *w;
  T *y;
  int64_t num_in, num_out;    ///< num_out: a multiple of 64 bytes
};

/// One type of numbers; rows begin, ..., end-1.
template <typename T>
struct MixingKernel {
  void (*product)(const MixingData<T> &, int64_t begin, int64_t end);
};

struct MixingKernels : MixingKernel<float>, MixingKernel<double> {};

extern const MixingKernels mixing_kernels_baseline, mixing_kernels_avx2, mixing_kernels_avx512;

}    // namespace ictp

#endif
