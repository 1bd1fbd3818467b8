// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_known.h"

// A warp sums over the edges of its center in registers: no atomics, and the same numbers in each
// run.

namespace ictp {
namespace {

/// out[m3] = sum over edges and m1 of matrix[m1, m3] h[m1] R, of all paths.
template <typename Table, int N, typename T>
__device__ void add_edge(const DeviceTabulatedEdges<T> &data, const KnownEdge<Table, T> &edge,
                         const NeighborChannels<N> &channels,
                         T (&sums)[KnownPaths<Table>::NUM_SUMS][N])
{
  using Paths = KnownPaths<Table>;
  T rows[Paths::ROWS], x[Paths::IN_SIZE][N];
  read_rows(edge, rows);
  const T *features = data.features + edge.features;
  for (int m = 0; m < Paths::IN_SIZE; ++m) channels.read(features + m * data.num_channels, x[m]);
  unrolled<Paths::COUNT>([&](auto p) {
    using Path = typename Paths::template Path<decltype(p)::value>;
    T knots[ROWS_OF_EDGE<T>][N], weight[N];
    read_knots<Table, decltype(p)::value>(data, edge, channels, knots);
    interpolate(edge.value_weights, knots, weight);
    unrolled<Path::D1>([&](auto m1) {
      T weighted[N];
      for (int n = 0; n < N; ++n) weighted[n] = x[Path::IN + decltype(m1)::value][n] * weight[n];
      unrolled<Path::D3>([&](auto m3) {
        constexpr int M3 = decltype(m3)::value;
        constexpr int ELEMENT = Path::FIRST_ELEMENT + decltype(m1)::value * Path::D3 + M3;
        if constexpr (HAS_TERMS<Table, ELEMENT>) {
          const T coupling = sum_terms_of<Table, ELEMENT>(rows);
          for (int n = 0; n < N; ++n) sums[Path::FIRST_SUM + M3][n] += coupling * weighted[n];
        }
      });
    });
  });
}

template <typename Table, int N, typename T>
__global__ void __launch_bounds__(WARPS *WARP)
    known_forward_kernel(const DeviceTabulatedEdges<T> data, int num_runs)
{
  using Paths = KnownPaths<Table>;
  const int warp = threadIdx.x / WARP;
  auto *edges = reinterpret_cast<KnownEdge<Table, T> *>(shared_memory()) + warp * EDGES;
  const int64_t task = static_cast<int64_t>(blockIdx.x) * WARPS + warp;
  const int64_t center = task / num_runs;
  if (center >= data.num_centers)
    return;
  const NeighborChannels<N> channels(static_cast<int>(task % num_runs), data.num_channels);
  T sums[Paths::NUM_SUMS][N] = {};
  const int64_t last = data.offsets[center + 1];
  for (int64_t first = data.offsets[center]; first < last; first += EDGES) {
    const int count = last - first < EDGES ? static_cast<int>(last - first) : EDGES;
    take_edges(data, first, count, edges);
#pragma unroll 1
    for (int e = 0; e < count; ++e) add_edge(data, edges[e], channels, sums);
  }
  unrolled<Paths::COUNT>([&](auto p) {
    using Path = typename Paths::template Path<decltype(p)::value>;
    const int64_t row = static_cast<int64_t>(data.num_paths_to[Path::Z]) * data.num_channels;
    T *out = data.out[Path::Z] + center * Path::D3 * row + Path::OUT * data.num_channels;
    for (int m = 0; m < Path::D3; ++m) channels.write(out + m * row, sums[Path::FIRST_SUM + m]);
  });
}

}    // namespace

template <typename T>
cudaError_t launch_known_forward(int known, const DeviceTabulatedEdges<T> &data,
                                 cudaStream_t stream)
{
  return with_known<KnownConvolutions>(known, [&](auto table) {
    using Table = decltype(table);
    return with_channels_per_lane<Table>(data, [&](auto channels) {
      constexpr int N = decltype(channels)::value;
      const int num_runs = number_of_runs<N>(data.num_channels);
      return launch(known_forward_kernel<Table, N, T>,
                    (data.num_centers * num_runs + WARPS - 1) / WARPS, WARPS * WARP,
                    WARPS * EDGES * sizeof(KnownEdge<Table, T>), stream, data, num_runs);
    });
  });
}

template cudaError_t launch_known_forward(int, const DeviceTabulatedEdges<float> &, cudaStream_t);
template cudaError_t launch_known_forward(int, const DeviceTabulatedEdges<double> &, cudaStream_t);

}    // namespace ictp
