// SPDX-License-Identifier: MIT
#pragma once

// In the place of PyTorch's header of this name: the one stream of an emulated GPU.

#include <cuda_runtime_api.h>

namespace c10::cuda {

struct CUDAStream {
  cudaStream_t stream() const { return nullptr; }
};

inline CUDAStream getCurrentCUDAStream()
{
  return {};
}

}    // namespace c10::cuda
