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

/// The first power of two from `least` on.
__host__ __device__ constexpr int power_of_two(int least)
{
  int power = 1;
  while (power < least) power *= 2;
  return power;
}

/// One step: each lane hands over half of 2*HALF sums and keeps the other; on to the next.
template <int HALF, int COUNT, typename T>
__device__ inline void halve_sums(T (&numbers)[COUNT], int &index)
{
  if constexpr (HALF > 0) {
    constexpr int DISTANCE = WARP * HALF / COUNT;
    const bool upper = (threadIdx.x & DISTANCE) != 0;
    for (int k = 0; k < HALF; ++k) {
      const T kept = upper ? numbers[k + HALF] : numbers[k];
      const T given = upper ? numbers[k] : numbers[k + HALF];
      numbers[k] = kept + __shfl_xor_sync(ALL_LANES, given, DISTANCE);
    }
    index += upper ? HALF : 0;
    halve_sums<HALF / 2>(numbers, index);
  }
}

/// Sums each of COUNT (a power of two) numbers over a warp, which takes little more than COUNT
/// shuffles. Returns one of the sums and sets `index` to its number; all 32/COUNT neighboring lanes
/// have the same.
template <int COUNT, typename T>
__device__ inline T sum_over_warp(T (&numbers)[COUNT], int &index)
{
  index = 0;
  halve_sums<COUNT / 2>(numbers, index);
  for (int distance = WARP / COUNT / 2; distance > 0; distance /= 2)
    numbers[0] += __shfl_xor_sync(ALL_LANES, numbers[0], distance);
  return numbers[0];
}

}    // namespace ictp

#endif
