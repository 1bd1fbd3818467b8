// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_tile.h"
#include "ops/cuda/warp.h"

#include <algorithm>
#include <type_traits>

// One block per center: each of its warps takes a path, and for all edges of the center finds the
// gradients of the neighbor's features, of the coupling matrix and of the length. The last two are
// sums over channels, by shuffles; the adjoint polynomial then yields the gradient of the vector.
// Centers share neighbors: gradients of features are added by atomics, in no particular order, so
// that they differ by rounding from run to run.

namespace ictp {
namespace {

/// The gradient of a radial weight, which a table has in that of the length.
template <typename T>
__device__ inline void give_weight(const DeviceEdgeShape<T> & /*shape*/,
                                   const DeviceTabulatedEdges<T> & /*data*/,
                                   const EdgeTile<T> & /*tile*/, int /*e*/, int /*path*/,
                                   int /*channel*/, T /*grad*/, bool /*add*/)
{
}

template <typename T>
__device__ inline void give_weight(const DeviceEdgeShape<T> &shape, const DeviceGivenEdges<T> &data,
                                   const EdgeTile<T> &tile, int e, int path, int channel, T grad,
                                   bool add)
{
  if (!data.grad_radial)
    return;
  T &to = data.grad_radial[radial_index(shape, data, tile, e, path, channel)];
  to = add ? to + grad : grad;
}

/// All edges of the tile, one path, D3 components of the result, N channels of each lane. Sums of
/// the same matrix and length are written by one warp alone: `add_matrix`, `add_length` say whether
/// it has begun them.
template <int D3, int N, bool FEATURES, typename T, typename Edges>
__device__ void scatter(const DeviceEdgeShape<T> &shape, const Edges &data, const EdgeTile<T> &tile,
                        int count, int64_t center, int p, int m3, const LaneChannels<N> &channels,
                        bool add_matrix, bool add_length)
{
  constexpr int NUM_SUMS = power_of_two(D3 + 1);    // a column of the matrix, and the length
  const EdgePath path = shape.paths[p];
  const int64_t stride = static_cast<int64_t>(data.num_paths_to[path.z]) * data.num_channels;
  const T *grad_out =
      data.grad_out[path.z] + (center * path.d3 + m3) * stride + path.out * data.num_channels;
  T g[D3][N];
  for (int m = 0; m < D3; ++m)
    for (int n = 0; n < N; ++n)
      g[m][n] = channels.valid[n] ? grad_out[m * stride + channels.at[n]] : T(0);
#pragma unroll 1
  for (int e = 0; e < count; ++e) {
    RadialWeight<T> weight[N];
    T grad_weight[N] = {};
    for (int n = 0; n < N; ++n) weight[n] = radial_weight(shape, data, tile, e, p, channels.at[n]);
    const int64_t node_row = tile.node[e] * data.in_size + path.in;
#pragma unroll 1
    for (int m1 = 0; m1 < path.d1; ++m1) {
      const int64_t slot = path.matrix + m1 * path.d3 + m3;
      const int64_t row = (node_row + m1) * data.num_channels;
      const T *matrix = matrix_rows(shape, tile, tile.rows, slot) + e;
      T coupling[D3], sums[NUM_SUMS] = {};
      for (int m = 0; m < D3; ++m) coupling[m] = matrix[m * tile.size];
      for (int n = 0; n < N; ++n) {
        const T x = data.features[row + channels.at[n]], weighted = x * weight[n].value;
        T back = T(0);
        for (int m = 0; m < D3; ++m) {
          back += coupling[m] * g[m][n];
          sums[m] += g[m][n] * weighted;
        }
        sums[D3] += back * x * weight[n].slope;
        grad_weight[n] += back * x;
        if (FEATURES && channels.valid[n])
          atomicAdd(data.grad_features + row + channels.at[n], back * weight[n].value);
      }
      int index;
      const T sum = sum_over_warp(sums, index);
      if (threadIdx.x % (WARP / NUM_SUMS) == 0 && index <= D3) {
        const bool is_length = index == D3;
        T *to = is_length ? tile.grad_lengths + p * tile.size + e
                          : matrix_rows(shape, tile, tile.grads, slot + index) + e;
        *to = (is_length ? add_length || m1 > 0 : add_matrix) ? *to + sum : sum;
      }
    }
    for (int n = 0; n < N; ++n)
      if (channels.valid[n])
        give_weight(shape, data, tile, e, p, channels.at[n], grad_weight[n], m3 > 0);
  }
  __syncwarp();    // another lane may add to the lengths next
}

template <int N, int MOST, bool FEATURES, typename T, typename Edges>
__device__ void scatter_tile(const DeviceEdgeShape<T> &shape, const Edges &data,
                             const EdgeTile<T> &tile, int count, int64_t center)
{
  const int num_warps = blockDim.x / WARP;
  for (int p = threadIdx.x / WARP; p < shape.num_paths; p += num_warps)
    for (int first = 0; first < data.num_channels; first += N * WARP) {
      const LaneChannels<N> channels(first, data.num_channels);
      each_piece<MOST>(static_cast<int>(shape.paths[p].d3), [&](int m3, auto components) {
        scatter<components.value, N, FEATURES>(shape, data, tile, count, center, p, m3, channels,
                                               first > 0, first > 0 || m3 > 0);
      });
    }
}

/// d/dr and, of what depends on the direction n = vector/r, the part across n.
template <typename T>
__device__ void give_edge(const DeviceEdgeShape<T> &shape, const DeviceTabulatedEdges<T> &data,
                          const EdgeTile<T> &tile, int64_t edge, int e)
{
  double direction[3], grad[3], along = 0.0, grad_length = 0.0;
  for (int k = 0; k < 3; ++k) {
    direction[k] = static_cast<double>(tile.rows[k * tile.size + e]);
    grad[k] = static_cast<double>(tile.grads[k * tile.size + e]);
    along += grad[k] * direction[k];
  }
  for (int p = 0; p < shape.num_paths; ++p)
    grad_length += static_cast<double>(tile.grad_lengths[p * tile.size + e]);
  for (int k = 0; k < 3; ++k)
    data.grad_vectors[3 * edge + k] =
        (grad[k] - along * direction[k]) * tile.inverse_length[e] + grad_length * direction[k];
}

template <typename T>
__device__ void give_edge(const DeviceEdgeShape<T> &shape, const DeviceGivenEdges<T> &data,
                          const EdgeTile<T> &tile, int64_t edge, int e)
{
  const int num_harmonics = shape.num_leaves - 1;
  if (data.grad_harmonics)
    for (int k = 0; k < num_harmonics; ++k)
      data.grad_harmonics[edge * num_harmonics + k] = tile.grads[k * tile.size + e];
}

template <int N, int MOST, bool FEATURES, typename Edges, typename T = typename Edges::Scalar>
__global__ void __launch_bounds__(MOST_WARPS *WARP, sizeof(T) == 4 ? 3 : 2)
    backward_kernel(const DeviceEdgeShape<T> shape, const Edges data, int size)
{
  const EdgeTile<T> tile(shape, size, true);
  const int64_t center = blockIdx.x, last = data.offsets[center + 1];
  for (int64_t edge = data.offsets[center]; edge < last; edge += size) {
    const int count = last - edge < size ? static_cast<int>(last - edge) : size;
    take_edges(shape, data, tile, edge, count);
    scatter_tile<N, MOST, FEATURES>(shape, data, tile, count, center);
    __syncthreads();
    run_levels(shape.adjoint, tile.grads, tile.grads, tile.rows, size);
    for (int e = threadIdx.x; e < count; e += blockDim.x) give_edge(shape, data, tile, edge + e, e);
  }
}

}    // namespace

template <typename Edges>
cudaError_t launch_edge_backward(const DeviceEdgeShape<typename Edges::Scalar> &shape,
                                 const Edges &data, cudaStream_t stream)
{
  using T = typename Edges::Scalar;
  if constexpr (std::is_same_v<Edges, DeviceTabulatedEdges<T>>)
    if (shape.known != NOT_KNOWN)
      return launch_known_backward(shape.known, data, stream);
  const int size = tile_size(shape, true);
  if (size == 0)
    return cudaErrorInvalidConfiguration;
  return with_largest_piece(shape, [&](auto piece) {
    constexpr int MOST = decltype(piece)::value;
    auto kernel = data.grad_features ? backward_kernel<1, MOST, true, Edges>
                                     : backward_kernel<1, MOST, false, Edges>;
    if (data.num_channels > WARP)
      kernel = data.grad_features ? backward_kernel<2, MOST, true, Edges>
                                  : backward_kernel<2, MOST, false, Edges>;
    return launch(kernel, data.num_centers, WARP * std::clamp(shape.num_paths, 1, MOST_WARPS),
                  size * EdgeTile<T>::bytes_per_edge(shape, true), stream, shape, data, size);
  });
}

template cudaError_t launch_edge_backward(const DeviceEdgeShape<float> &,
                                          const DeviceTabulatedEdges<float> &, cudaStream_t);
template cudaError_t launch_edge_backward(const DeviceEdgeShape<double> &,
                                          const DeviceTabulatedEdges<double> &, cudaStream_t);
template cudaError_t launch_edge_backward(const DeviceEdgeShape<float> &,
                                          const DeviceGivenEdges<float> &, cudaStream_t);
template cudaError_t launch_edge_backward(const DeviceEdgeShape<double> &,
                                          const DeviceGivenEdges<double> &, cudaStream_t);

}    // namespace ictp
