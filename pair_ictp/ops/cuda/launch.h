// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_LAUNCH_H
#define ICTP_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

// Only for .cu files: starting kernels, and the memory of a block.

namespace ictp {

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffU;

/// What a block may have without asking for more.
constexpr std::size_t USUAL_SHARED_BYTES = 48 << 10;

/// What a block may have at most on the current device; 0 if there is none.
inline std::size_t most_shared_bytes()
{
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
          cudaSuccess)
    return 0;
  return static_cast<std::size_t>(bytes);
}

inline int num_multiprocessors()
{
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
    return 1;
  return count;
}

/// The block's dynamic memory; its own function because one name can have one type only.
__device__ inline double *shared_memory()
{
  extern __shared__ double memory[];
  return memory;
}

/// Starts a kernel; nothing to do is no error.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t num_blocks, int num_threads,
                   std::size_t shared_bytes, cudaStream_t stream, const Arguments &...arguments)
{
  if (num_blocks == 0)
    return cudaSuccess;
  if (shared_bytes > USUAL_SHARED_BYTES) {
    const cudaError_t status = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(shared_bytes));
    if (status != cudaSuccess)
      return status;
  }
  kernel<<<static_cast<unsigned>(num_blocks), num_threads, shared_bytes, stream>>>(arguments...);
  return cudaGetLastError();
}

}    // namespace ictp

#endif
