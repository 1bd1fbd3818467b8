// SPDX-License-Identifier: MIT
#ifndef ICTP_DEVICES_H
#define ICTP_DEVICES_H

#include <ATen/core/Tensor.h>

namespace ictp {

#ifdef ICTP_CUDA
constexpr bool HAS_CUDA = true;
#else
constexpr bool HAS_CUDA = false;
#endif

/// Whether table_convolution and product_basis compute where the tensor is: on the CPU always, on a
/// GPU in builds with ICTP_CUDA.
inline bool serves(const at::Tensor &tensor)
{
  return tensor.is_cpu() || (HAS_CUDA && tensor.is_cuda());
}

}    // namespace ictp

#endif
