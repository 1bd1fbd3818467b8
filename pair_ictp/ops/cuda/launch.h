// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_LAUNCH_H
#define ICTP_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

// Only for .cu files: starting kernels, and the memory of a block. The tests compile these files as
// C++, too (tests/cpp/emulated_gpu): what only nvcc understands is a macro or a function here.

#ifdef __CUDACC__
#define ICTP_BLOCK_MEMORY(name) extern __shared__ double name[]
#endif

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
  ICTP_BLOCK_MEMORY(memory);
  return memory;
}

/// Lets the blocks of a kernel have more than the usual memory; asks the driver once for each
/// device and amount.
inline cudaError_t allow_shared_bytes(const void *kernel, std::size_t bytes)
{
  static std::mutex mutex;
  static std::map<std::pair<int, const void *>, std::size_t> allowed;
  int device = 0;
  cudaError_t status = cudaGetDevice(&device);
  const std::lock_guard<std::mutex> lock(mutex);
  std::size_t &most = allowed[{device, kernel}];
  if (status == cudaSuccess && bytes > most) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes));
    if (status == cudaSuccess)
      most = bytes;
  }
  return status;
}

/// Starts a kernel; nothing to do is no error.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t num_blocks, int num_threads,
                   std::size_t shared_bytes, cudaStream_t stream, const Arguments &...arguments)
{
  if (num_blocks == 0)
    return cudaSuccess;
  if (shared_bytes > USUAL_SHARED_BYTES) {
    const cudaError_t status =
        allow_shared_bytes(reinterpret_cast<const void *>(kernel), shared_bytes);
    if (status != cudaSuccess)
      return status;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3{static_cast<unsigned>(num_blocks), 1, 1};
  config.blockDim = dim3{static_cast<unsigned>(num_threads), 1, 1};
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (status != cudaSuccess)
    cudaGetLastError();    // it is reported here: PyTorch shall not find it later
  return status;
}

}    // namespace ictp

#endif
