// SPDX-License-Identifier: MIT
#include "ops/edge_kernels.h"

#include "ops/edge_tile.h"

// Compiled once per instruction set (ICTP_ISA names it); nothing but the compiler's vectoriser.

namespace ictp {
namespace {

/// Calls body(first component, number of components) for pieces that registers hold.
template <int MOST, typename Body>
inline __attribute__((always_inline)) void each_piece(int64_t dim, Body body)
{
  int64_t m = 0;
  if constexpr (MOST >= 9)
    for (; dim - m >= 9; m += 9) body(m, Number<9>{});
  if constexpr (MOST >= 7)
    for (; dim - m >= 7; m += 7) body(m, Number<7>{});
  for (; dim - m >= 5; m += 5) body(m, Number<5>{});
  for (; dim - m >= 3; m += 3) body(m, Number<3>{});
  for (; dim - m >= 1; m += 1) body(m, Number<1>{});
}

/// out[m3] (+)= sum over edges and m1 of matrix[m1, m3] h[m1] R, N vectors of channels from c on.
template <int D3, int N, typename Edges, typename T>
void gather(Number<D3>, Number<N>, const Tile<Edges> &tile, int64_t p, int64_t m3, int64_t c,
            bool add, T *out, int64_t stride)
{
  const EdgePath &path = tile.shape.paths[p];
  const int64_t num_channels = tile.shape.num_channels;
  Vector<T> sum[D3][N] = {};
  if (add)
    for (int m = 0; m < D3; ++m)
      for (int n = 0; n < N; ++n) sum[m][n] = load(out + m * stride + n * BLOCK<T>);
  const T *matrices = tile.matrix_row(path.matrix + m3);
  for (int64_t e = 0; e < tile.count; ++e) {
    Vector<T> weight[N];
    for (int n = 0; n < N; ++n) weight[n] = tile.radial.value(e, p, c + n * BLOCK<T>);
    const T *x = tile.features(e) + path.in * num_channels + c;
    const T *matrix = matrices + e;
    for (int64_t m1 = 0; m1 < path.d1; ++m1, x += num_channels, matrix += path.d3 * TILE) {
      Vector<T> weighted[N];
      for (int n = 0; n < N; ++n) weighted[n] = load(x + n * BLOCK<T>) * weight[n];
      for (int m = 0; m < D3; ++m)
        for (int n = 0; n < N; ++n) sum[m][n] += matrix[m * TILE] * weighted[n];
    }
  }
  for (int m = 0; m < D3; ++m)
    for (int n = 0; n < N; ++n) store(out + m * stride + n * BLOCK<T>, sum[m][n]);
}

template <typename Edges>
void gather_tile(const Tile<Edges> &tile, int64_t center, bool add)
{
  using T = typename Edges::Scalar;
  const EdgeShape<T> &shape = tile.shape;
  for (int64_t p = 0; p < shape.num_paths; ++p) {
    const EdgePath &path = shape.paths[p];
    const int64_t stride = shape.num_paths_to[path.z] * shape.num_channels;
    T *out = tile.data.out[path.z] + center * path.d3 * stride + path.out * shape.num_channels;
    each_piece<9>(path.d3, [&](int64_t m3, auto components) {
      // as many vectors as leave registers for the operands
      constexpr int MOST = components.value <= 5 ? 4 : 2;
      each_run<T, MOST>(shape.num_channels, [&](int64_t c, auto number) {
        gather(components, number, tile, p, m3, c, add, out + m3 * stride + c, stride);
      });
    });
  }
}

template <typename Edges>
void forward(const EdgeShape<typename Edges::Scalar> &shape, const Edges &data, int64_t begin,
             int64_t end)
{
  Tile<Edges> tile(shape, data);
  for (int64_t center = begin; center < end; ++center) {
    int64_t edge = data.offsets[center];
    const int64_t last = data.offsets[center + 1];
    bool add = false;
    do {    // once for a center without edges: its sums are zero
      if (edge < last)
        tile.take(edge, last - edge < TILE ? last - edge : TILE);
      else
        tile.count = 0;
      gather_tile(tile, center, add);
      add = true;
      edge += TILE;
    } while (edge < last);
  }
}

/// Which gradients are wanted: of node features, of radial weights or the length, of matrices.
template <bool FEATURES, bool RADIAL, bool MATRIX>
struct Wanted {
  static constexpr bool features = FEATURES, radial = RADIAL, matrix = MATRIX;
};

/// What the gradients of one edge read and write, in memory that the first-level cache holds. For
/// each vector of channels all components follow each other, at distances that the compiler knows:
/// with rows of all channels a third of the time went into addresses.
template <typename Edges>
class Scratch {
  using T = typename Edges::Scalar;

