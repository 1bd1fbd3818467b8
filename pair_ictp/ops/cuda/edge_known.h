// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_EDGE_KNOWN_H
#define ICTP_CUDA_EDGE_KNOWN_H

#include "ops/cuda/edge_launch.h"
#include "ops/straight_line.h"
#include "ops/cuda/warp.h"
#include "ops/knot_weights.h"

// Only for .cu files: convolutions whose paths and coupling matrices the compiler knows. A warp has
// a center and N neighboring channels per lane, and takes all paths of an edge together: features
// are read once, harmonics by one lane per edge for all, and coupling matrices are registers.

namespace ictp {

constexpr int EDGES = WARP;    // that a warp has at hand, one per lane
constexpr int WARPS = 4;       // of a block; they do not wait for each other
constexpr int ONE = 3;         // the leaf after the direction
constexpr int LEAVES = ONE + 1;

/// What follows from a table; constants only, as functions of the host are none on a GPU.
template <typename Table>
struct KnownPaths {
  static constexpr int COUNT = sizeof(Table::PATHS) / sizeof(Table::PATHS[0]);

 private:
  static constexpr int find_in_size()
  {
    int size = 0;
    for (const auto &path : Table::PATHS)
      size = path[0] + path[1] > size ? path[0] + path[1] : size;
    return size;
  }
  static constexpr int find_first_sum(int number)
  {
    int first = 0;
    for (int p = 0; p < number; ++p) first += Table::PATHS[p][2];
    return first;
  }
  static constexpr int find_matrix_size()
  {
    return Table::PATHS[COUNT - 1][3] + Table::PATHS[COUNT - 1][1] * Table::PATHS[COUNT - 1][2];
  }

 public:
  static constexpr int IN_SIZE = find_in_size();            ///< components of features
  static constexpr int NUM_SUMS = find_first_sum(COUNT);    ///< components of all results
  static constexpr int MATRIX_SIZE = find_matrix_size();
  static constexpr int HARMONICS = NUM_TARGETS<Table> - MATRIX_SIZE;
  static constexpr int ROWS = LEAVES + HARMONICS;    ///< what matrices are made of

  template <int P>
  struct Path {
    static constexpr int IN = Table::PATHS[P][0], D1 = Table::PATHS[P][1], D3 = Table::PATHS[P][2],
                         Z = Table::PATHS[P][4], OUT = Table::PATHS[P][5];
    static constexpr int FIRST_ELEMENT = HARMONICS + Table::PATHS[P][3];    ///< computed row
    static constexpr int FIRST_SUM = find_first_sum(P);
  };
};

/// An edge in the memory of a block.
template <typename Table, typename T>
struct alignas(16) KnownEdge {
  T harmonics[KnownPaths<Table>::HARMONICS];
  T value_weights[ROWS_OF_EDGE<T>], slope_weights[ROWS_OF_EDGE<T>];
  int64_t features, knots;    ///< where those of the first channel begin
};

/// N numbers of neighboring channels.
template <typename T, int N>
struct alignas(N * sizeof(T)) Channels {
  T at[N];
};

/// The channels of one lane; beyond the last one it repeats those.
template <int N>
struct NeighborChannels {
  int first;
  bool valid;

  __device__ NeighborChannels(int run, int num_channels)
      : first((run * WARP + static_cast<int>(threadIdx.x) % WARP) * N)
      , valid(first < num_channels)
  {
    first = valid ? first : num_channels - N;
  }

  template <typename T>
  __device__ void read(const T *row, T (&to)[N]) const
  {
    const auto found = *reinterpret_cast<const Channels<T, N> *>(row + first);
    for (int n = 0; n < N; ++n) to[n] = found.at[n];
  }

