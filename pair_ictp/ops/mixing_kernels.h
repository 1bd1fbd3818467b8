// SPDX-License-Identifier: MIT
#ifndef ICTP_MIXING_KERNELS_H
#define ICTP_MIXING_KERNELS_H

#include <cstdint>

// The loops of a matrix product, plain C++ without PyTorch. mixing_kernels.cpp is compiled once per
// instruction set; mixing.cpp picks one at run time.

namespace ictp {

/// y = x w, all by rows: x (rows, in), w (in, out), y (rows, out).
struct MixingData {
  const double *x, *w;
  double *y;
  int64_t num_in, num_out;    ///< num_out: a multiple of 64 bytes
};

struct MixingKernels {
  void (*product)(const MixingData &, int64_t begin, int64_t end);    ///< rows begin, ..., end-1
};

extern const MixingKernels mixing_kernels_baseline, mixing_kernels_avx2, mixing_kernels_avx512;

}    // namespace ictp

#endif
