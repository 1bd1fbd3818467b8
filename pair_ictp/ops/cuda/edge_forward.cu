// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_tile.h"

#include <algorithm>
#include <type_traits>

// One block per center: each of its warps takes a path and a run of channels and sums over the
// center's edges in registers. Nobody else writes those sums: no atomics, and the same numbers in
// each run.

namespace ictp {
namespace {

/// out[m3] (+)= sum over edges and m1 of matrix[m1, m3] h[m1] R, for D3 of the m3.
template <int D3, int N, typename T, typename Edges>
__device__ void gather(const DeviceEdgeShape<T> &shape, const Edges &data, const EdgeTile<T> &tile,
                       int count, int64_t center, int p, int m3, const LaneChannels<N> &channels,
                       bool add)
{
  const EdgePath path = shape.paths[p];
  const int64_t stride = static_cast<int64_t>(data.num_paths_to[path.z]) * data.num_channels;
  T *out = data.out[path.z] + (center * path.d3 + m3) * stride + path.out * data.num_channels;
  T sum[D3][N];
  for (int m = 0; m < D3; ++m)
    for (int n = 0; n < N; ++n)    // not beyond the last channel, which another lane writes
      sum[m][n] = add && channels.valid[n] ? out[m * stride + channels.at[n]] : T(0);
  const T *matrices = matrix_rows(shape, tile, tile.rows, path.matrix + m3);
#pragma unroll 1
  for (int e = 0; e < count; ++e) {
    T weight[N];
    for (int n = 0; n < N; ++n)
      weight[n] = radial_weight(shape, data, tile, e, p, channels.at[n]).value;
    const T *x = data.features + (tile.node[e] * data.in_size + path.in) * data.num_channels;
    const T *matrix = matrices + e;
#pragma unroll 1
    for (int m1 = 0; m1 < path.d1; ++m1) {
      T weighted[N];
      for (int n = 0; n < N; ++n) weighted[n] = x[channels.at[n]] * weight[n];
      for (int m = 0; m < D3; ++m) {
        const T coupling = matrix[m * tile.size];
        for (int n = 0; n < N; ++n) sum[m][n] += coupling * weighted[n];
      }
      x += data.num_channels;
      matrix += path.d3 * tile.size;
    }
  }
  for (int m = 0; m < D3; ++m)
    for (int n = 0; n < N; ++n)
      if (channels.valid[n])
        out[m * stride + channels.at[n]] = sum[m][n];
}

template <int N, int MOST, typename T, typename Edges>
__device__ void gather_tile(const DeviceEdgeShape<T> &shape, const Edges &data,
                            const EdgeTile<T> &tile, int count, int64_t center, bool add)
{
  const int num_runs = (data.num_channels + N * WARP - 1) / (N * WARP);
  const int num_warps = blockDim.x / WARP;
  for (int task = threadIdx.x / WARP; task < shape.num_paths * num_runs; task += num_warps) {
    const int p = task / num_runs;
    const LaneChannels<N> channels(task % num_runs * N * WARP, data.num_channels);
    each_piece<MOST>(static_cast<int>(shape.paths[p].d3), [&](int m3, auto components) {
      gather<components.value>(shape, data, tile, count, center, p, m3, channels, add);
    });
  }
}

template <int N, int MOST, typename Edges, typename T = typename Edges::Scalar>
__global__ void __launch_bounds__(MOST_WARPS *WARP, sizeof(T) == 4 ? 3 : 2)
    forward_kernel(const DeviceEdgeShape<T> shape, const Edges data, int size)
{
  const EdgeTile<T> tile(shape, size, false);
  const int64_t center = blockIdx.x, last = data.offsets[center + 1];
  int64_t edge = data.offsets[center];
  bool add = false;
  do {    // once for a center without edges: its sums are zero
    const int count = last - edge < size ? static_cast<int>(last - edge) : size;
    if (count > 0)
      take_edges(shape, data, tile, edge, count);
    gather_tile<N, MOST>(shape, data, tile, count, center, add);
    add = true;
    edge += size;
  } while (edge < last);
}

}    // namespace

template <typename Edges>
cudaError_t launch_edge_forward(const DeviceEdgeShape<typename Edges::Scalar> &shape,
                                const Edges &data, cudaStream_t stream)
{
  using T = typename Edges::Scalar;
  if constexpr (std::is_same_v<Edges, DeviceTabulatedEdges<T>>)
    if (shape.known != NOT_KNOWN)
      return launch_known_forward(shape.known, data, stream);
  const int size = tile_size(shape, false);
  if (size == 0)
    return cudaErrorInvalidConfiguration;
  const bool wide = data.num_channels > WARP;    // then two channels per lane: half as many reads
  const int run = wide ? 2 * WARP : WARP;        // of the coupling matrices
  const int num_tasks = shape.num_paths * ((data.num_channels + run - 1) / run);
  return with_largest_piece(shape, [&](auto piece) {
    constexpr int MOST = decltype(piece)::value;
    return launch(wide ? forward_kernel<2, MOST, Edges> : forward_kernel<1, MOST, Edges>,
                  data.num_centers, WARP * std::clamp(num_tasks, 1, MOST_WARPS),
                  size * EdgeTile<T>::bytes_per_edge(shape, false), stream, shape, data, size);
  });
}

template cudaError_t launch_edge_forward(const DeviceEdgeShape<float> &,
                                         const DeviceTabulatedEdges<float> &, cudaStream_t);
template cudaError_t launch_edge_forward(const DeviceEdgeShape<double> &,
                                         const DeviceTabulatedEdges<double> &, cudaStream_t);
template cudaError_t launch_edge_forward(const DeviceEdgeShape<float> &,
                                         const DeviceGivenEdges<float> &, cudaStream_t);
template cudaError_t launch_edge_forward(const DeviceEdgeShape<double> &,
                                         const DeviceGivenEdges<double> &, cudaStream_t);

}    // namespace ictp
