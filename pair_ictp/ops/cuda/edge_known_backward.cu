// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_known.h"

// A warp has all edges of its center: gradients of the neighbor's features are summed over paths
// before an atomic addition, those of harmonics and length over paths and a lane's channels before
// the sum over the warp; the lane of an edge then makes the gradient of its vector of them.

namespace ictp {
namespace {

/// Gradients of the harmonics and, last, of the length: a power of two of them.
template <typename Table>
constexpr int NUM_EDGE_SUMS = power_of_two(KnownPaths<Table>::HARMONICS + 1);

/// What an edge of `KnownEdge` receives.
template <typename Table, typename T>
struct EdgeGradients {
  T harmonics[KnownPaths<Table>::HARMONICS + 1];
};

/// One edge; `edge_sums`: what this lane's channels give to its harmonics and length.
template <typename Table, int N, typename T>
__device__ void give_edge(const DeviceTabulatedEdges<T> &data, const KnownEdge<Table, T> &edge,
                          const NeighborChannels<N> &channels,
                          const T (&g)[KnownPaths<Table>::NUM_SUMS][N],
                          T (&edge_sums)[NUM_EDGE_SUMS<Table>])
{
  using Paths = KnownPaths<Table>;
  T rows[Paths::ROWS], row_grads[Paths::ROWS] = {}, x[Paths::IN_SIZE][N],
                       grad_x[Paths::IN_SIZE][N] = {}, grad_length = T(0);
  read_rows(edge, rows);
  const T *features = data.features + edge.features;
  for (int m = 0; m < Paths::IN_SIZE; ++m) channels.read(features + m * data.num_channels, x[m]);
  unrolled<Paths::COUNT>([&](auto p) {
    using Path = typename Paths::template Path<decltype(p)::value>;
    T knots[ROWS_OF_EDGE<T>][N], weight[N], slope[N];
    read_knots<Table, decltype(p)::value>(data, edge, channels, knots);
    interpolate(edge.value_weights, knots, weight);
    interpolate(edge.slope_weights, knots, slope);
    T grad_slope[N] = {};
    unrolled<Path::D1>([&](auto m1) {
      constexpr int IN = Path::IN + decltype(m1)::value;
      T weighted[N], back[N] = {};
      for (int n = 0; n < N; ++n) weighted[n] = x[IN][n] * weight[n];
      unrolled<Path::D3>([&](auto m3) {
        constexpr int M3 = decltype(m3)::value;
        constexpr int ELEMENT = Path::FIRST_ELEMENT + decltype(m1)::value * Path::D3 + M3;
        if constexpr (HAS_TERMS<Table, ELEMENT>) {
          const T coupling = sum_terms_of<Table, ELEMENT>(rows);
          T grad = T(0);
          for (int n = 0; n < N; ++n) {
            back[n] += coupling * g[Path::FIRST_SUM + M3][n];
            grad += weighted[n] * g[Path::FIRST_SUM + M3][n];
          }
          give_to_terms_of<Table, ELEMENT>(grad, rows, row_grads);
        }
      });
      for (int n = 0; n < N; ++n) {
        grad_x[IN][n] += back[n] * weight[n];
        grad_slope[n] += back[n] * x[IN][n];
      }
    });
    for (int n = 0; n < N; ++n) grad_length += grad_slope[n] * slope[n];
  });
  for (int k = 0; k < Paths::HARMONICS; ++k) edge_sums[k] = row_grads[LEAVES + k];
  edge_sums[Paths::HARMONICS] = grad_length;
  if (data.grad_features && channels.valid) {
    T *to = data.grad_features + edge.features + channels.first;
    for (int m = 0; m < Paths::IN_SIZE; ++m)
      for (int n = 0; n < N; ++n) atomicAdd(to + m * data.num_channels + n, grad_x[m][n]);
  }
}

/// One run of channels of all edges at hand.
template <typename Table, int N, typename T>
__device__ void give_run(const DeviceTabulatedEdges<T> &data, const KnownEdge<Table, T> *edges,
                         int count, int64_t center, int run, EdgeGradients<Table, T> *gradients)
{
  using Paths = KnownPaths<Table>;
  const NeighborChannels<N> channels(run, data.num_channels);
  T g[Paths::NUM_SUMS][N];
  unrolled<Paths::COUNT>([&](auto p) {
    using Path = typename Paths::template Path<decltype(p)::value>;
    const int64_t row = static_cast<int64_t>(data.num_paths_to[Path::Z]) * data.num_channels;
    const T *grads =
        data.grad_out[Path::Z] + center * Path::D3 * row + Path::OUT * data.num_channels;
    for (int m = 0; m < Path::D3; ++m) {
      channels.read(grads + m * row, g[Path::FIRST_SUM + m]);
      for (int n = 0; n < N; ++n)
        g[Path::FIRST_SUM + m][n] = channels.valid ? g[Path::FIRST_SUM + m][n] : T(0);
    }
  });
#pragma unroll 1
  for (int e = 0; e < count; ++e) {
    T edge_sums[NUM_EDGE_SUMS<Table>] = {};
    give_edge(data, edges[e], channels, g, edge_sums);
    int index;
    const T sum = sum_over_warp(edge_sums, index);
    if (threadIdx.x % (WARP / NUM_EDGE_SUMS<Table>) == 0 && index <= Paths::HARMONICS) {
      T &to = gradients[e].harmonics[index];
      to = run > 0 ? to + sum : sum;
    }
  }
}

/// d/dr and, of what depends on the direction n = vector/r, the part across n.
template <typename Table, typename T>
__device__ void give_vector(const DeviceTabulatedEdges<T> &data, int64_t edge,
                            const EdgeGradients<Table, T> &gradients)
{
  using Paths = KnownPaths<Table>;
  T rows[Paths::ROWS], grads[Paths::ROWS] = {};
  const double r = direction_and_harmonics<Table>(data.vectors + 3 * edge, rows);
  for (int k = 0; k < Paths::HARMONICS; ++k) grads[LEAVES + k] = gradients.harmonics[k];
  unrolled<Paths::HARMONICS>([&](auto k) {
    constexpr int K = Paths::HARMONICS - 1 - decltype(k)::value;
    give_to_terms_of<Table, K>(grads[LEAVES + K], rows, grads);
  });
  double direction[3], grad[3], along = 0.0;
  for (int k = 0; k < 3; ++k) {
    direction[k] = static_cast<double>(rows[k]);
    grad[k] = static_cast<double>(grads[k]);
    along += grad[k] * direction[k];
  }
  const double grad_length = static_cast<double>(gradients.harmonics[Paths::HARMONICS]);
  for (int k = 0; k < 3; ++k)
    data.grad_vectors[3 * edge + k] =
        (grad[k] - along * direction[k]) / r + grad_length * direction[k];
}

template <typename Table, int N, typename T>
__global__ void __launch_bounds__(WARPS *WARP)
    known_backward_kernel(const DeviceTabulatedEdges<T> data, int num_runs)
{
  auto *all_edges = reinterpret_cast<KnownEdge<Table, T> *>(shared_memory());
  const int warp = threadIdx.x / WARP;
  auto *edges = all_edges + warp * EDGES;
  auto *gradients =
      reinterpret_cast<EdgeGradients<Table, T> *>(all_edges + WARPS * EDGES) + warp * EDGES;
  const int64_t center = static_cast<int64_t>(blockIdx.x) * WARPS + warp;
  if (center >= data.num_centers)
    return;
  const int64_t last = data.offsets[center + 1];
  for (int64_t first = data.offsets[center]; first < last; first += EDGES) {
    const int count = last - first < EDGES ? static_cast<int>(last - first) : EDGES;
    take_edges(data, first, count, edges);
    for (int run = 0; run < num_runs; ++run)
      give_run<Table, N>(data, edges, count, center, run, gradients);
    __syncwarp();
    if (const int e = threadIdx.x % WARP; e < count)
      give_vector(data, first + e, gradients[e]);
  }
}

}    // namespace

template <typename T>
cudaError_t launch_known_backward(int known, const DeviceTabulatedEdges<T> &data,
                                  cudaStream_t stream)
{
  return with_known<KnownConvolutions>(known, [&](auto table) {
    using Table = decltype(table);
    return with_channels_per_lane<Table>(data, [&](auto channels) {
      constexpr int N = decltype(channels)::value;
      constexpr std::size_t BYTES = sizeof(KnownEdge<Table, T>) + sizeof(EdgeGradients<Table, T>);
      return launch(known_backward_kernel<Table, N, T>, (data.num_centers + WARPS - 1) / WARPS,
                    WARPS * WARP, WARPS * EDGES * BYTES, stream, data,
                    number_of_runs<N>(data.num_channels));
    });
  });
}

template cudaError_t launch_known_backward(int, const DeviceTabulatedEdges<float> &, cudaStream_t);
template cudaError_t launch_known_backward(int, const DeviceTabulatedEdges<double> &, cudaStream_t);

}    // namespace ictp
