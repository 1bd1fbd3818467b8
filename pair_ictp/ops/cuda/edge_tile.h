// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_EDGE_TILE_H
#define ICTP_CUDA_EDGE_TILE_H

#include "ops/cuda/edge_launch.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/polynomial_device.h"
#include "ops/straight_line.h"
#include "ops/knot_weights.h"

// Only for .cu files: the edges of one center that a block has at hand, in its shared memory.
// What is one number per edge (harmonics, coupling matrices) is computed with edges across lanes,
// what is one number per channel with channels across lanes.

namespace ictp {

constexpr int MOST_WARPS = 8;

/// Arrays of `size` elements per row, one per edge; a power of two up to a warp.
template <typename T>
struct EdgeTile {
  int size;
  double *inverse_length;
  int64_t *node;       ///< the neighbor
  T *rows;             ///< of the polynomial
  T *value_weights;    ///< ROWS_OF_EDGE of the knots' numbers for the radial weight
  T *slope_weights;    ///< as many for its derivative
  T *grads;            ///< gradients of the rows
  T *grad_lengths;     ///< one row per path
  int32_t *radial;     ///< the lower knot, or the edge

  static std::size_t bytes_per_edge(const DeviceEdgeShape<T> &shape, bool gradients)
  {
    const int rows =
        shape.num_rows + 2 * ROWS_OF_EDGE<T> + (gradients ? shape.num_rows + shape.num_paths : 0);
    return sizeof(double) + sizeof(int64_t) + rows * sizeof(T) + sizeof(int32_t);
  }

  /// Largest alignment first; forward has no gradients and never touches them.
  __device__ EdgeTile(const DeviceEdgeShape<T> &shape, int size, bool gradients)
      : size(size)
      , inverse_length(shared_memory())
      , node(reinterpret_cast<int64_t *>(inverse_length + size))
      , rows(reinterpret_cast<T *>(node + size))
      , value_weights(rows + shape.num_rows * size)
      , slope_weights(value_weights + ROWS_OF_EDGE<T> * size)
      , grads(slope_weights + ROWS_OF_EDGE<T> * size)
      , grad_lengths(grads + (gradients ? shape.num_rows * size : 0))
      , radial(reinterpret_cast<int32_t *>(grad_lengths + (gradients ? shape.num_paths * size : 0)))
  {
  }
};

/// Edges that a block takes together; 0 if its memory is too small for one.
template <typename T>
int tile_size(const DeviceEdgeShape<T> &shape, bool gradients)
{
  constexpr int FEW = 8;    // fewer edges leave most threads idle: better ask for more memory
  const std::size_t per_edge = EdgeTile<T>::bytes_per_edge(shape, gradients);
  for (int size = WARP; size >= FEW; size /= 2)
    if (size * per_edge <= USUAL_SHARED_BYTES)
      return size;
  for (int size = FEW; size > 0; size /= 2)
    if (size * per_edge <= most_shared_bytes())
      return size;
  return 0;
}

/// The direction of an edge, and its place between two knots.
template <typename T>
__device__ void read_edge(const DeviceEdgeShape<T> & /*shape*/, const EdgeTile<T> &tile,
                          const DeviceTabulatedEdges<T> &data, int64_t edge, int e)
{
  const double *vector = data.vectors + 3 * edge;
  const double r = sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
  for (int k = 0; k < 3; ++k) tile.rows[k * tile.size + e] = static_cast<T>(vector[k] / r);
  tile.rows[3 * tile.size + e] = T(1);
  tile.inverse_length[e] = 1.0 / r;
  tile.node[e] = data.neighbors[edge];
  const double scaled = r / data.table.spacing;
  const bool inside = scaled < static_cast<double>(data.table.num_intervals);
  const int32_t k = inside ? static_cast<int32_t>(scaled) : 0;
  const int64_t *table = data.table.of_edge;
  tile.radial[e] =
      k + (table ? static_cast<int32_t>(table[edge] * (data.table.num_intervals + 1)) : 0);
  const KnotWeights<T> weights(inside ? scaled - k : 0.0, data.table.spacing, inside);
  for (int n = 0; n < ROWS_OF_EDGE<T>; ++n) {
    tile.value_weights[n * tile.size + e] = weights.value[n];
    tile.slope_weights[n * tile.size + e] = weights.slope[n];
  }
}

/// The harmonics of an edge, and where its radial weights are.
template <typename T>
__device__ void read_edge(const DeviceEdgeShape<T> &shape, const EdgeTile<T> &tile,
                          const DeviceGivenEdges<T> &data, int64_t edge, int e)
{
  const int num_harmonics = shape.num_leaves - 1;
  for (int k = 0; k < num_harmonics; ++k)
    tile.rows[k * tile.size + e] = data.harmonics[edge * num_harmonics + k];
  tile.rows[num_harmonics * tile.size + e] = T(1);
  tile.node[e] = data.neighbors[edge];
  tile.radial[e] = static_cast<int32_t>(edge);
}

/// Runs a program for all edges of the tile, all threads of the block together.
template <typename T>
__device__ void run_levels(const LevelProgram<T> &levels, T *out, const T *left, const T *right,
                           int size)
{
  const int e = threadIdx.x % size, first = threadIdx.x / size, step = blockDim.x / size;
  for (int32_t level = 0; level < levels.num_levels; ++level) {
    for (int32_t k = levels.levels[level] + first; k < levels.levels[level + 1]; k += step)
      out[levels.program.targets[k] * size + e] =
          sum_terms(levels.program, k, left + e, right + e, size);
    __syncthreads();
  }
}

/// Reads `count` edges and computes their coupling matrices. Lanes beyond repeat the first edge, so
/// that they compute with valid numbers.
template <typename T, typename Edges>
__device__ void take_edges(const DeviceEdgeShape<T> &shape, const Edges &data,
                           const EdgeTile<T> &tile, int64_t first, int count)
{
  __syncthreads();    // the edges before are no longer read
  for (int e = threadIdx.x; e < tile.size; e += blockDim.x)
    read_edge(shape, tile, data, first + (e < count ? e : 0), e);
  __syncthreads();
  run_levels(shape.values, tile.rows, tile.rows, tile.rows, tile.size);
}

/// Where the coupling matrix of a path begins, among rows or their gradients.
template <typename T>
__device__ inline T *matrix_rows(const DeviceEdgeShape<T> &shape, const EdgeTile<T> &tile, T *rows,
                                 int64_t slot)
{
  return rows + (shape.num_rows - shape.matrix_size + slot) * tile.size;
}

/// The channels of one lane: N at a distance of a warp. Those beyond the last one repeat it.
template <int N>
struct LaneChannels {
  int at[N];
  bool valid[N];

