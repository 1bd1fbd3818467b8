// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_WARP_H
#define ICTP_CUDA_WARP_H

#include "ops/cuda/launch.h"

// What the lanes of a warp make of their numbers; all lanes call, and all get the result.

namespace ictp {

__device__ inline double sum_of_warp(double number)
{
  for (int distance = WARP / 2; distance > 0; distance /= 2)
    number += __shfl_xor_sync(ALL_LANES, number, distance);
  return number;
}

/// The first number if the second is not one.
__device__ inline double least(double one, double other)
{
  return other < one ? other : one;
}

__device__ inline double least_of_warp(double number)
{
  for (int distance = WARP / 2; distance > 0; distance /= 2)
    number = least(number, __shfl_xor_sync(ALL_LANES, number, distance));
  return number;
}

/// Of numbers that are not negative, whose bits have the same order.
__device__ inline void atomic_least(double *address, double number)
{
  atomicMin(reinterpret_cast<unsigned long long *>(address),
            static_cast<unsigned long long>(__double_as_longlong(number)));
}

}    // namespace ictp

#endif
