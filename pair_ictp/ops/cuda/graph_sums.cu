// SPDX-License-Identifier: MIT
#include "ops/cuda/graph_launch.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/warp.h"

#include <algorithm>

// One warp per center, one edge per lane. What a center feels is added up in the warp, what its
// neighbors feel goes to memory, where several centers have one neighbor.

namespace ictp {
namespace {

constexpr int WARPS = 8, BLOCKS_PER_MULTIPROCESSOR = 8;

/// Calls body(center, first edge, end) for the centers of this warp, which takes every n-th.
template <typename Body>
__device__ void each_center(const EdgeGradients &x, Body body)
{
  const int64_t num_warps = static_cast<int64_t>(gridDim.x) * WARPS;
  for (int64_t center = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP;
       center < x.num_local; center += num_warps)
    body(center, x.offsets[center] + threadIdx.x % WARP, x.offsets[center + 1]);
}

__global__ void sums_kernel(const EdgeGradients x, double *forces, double *virial)
{
  const int lane = static_cast<int>(threadIdx.x % WARP);
  double w[9] = {};
  each_center(x, [&](int64_t center, int64_t first, int64_t end) {
    double force[3] = {};
    for (int64_t edge = first; edge < end; edge += WARP) {
      const double *r = x.vectors + 3 * edge, *g = x.gradients + 3 * edge;
      double *back = forces + 3 * x.neighbors[edge];
      for (int k = 0; k < 3; ++k) {
        force[k] += g[k];
        atomicAdd(back + k, -g[k]);
      }
      for (int k = 0; k < 9; ++k) w[k] -= r[k / 3] * g[k % 3];
    }
    for (int k = 0; k < 3; ++k) {
      const double sum = sum_of_warp(force[k]);
      if (lane == 0)
        atomicAdd(forces + 3 * center + k, sum);
    }
  });
  double *of_warps = shared_memory();    // (WARPS, 9)
  for (int k = 0; k < 9; ++k) {
    const double sum = sum_of_warp(w[k]);
    if (lane == 0)
      of_warps[threadIdx.x / WARP * 9 + k] = sum;
  }
  __syncthreads();
  if (threadIdx.x >= 9)
    return;
  double sum = 0.0;
  for (int warp = 0; warp < WARPS; ++warp) sum += of_warps[warp * 9 + threadIdx.x];
  atomicAdd(virial + threadIdx.x, sum);
}

__global__ void virials_kernel(const EdgeGradients x, double center_share, double *virials)
{
  each_center(x, [&](int64_t center, int64_t first, int64_t end) {
    for (int64_t edge = first; edge < end; edge += WARP) {
      const double *r = x.vectors + 3 * edge, *g = x.gradients + 3 * edge;
      double *to_center = virials + 9 * center, *to_neighbor = virials + 9 * x.neighbors[edge];
      for (int k = 0; k < 9; ++k) {
        const double w = -r[k / 3] * g[k % 3];
        atomicAdd(to_center + k, center_share * w);
        atomicAdd(to_neighbor + k, (1.0 - center_share) * w);
      }
    }
  });
}

int64_t num_blocks(const EdgeGradients &x)
{
  return std::min<int64_t>((x.num_local + WARPS - 1) / WARPS,
                           BLOCKS_PER_MULTIPROCESSOR * num_multiprocessors());
}

}    // namespace

cudaError_t launch_edge_sums(const EdgeGradients &x, double *forces, double *virial,
                             cudaStream_t stream)
{
  return launch(sums_kernel, num_blocks(x), WARPS * WARP, WARPS * 9 * sizeof(double), stream, x,
                forces, virial);
}

cudaError_t launch_edge_virials(const EdgeGradients &x, double center_share, double *virials,
                                cudaStream_t stream)
{
  return launch(virials_kernel, num_blocks(x), WARPS * WARP, 0, stream, x, center_share, virials);
}

}    // namespace ictp