  __device__ LaneChannels(int first, int num_channels)
  {
    for (int n = 0; n < N; ++n) {
      const int c = first + static_cast<int>(threadIdx.x) % WARP + n * WARP;
      valid[n] = c < num_channels;
      at[n] = valid[n] ? c : num_channels - 1;
    }
  }
};

/// The numbers of the two knots around an edge, times weights.
template <typename T>
__device__ inline T interpolate(const T *weights, int stride, const T (&knots)[ROWS_OF_EDGE<T>])
{
  T sum = weights[0] * knots[0] + weights[stride] * knots[1];
  for (int n = 2; n < ROWS_OF_EDGE<T>; n += 2)
    sum += weights[n * stride] * knots[n] + weights[(n + 1) * stride] * knots[n + 1];
  return sum;
}

template <typename T>
__device__ inline void read_knots(const DeviceEdgeShape<T> &shape,
                                  const DeviceTabulatedEdges<T> &data, int64_t interval, int path,
                                  int channel, T (&knots)[ROWS_OF_EDGE<T>])
{
  constexpr int LOW = ROWS_OF_KNOT<T>;
  const int64_t row = data.table_channels;
  const T *low = data.table.knots + (interval * shape.num_paths + path) * LOW * row + channel;
  const T *high = low + shape.num_paths * LOW * row;
  for (int n = 0; n < LOW; ++n) knots[n] = low[n * row];
  for (int n = 0; n < 2; ++n) knots[LOW + n] = high[n * row];
}

/// The radial weight of a path and channel, and its derivative with respect to the length.
template <typename T>
struct RadialWeight {
  T value, slope;
};

template <typename T>
__device__ inline RadialWeight<T>
radial_weight(const DeviceEdgeShape<T> &shape, const DeviceTabulatedEdges<T> &data,
              const EdgeTile<T> &tile, int e, int path, int channel)
{
  T knots[ROWS_OF_EDGE<T>];
  read_knots(shape, data, tile.radial[e], path, channel, knots);
  return {interpolate(tile.value_weights + e, tile.size, knots),
          interpolate(tile.slope_weights + e, tile.size, knots)};
}

/// Where that of a given edge is.
template <typename T>
__device__ inline int64_t radial_index(const DeviceEdgeShape<T> &shape,
                                       const DeviceEdgeData<T> &data, const EdgeTile<T> &tile,
                                       int e, int path, int channel)
{
  return (static_cast<int64_t>(tile.radial[e]) * shape.num_paths + path) * data.num_channels +
         channel;
}

/// Given edges have no length: nothing depends on it.
template <typename T>
__device__ inline RadialWeight<T>
radial_weight(const DeviceEdgeShape<T> &shape, const DeviceGivenEdges<T> &data,
              const EdgeTile<T> &tile, int e, int path, int channel)
{
  return {data.radial[radial_index(shape, data, tile, e, path, channel)], T(0)};
}

/// Calls body(first component, number of components) for pieces that registers hold, of MOST
/// components at most: 7 or 9.
template <int MOST, typename Body>
__device__ inline void each_piece(int dim, Body body)
{
  int m = 0;
  if constexpr (MOST >= 9)
    for (; dim - m >= 9; m += 9) body(m, Number<9>{});
  for (; dim - m >= 7; m += 7) body(m, Number<7>{});
  for (; dim - m >= 5; m += 5) body(m, Number<5>{});
  for (; dim - m >= 3; m += 3) body(m, Number<3>{});
  for (; dim - m >= 1; m += 1) body(m, Number<1>{});
}

/// Calls start(MOST) for what each_piece needs: a kernel has as many registers as its largest piece
/// asks for, and few models go beyond rank 3.
template <typename T, typename Start>
cudaError_t with_largest_piece(const DeviceEdgeShape<T> &shape, Start start)
{
  return shape.largest_dim <= 7 ? start(Number<7>{}) : start(Number<9>{});
}

}    // namespace ictp

#endif