 public:
  explicit Scratch(const EdgeShape<T> &shape)
      : shape(shape)
      , feature_rows(shape.in_size * shape.num_channels)
      , feature_sums(shape.in_size * shape.num_channels)
      , radial(2 * shape.num_paths * shape.num_channels)
      , out_rows(num_out_rows(shape) * shape.num_channels)
      // whole vectors of rows, so that sums may read beyond the last one
      , grad_matrices((shape.matrix_size + 1 + BLOCK<T>) *BLOCK<T>)
  {
  }

  /// The gradients of a center's results: per path (C / BLOCK, d3, BLOCK).
  void take_center(const Edges &data, int64_t center)
  {
    T *to = out_rows.data();
    for (int64_t p = 0; p < shape.num_paths; ++p) {
      const EdgePath &path = shape.paths[p];
      const int64_t stride = shape.num_paths_to[path.z] * shape.num_channels;
      const T *from =
          data.grad_out[path.z] + center * path.d3 * stride + path.out * shape.num_channels;
      to = pack(from, path.d3, stride, to);
    }
  }

  /// The features of a neighbor: (C / BLOCK, D, BLOCK).
  void take_features(const T *from)
  {
    pack(from, shape.in_size, shape.num_channels, feature_rows.data());
  }

  void clear_sums()
  {
    for (int64_t k = 0; k < shape.in_size * shape.num_channels; k += BLOCK<T>)
      store(feature_sums.data() + k, Vector<T>{});
  }

  /// Adds the gradients of the features to those of a node.
  void give_sums(T *to) const
  {
    const T *from = feature_sums.data();
    for (int64_t c = 0; c < shape.num_channels; c += BLOCK<T>)
      for (int64_t m = 0; m < shape.in_size; ++m, from += BLOCK<T>) {
        T *place = to + m * shape.num_channels + c;
        store(place, load(place) + load(from));
      }
  }

  const EdgeShape<T> &shape;
  const Buffer<T> feature_rows, feature_sums, radial, out_rows, grad_matrices;

 private:
  static uint64_t num_out_rows(const EdgeShape<T> &shape)
  {
    uint64_t sum = 0;
    for (int64_t p = 0; p < shape.num_paths; ++p) sum += shape.paths[p].d3;
    return sum;
  }

