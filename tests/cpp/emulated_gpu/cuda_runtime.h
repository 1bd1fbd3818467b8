// SPDX-License-Identifier: MIT
#pragma once

// In the place of CUDA's header of this name: what kernels of this project use of the language, as
// C++ of the host.

#include "block.h"
#include "cuda_runtime_api.h"

#include <atomic>
#include <bit>
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

/// A bit for each lane of the warp.
inline unsigned __ballot_sync(unsigned lanes, int vote)
{
  uint64_t bits = vote ? uint64_t{1} << threadIdx.x % 32 : 0;
  for (int distance = 1; distance < 32; distance *= 2)
    bits |= emulated_gpu::swap_with_lane(lanes, bits, distance);
  return static_cast<unsigned>(bits);
}

inline int __popc(unsigned bits)
{
  return std::popcount(bits);
}

inline long long __double_as_longlong(double number)
{
  return std::bit_cast<long long>(number);
}

template <typename T>
T atomicMin(T *address, T value)
{
  const std::atomic_ref<T> place(*address);
  T before = place.load(std::memory_order_relaxed);
  while (value < before && !place.compare_exchange_weak(before, value, std::memory_order_relaxed)) {
  }
  return before;
}

template <typename T>
T atomicAdd(T *address, T value)
{
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