  template <typename T>
  __device__ void write(T *row, const T (&from)[N]) const
  {
    Channels<T, N> given;
    for (int n = 0; n < N; ++n) given.at[n] = from[n];
    if (valid)
      *reinterpret_cast<Channels<T, N> *>(row + first) = given;
  }
};

/// The direction of an edge, 1, and the harmonics; the first result is the length.
template <typename Table, typename T>
__device__ inline double direction_and_harmonics(const double *vector,
                                                 T (&rows)[KnownPaths<Table>::ROWS])
{
  const double r = sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
  for (int k = 0; k < 3; ++k) rows[k] = static_cast<T>(vector[k] / r);
  rows[ONE] = T(1);
  unrolled<KnownPaths<Table>::HARMONICS>([&](auto k) {
    rows[LEAVES + decltype(k)::value] = sum_terms_of<Table, decltype(k)::value>(rows);
  });
  return r;
}

/// Reads `count` edges, each by its lane.
template <typename Table, typename T>
__device__ inline void take_edges(const DeviceTabulatedEdges<T> &data, int64_t first, int count,
                                  KnownEdge<Table, T> *edges)
{
  using Paths = KnownPaths<Table>;
  __syncwarp();    // the edges before are no longer read
  if (const int e = threadIdx.x % WARP; e < count) {
    const int64_t edge = first + e;
    KnownEdge<Table, T> &to = edges[e];
    T rows[Paths::ROWS];
    const double r = direction_and_harmonics<Table>(data.vectors + 3 * edge, rows);
    for (int k = 0; k < Paths::HARMONICS; ++k) to.harmonics[k] = rows[LEAVES + k];
    const double scaled = r / data.table.spacing;
    const bool inside = scaled < static_cast<double>(data.table.num_intervals);
    const int64_t k = inside ? static_cast<int64_t>(scaled) : 0;
    const int64_t *table = data.table.of_edge;
    const int64_t interval = k + (table ? table[edge] * (data.table.num_intervals + 1) : 0);
    const KnotWeights<T> weights(inside ? scaled - k : 0.0, data.table.spacing, inside);
    for (int n = 0; n < ROWS_OF_EDGE<T>; ++n) {
      to.value_weights[n] = weights.value[n];
      to.slope_weights[n] = weights.slope[n];
    }
    to.features = data.neighbors[edge] * Paths::IN_SIZE * data.num_channels;
    to.knots = interval * (Paths::COUNT * ROWS_OF_KNOT<T>) *data.table_channels;
  }
  __syncwarp();
}

/// What coupling matrices of an edge are made of.
template <typename Table, typename T>
__device__ inline void read_rows(const KnownEdge<Table, T> &edge,
                                 T (&rows)[KnownPaths<Table>::ROWS])
{
  rows[ONE] = T(1);
  for (int k = 0; k < KnownPaths<Table>::HARMONICS; ++k) rows[LEAVES + k] = edge.harmonics[k];
}

/// The numbers of path P at the two knots around an edge.
template <typename Table, int P, int N, typename T>
__device__ inline void
read_knots(const DeviceTabulatedEdges<T> &data, const KnownEdge<Table, T> &edge,
           const NeighborChannels<N> &channels, T (&knots)[ROWS_OF_EDGE<T>][N])
{
  constexpr int LOW = ROWS_OF_KNOT<T>, KNOT = KnownPaths<Table>::COUNT * LOW;
  const T *first = data.table.knots + edge.knots;
  const int row = data.table_channels;
  for (int n = 0; n < ROWS_OF_EDGE<T>; ++n)
    channels.read(first + (P * LOW + (n < LOW ? n : KNOT + n - LOW)) * row, knots[n]);
}

template <int N, typename T>
__device__ inline void interpolate(const T (&weights)[ROWS_OF_EDGE<T>],
                                   const T (&knots)[ROWS_OF_EDGE<T>][N], T (&found)[N])
{
  for (int n = 0; n < N; ++n) found[n] = weights[0] * knots[0][n];
  for (int k = 1; k < ROWS_OF_EDGE<T>; ++k)
    for (int n = 0; n < N; ++n) found[n] += weights[k] * knots[k][n];
}

/// Calls start(Number<N>): two channels per lane share coupling matrices and addresses, where there
/// are as many and registers for their sums.
template <typename Table, typename T, typename Start>
cudaError_t with_channels_per_lane(const DeviceTabulatedEdges<T> &data, Start start)
{
  constexpr int MOST_SUMS = 40;
  if constexpr (sizeof(T) == sizeof(float) && KnownPaths<Table>::NUM_SUMS <= MOST_SUMS)
    if (data.num_channels > WARP && data.num_channels % 2 == 0 && data.table_channels % 2 == 0)
      return start(Number<2>{});
  return start(Number<1>{});
}

template <int N>
__host__ __device__ inline int number_of_runs(int num_channels)
{
  return (num_channels + N * WARP - 1) / (N * WARP);
}

}    // namespace ictp

#endif