  T *pack(const T *from, int64_t num_rows, int64_t stride, T *to) const
  {
    for (int64_t c = 0; c < shape.num_channels; c += BLOCK<T>)
      for (int64_t m = 0; m < num_rows; ++m, to += BLOCK<T>) store(to, load(from + m * stride + c));
    return to;
  }
};

/// One edge and one path, or a piece of it.
template <typename T>
struct ScatterPath {
  const T *features, *grad_out;                    ///< as `Scratch` has them
  const T *weights, *slopes, *matrix;              ///< slopes: null if there are none
  int64_t num_channels, in_size, d3;               ///< of the path, not of the piece
  T *grad_features, *grad_radial, *grad_matrix;    ///< grad_matrix: vectors still to be summed
  Vector<T> *grad_length;
};

/// D1 components of the features and D3 of the result.
template <typename Wants, bool HAS_SLOPE, int D1, int D3, typename T>
inline void scatter(Wants, Number<D1>, Number<D3>, const ScatterPath<T> &piece)
{
  Vector<T> products[D1][D3] = {};
  Vector<T> grad_length = {};
  const T *features = piece.features, *grad_out = piece.grad_out;
  T *grad_features = piece.grad_features;
  for (int64_t c = 0; c < piece.num_channels; c += BLOCK<T>) {
    const Vector<T> weight = load(piece.weights + c);
    Vector<T> g[D3], grad_weight = {};
    for (int m = 0; m < D3; ++m) g[m] = load(grad_out + m * BLOCK<T>);
    for (int m1 = 0; m1 < D1; ++m1) {
      const Vector<T> x = load(features + m1 * BLOCK<T>);
      if constexpr (Wants::matrix) {
        const Vector<T> weighted = x * weight;
        for (int m = 0; m < D3; ++m) products[m1][m] += g[m] * weighted;
      }
      if constexpr (Wants::features || Wants::radial) {
        const T *matrix = piece.matrix + m1 * piece.d3;
        Vector<T> back = matrix[0] * g[0];
        for (int m = 1; m < D3; ++m) back += matrix[m] * g[m];
        grad_weight += back * x;
        if constexpr (Wants::features) {
          T *to = grad_features + m1 * BLOCK<T>;
          store(to, load(to) + back * weight);
        }
      }
    }
    if constexpr (Wants::radial) {
      if constexpr (HAS_SLOPE)
        grad_length += grad_weight * load(piece.slopes + c);
      else
        store(piece.grad_radial + c, load(piece.grad_radial + c) + grad_weight);
    }
    features += piece.in_size * BLOCK<T>;
    grad_out += piece.d3 * BLOCK<T>;
    if constexpr (Wants::features)
      grad_features += piece.in_size * BLOCK<T>;
  }
  if constexpr (Wants::radial && HAS_SLOPE)
    *piece.grad_length += grad_length;
  if constexpr (Wants::matrix)
    for (int m1 = 0; m1 < D1; ++m1)
      for (int m = 0; m < D3; ++m)
        store(piece.grad_matrix + (m1 * piece.d3 + m) * BLOCK<T>, products[m1][m]);
}

/// Gradients of one edge: of features in memory, of matrix elements as vectors still to be summed,
/// followed by that of the length.
template <typename Wants, typename Edges>
void scatter_edge(Wants wanted, const Tile<Edges> &tile, int64_t e, Scratch<Edges> &scratch)
{
  using T = typename Edges::Scalar;
  constexpr bool HAS_SLOPE = Radial<Edges>::HAS_SLOPE;
  const EdgeShape<T> &shape = tile.shape;
  const Edges &data = tile.data;
  const int64_t num_channels = shape.num_channels;
  const T *weights = tile.radial.all(e, scratch.radial.data());
  const T *slopes = HAS_SLOPE ? weights + shape.num_paths * num_channels : nullptr;
  const T *matrix = tile.of_edge(e), *grad_out = scratch.out_rows.data();
  T *grad_matrices = scratch.grad_matrices.data();
  scratch.take_features(tile.features(e));
  if constexpr (Wants::features)
    scratch.clear_sums();
  Vector<T> grad_length = {};
  for (int64_t p = 0; p < shape.num_paths; ++p) {
    const EdgePath &path = shape.paths[p];
    T *grad_radial = nullptr;
    if constexpr (Wants::radial && !HAS_SLOPE) {
      grad_radial = data.grad_radial + ((tile.first + e) * shape.num_paths + p) * num_channels;
      for (int64_t c = 0; c < num_channels; c += BLOCK<T>) store(grad_radial + c, Vector<T>{});
    }
    each_piece<5>(path.d1, [&](int64_t m1, auto of_features) {
      each_piece<9>(path.d3, [&](int64_t m3, auto of_result) {
        const int64_t row = (path.in + m1) * BLOCK<T>;
        const int64_t slot = path.matrix + m1 * path.d3 + m3;
        const ScatterPath<T> piece = {scratch.feature_rows.data() + row,
                                      grad_out + m3 * BLOCK<T>,
                                      weights + p * num_channels,
                                      HAS_SLOPE ? slopes + p * num_channels : nullptr,
                                      matrix + slot,
                                      num_channels,
                                      shape.in_size,
                                      path.d3,
                                      scratch.feature_sums.data() + row,
                                      grad_radial,
                                      grad_matrices + slot * BLOCK<T>,
                                      &grad_length};
        scatter<Wants, HAS_SLOPE>(wanted, of_features, of_result, piece);
      });
    });
    grad_out += path.d3 * num_channels;
  }
  if constexpr (Wants::features)
    scratch.give_sums(data.grad_features +
                      data.neighbors[tile.first + e] * shape.in_size * num_channels);
  store(grad_matrices + shape.matrix_size * BLOCK<T>, grad_length);
}

/// The edges of one center.
template <typename Wants, typename Edges>
void scatter_center(Wants wanted, Tile<Edges> &tile, int64_t center, Scratch<Edges> &scratch)
{
  using T = typename Edges::Scalar;
  const int64_t last = tile.data.offsets[center + 1];
  scratch.take_center(tile.data, center);
  for (int64_t edge = tile.data.offsets[center]; edge < last; edge += TILE) {
    tile.take(edge, last - edge < TILE ? last - edge : TILE);
    tile.sort_by_edge();
    for (int64_t e = 0; e < tile.count; ++e) {
      scatter_edge(wanted, tile, e, scratch);
      if constexpr (Wants::matrix)
        for (int64_t k = 0; k <= tile.shape.matrix_size; k += BLOCK<T>) {
          Vector<T> block[BLOCK<T>];
          for (int64_t n = 0; n < BLOCK<T>; ++n)
            block[n] = load(scratch.grad_matrices.data() + (k + n) * BLOCK<T>);
          store(tile.of_edge(e) + k, row_sums<T>(block));
        }
    }
    if constexpr (Wants::matrix)
      tile.give_gradients();
  }
}

template <typename Edges>
void backward(const EdgeShape<typename Edges::Scalar> &shape, const Edges &data, int64_t begin,
              int64_t end)
{
  Tile<Edges> tile(shape, data);
  Scratch<Edges> scratch(shape);
  const auto run_with = [&](auto wanted) {
    for (int64_t center = begin; center < end; ++center)
      scatter_center(wanted, tile, center, scratch);
  };
  if constexpr (Radial<Edges>::HAS_SLOPE) {
    if (data.grad_features)
      run_with(Wanted<true, true, true>{});
    else
      run_with(Wanted<false, true, true>{});
  } else {
    const auto with_matrix = [&](auto features, auto weights) {
      if (data.grad_harmonics)
        run_with(Wanted<features.value, weights.value, true>{});
      else
        run_with(Wanted<features.value, weights.value, false>{});
    };
    if (data.grad_features && data.grad_radial)
      with_matrix(Number<1>{}, Number<1>{});
    else if (data.grad_features)
      with_matrix(Number<1>{}, Number<0>{});
    else if (data.grad_radial)
      with_matrix(Number<0>{}, Number<1>{});
    else
      with_matrix(Number<0>{}, Number<0>{});
  }
}

}    // namespace

extern const EdgeKernelSet ICTP_ISA;
const EdgeKernelSet ICTP_ISA = {
    {forward<GivenEdges<float>>, backward<GivenEdges<float>>},
    {forward<GivenEdges<double>>, backward<GivenEdges<double>>},
    {forward<TabulatedEdges<float>>, backward<TabulatedEdges<float>>},
    {forward<TabulatedEdges<double>>, backward<TabulatedEdges<double>>}};

}    // namespace ictp
