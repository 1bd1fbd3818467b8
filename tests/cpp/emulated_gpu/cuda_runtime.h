// SPDX-License-Identifier: MIT
#pragma once

// In the place of CUDA's header of this name: what kernels of this project use of the language, as
// C++ of the host.

#include "block.h"
#include "cuda_runtime_api.h"

#include <atomic>
#include <cmath>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define ICTP_BLOCK_MEMORY(name) double *const name = emulated_gpu::block_memory()

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Parameters...),
                               Arguments &&...arguments)
{
  return emulated_gpu::launch(reinterpret_cast<const void *>(kernel), config->gridDim,
                              config->blockDim, config->dynamicSmemBytes, [&] {
                                kernel(arguments...);
                              });
}

inline void __syncthreads()
{
  emulated_gpu::meet_block();
}

inline void __syncwarp(unsigned lanes = 0xffffffffU)
{
  emulated_gpu::meet_warp(lanes);
}

template <typename T>
T __shfl_xor_sync(unsigned lanes, T mine, int distance)
{
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &mine, sizeof(T));
  bits = emulated_gpu::swap_with_lane(lanes, bits, distance);
  std::memcpy(&mine, &bits, sizeof(T));
  return mine;
}

template <typename T>
T atomicAdd(T *address, T value)
{
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
