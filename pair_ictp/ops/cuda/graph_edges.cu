// SPDX-License-Identifier: MIT
#include "ops/cuda/graph_launch.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/warp.h"

#include <cmath>

// One warp per center, one candidate per lane: the warp counts those within r_cut, and in a second
// run writes them, in the order of the candidates.

namespace ictp {
namespace {

constexpr int WARPS = 8;    // of a block

struct Edge {
  double r[3], squared;
};

__device__ inline Edge edge_between(const CandidateEdges &x, int64_t center, int64_t candidate)
{
  const double *from = x.positions + 3 * static_cast<int64_t>(x.node_atoms[center]);
  const double *to = x.positions + 3 * static_cast<int64_t>(x.atoms[candidate]);
  Edge edge{{to[0] - from[0], to[1] - from[1], to[2] - from[2]}, 0.0};
  for (const double component : edge.r) edge.squared += component * component;
  return edge;
}

/// The square of a distance over the shortest one, infinite where that is not known.
__device__ inline double closeness(const CandidateEdges &x, int64_t center, int64_t candidate,
                                   const Edge &edge)
{
  const int64_t pair = x.num_species * x.species[center] + x.species[x.nodes[candidate]];
  const double limit = x.shortest[pair] * x.shortest[pair];
  return limit > 0.0 ? edge.squared / limit : INFINITY;
}

template <bool WRITES>
__global__ void edges_kernel(const CandidateEdges x, const FoundEdges out)
{
  const int lane = static_cast<int>(threadIdx.x % WARP);
  const int64_t center = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP;
  if (center >= x.num_local)
    return;
  const int64_t end = x.offsets[center + 1];
  int64_t num_found = WRITES ? out.offsets[center] : 0;
  double closest = INFINITY;
  for (int64_t first = x.offsets[center]; first < end; first += WARP) {
    const int64_t candidate = first + lane;
    Edge edge{};
    bool is_edge = false;
    if (candidate < end) {
      edge = edge_between(x, center, candidate);
      is_edge = !(edge.squared >= x.r_cut * x.r_cut);    // what is not a number stays
    }
    const unsigned found = __ballot_sync(ALL_LANES, is_edge);
    if (WRITES && is_edge) {
      const int64_t to = num_found + __popc(found & ((1U << lane) - 1));
      out.centers[to] = center;
      out.neighbors[to] = x.nodes[candidate];
      for (int k = 0; k < 3; ++k) out.vectors[3 * to + k] = edge.r[k];
    }
    if (!WRITES && is_edge && x.shortest)
      closest = least(closest, closeness(x, center, candidate, edge));
    num_found += __popc(found);
  }
  if (WRITES)
    return;
  if (x.shortest)
    closest = least_of_warp(closest);
  if (lane > 0)
    return;
  out.offsets[center + 1] = num_found;
  if (closest < INFINITY)
    atomic_least(out.closest, closest);
}

}    // namespace

cudaError_t launch_count_edges(const CandidateEdges &x, const FoundEdges &out, cudaStream_t stream)
{
  return launch(edges_kernel<false>, (x.num_local + WARPS - 1) / WARPS, WARPS * WARP, 0, stream, x,
                out);
}

cudaError_t launch_write_edges(const CandidateEdges &x, const FoundEdges &out, cudaStream_t stream)
{
  return launch(edges_kernel<true>, (x.num_local + WARPS - 1) / WARPS, WARPS * WARP, 0, stream, x,
                out);
}

}    // namespace ictp
