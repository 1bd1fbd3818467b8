// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_STATUS_H
#define ICTP_CUDA_STATUS_H

#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

namespace ictp {

/// Throws if a kernel could not be started.
inline void check_started(cudaError_t status, const char *name)
{
  TORCH_CHECK(status != cudaErrorInvalidConfiguration, "ictp::", name,
              ": the tables of one edge do not fit into the memory of a thread block on this GPU: "
              "export the model with --portable");
  TORCH_CHECK(
      status != cudaErrorNoKernelImageForDevice && status != cudaErrorInvalidDeviceFunction,
      "ictp::", name,
      ": built for other GPUs than this one: build with -D CMAKE_CUDA_ARCHITECTURES=native");
  TORCH_CHECK(
      status != cudaErrorInsufficientDriver && status != cudaErrorUnsupportedPtxVersion,
      "ictp::", name,
      ": built with a newer CUDA than the driver of this GPU knows: update the driver, or build "
      "with an older nvcc");
  TORCH_CHECK(status == cudaSuccess, "ictp::", name,
              ": the CUDA kernel did not start: ", cudaGetErrorString(status));
}

}    // namespace ictp

#endif
