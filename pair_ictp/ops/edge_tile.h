// SPDX-License-Identifier: MIT
#ifndef ICTP_EDGE_TILE_H
#define ICTP_EDGE_TILE_H

#include "ops/edge_kernels.h"
#include "ops/knot_weights.h"
#include "ops/polynomial_kernels.h"

#include <cmath>
#include <cstdlib>

// Only for files compiled once per instruction set. Edges of one center are taken TILE at a time:
// what is one number per edge (harmonics, coupling matrices) is computed for all of them at once.

namespace ictp {
namespace {

constexpr int64_t TILE = 16;

template <typename T>
class Buffer {
 public:
  explicit Buffer(uint64_t size)
      : memory(static_cast<T *>(std::aligned_alloc(64, (size * sizeof(T) / 64 + 1) * 64)))
  {
    for (uint64_t k = 0; k < size; ++k) memory[k] = T(0);
  }

  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer() { std::free(memory); }
  T *data() const { return memory; }

 private:
  T *memory;
};

/// The radial weights of the edges at hand.
template <typename Edges>
struct Radial;

/// As they are given: one row per edge.
template <typename T>
struct Radial<GivenEdges<T>> {
  static constexpr bool HAS_SLOPE = false;    ///< what the gradient of the length needs
  const T *rows;                              // of the tile's first edge
  int64_t num_paths, num_channels;

  Vector<T> value(int64_t edge, int64_t path, int64_t c) const
  {
    return load(rows + (edge * num_paths + path) * num_channels + c);
  }

  /// All of an edge, (P, C); `room` is of no use.
  const T *all(int64_t edge, T * /*room*/) const { return rows + edge * num_paths * num_channels; }
};

/// Between two knots of a table.
template <typename T>
struct Radial<TabulatedEdges<T>> {
  static constexpr bool HAS_SLOPE = true;
  static constexpr int LOW = ROWS_OF_KNOT<T>, ALL = ROWS_OF_EDGE<T>;
  const T *knot[TILE];
  T value_weights[TILE][ALL], slope_weights[TILE][ALL];
  int64_t num_paths, num_channels;

  /// Places an edge of length r between its knots; `index`: its number among all edges.
  void place(const RadialTable<T> &table, int64_t edge, int64_t index, double r)
  {
    const double scaled = r / table.spacing;
    const bool inside = scaled < static_cast<double>(table.num_intervals);
    const int64_t k = inside ? static_cast<int64_t>(scaled) : 0;
    const int64_t start = table.of_edge ? table.of_edge[index] * (table.num_intervals + 1) : 0;
    knot[edge] = table.knots + (start + k) * num_paths * LOW * num_channels;
    const KnotWeights<T> weights(inside ? scaled - static_cast<double>(k) : 0.0, table.spacing,
                                 inside);
    for (int n = 0; n < ALL; ++n) {
      value_weights[edge][n] = weights.value[n];
      slope_weights[edge][n] = weights.slope[n];
    }
  }

  Vector<T> value(int64_t edge, int64_t path, int64_t c) const
  {
    Vector<T> rows[ALL];
    read(edge, path, c, rows);
    return weighted(value_weights[edge], rows);
  }

  /// All of an edge and then their derivatives with respect to its length, (2, P, C), in `room`.
  const T *all(int64_t edge, T *room) const
  {
    // copies, or every store would make the compiler read them again
    const int64_t width = num_channels;
    const T *low = knot[edge], *high = low + num_paths * LOW * width;
    Vector<T> of_value[ALL], of_slope[ALL];
    for (int n = 0; n < ALL; ++n) {
      of_value[n] = value_weights[edge][n] - Vector<T>{};
      of_slope[n] = slope_weights[edge][n] - Vector<T>{};
    }
    T *values = room, *slopes = room + num_paths * width;
    for (int64_t p = 0; p < num_paths; ++p) {
      for (int64_t c = 0; c < width; c += BLOCK<T>) {
        Vector<T> numbers[ALL];
        for (int n = 0; n < LOW; ++n) numbers[n] = load(low + n * width + c);
        for (int n = 0; n < 2; ++n) numbers[LOW + n] = load(high + n * width + c);
        store(values + c, weighted(of_value, numbers));
        store(slopes + c, weighted(of_slope, numbers));
      }
      low += LOW * width;
      high += LOW * width;
      values += width;
      slopes += width;
    }
    return room;
  }

 private:
  void read(int64_t edge, int64_t path, int64_t c, Vector<T> (&rows)[ALL]) const
  {
    const T *low = knot[edge] + path * LOW * num_channels + c;
    const T *high = low + num_paths * LOW * num_channels;
    for (int n = 0; n < LOW; ++n) rows[n] = load(low + n * num_channels);
    for (int n = 0; n < 2; ++n) rows[LOW + n] = load(high + n * num_channels);
  }

  template <typename Weights>
  static Vector<T> weighted(const Weights &weights, const Vector<T> (&rows)[ALL])
  {
    Vector<T> sum = weights[0] * rows[0] + weights[1] * rows[1];
    for (int n = 2; n < ALL; n += 2) sum += weights[n] * rows[n] + weights[n + 1] * rows[n + 1];
    return sum;
  }
};

/// The edges at hand: at most TILE of one center.
template <typename Edges>
class Tile {
  using T = typename Edges::Scalar;

 public:
  Tile(const EdgeShape<T> &shape, const Edges &data)
      : shape(shape)
      , data(data)
      , width((shape.matrix_size + BLOCK<T>) / BLOCK<T> * BLOCK<T>)
      , memory(2 * (shape.num_rows + BLOCK<T>) *TILE)
      , by_edge(width * TILE)
      , pointers(2 * (shape.num_rows + BLOCK<T>) )
      , rows(pointers.data())
      , grads(rows + shape.num_rows + BLOCK<T>)
  {
    for (int64_t k = 0; k < 2 * (shape.num_rows + BLOCK<T>); ++k)
      rows[k] = memory.data() + k * TILE;
    for (int64_t e = 0; e < TILE; ++e) rows[shape.num_leaves - 1][e] = T(1);
    radial.num_paths = shape.num_paths;
    radial.num_channels = shape.num_channels;
  }

  /// Reads edges and computes their coupling matrices. Lanes beyond `size` repeat the first edge.
  void take(int64_t first_edge, int64_t size)
  {
    first = first_edge;
    count = size;
    take_leaves(data);
    run(Number<TILE / BLOCK<T>>{}, shape.values, rows, rows, rows);
  }

  /// One element of the coupling matrices, of every edge.
  const T *matrix_row(int64_t slot) const
  {
    return rows[shape.num_rows - shape.matrix_size + slot];
  }

  /// All elements of one edge after `sort_by_edge`. There the gradients of these elements and,
  /// after them, of the length are left for `give_gradients`.
  T *of_edge(int64_t e) const { return by_edge.data() + e * width; }

  void sort_by_edge()
  {
    T *const *matrices = rows + shape.num_rows - shape.matrix_size;
    for (int64_t slot = 0; slot < width; slot += BLOCK<T>)
      for (int64_t e = 0; e < TILE; e += BLOCK<T>) {
        Vector<T> block[BLOCK<T>];
        for (int64_t k = 0; k < BLOCK<T>; ++k) block[k] = load(matrices[slot + k] + e);
        transpose<T>(block);
        for (int64_t k = 0; k < BLOCK<T>; ++k) store(of_edge(e + k) + slot, block[k]);
      }
  }

  /// From gradients of matrices and lengths to those of harmonics or vectors.
  void give_gradients()
  {
    T *const *matrices = grads + shape.num_rows - shape.matrix_size;
    for (int64_t slot = 0; slot < width; slot += BLOCK<T>)
      for (int64_t e = 0; e < TILE; e += BLOCK<T>) {
        Vector<T> block[BLOCK<T>];
        for (int64_t k = 0; k < BLOCK<T>; ++k) block[k] = load(of_edge(e + k) + slot);
        transpose<T>(block);
        for (int64_t k = 0; k < BLOCK<T>; ++k) store(matrices[slot + k] + e, block[k]);
      }
    run(Number<TILE / BLOCK<T>>{}, shape.adjoint, grads, grads, rows);
    give_leaves(data, matrices[shape.matrix_size]);
  }

  const T *features(int64_t e) const
  {
    return data.features + data.neighbors[first + e] * shape.in_size * shape.num_channels;
  }

  const EdgeShape<T> &shape;
  const Edges &data;
  int64_t first = 0, count = 0;
  Radial<Edges> radial{};

 private:
  /// Which edge stands in a lane.
  int64_t edge_of(int64_t e) const { return first + (e < count ? e : 0); }

  void take_leaves(const GivenEdges<T> &given)
  {
    const int64_t num_harmonics = shape.num_leaves - 1;
    for (int64_t e = 0; e < TILE; ++e)
      for (int64_t k = 0; k < num_harmonics; ++k)
        rows[k][e] = given.harmonics[edge_of(e) * num_harmonics + k];
    radial.rows = given.radial + first * shape.num_paths * shape.num_channels;
  }

  void take_leaves(const TabulatedEdges<T> &tabulated)
  {
    for (int64_t e = 0; e < TILE; ++e) take_vector(tabulated.vectors, edge_of(e), e);
  }

  void give_leaves(const GivenEdges<T> &given, const T * /*grad_lengths*/) const
  {
    const int64_t num_harmonics = shape.num_leaves - 1;
    for (int64_t e = 0; e < count; ++e)
      for (int64_t k = 0; k < num_harmonics; ++k)
        given.grad_harmonics[(first + e) * num_harmonics + k] = grads[k][e];
  }

  void give_leaves(const TabulatedEdges<T> &tabulated, const T *grad_lengths) const
  {
    for (int64_t e = 0; e < count; ++e)
      give_vector(tabulated.grad_vectors + 3 * (first + e), grad_lengths[e], e);
  }

  void take_vector(const double *vectors, int64_t index, int64_t e)
  {
    const double *vector = vectors + 3 * index;
    const double r =
        std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
    for (int k = 0; k < 3; ++k) rows[k][e] = static_cast<T>(vector[k] / r);
    inverse_length[e] = 1.0 / r;
    radial.place(data.table, e, index, r);
  }

  /// d/dr and, of what depends on the direction n = vector/r, the part across n.
  void give_vector(double *gradient, T grad_length, int64_t e) const
  {
    double along = 0.0;
    for (int k = 0; k < 3; ++k) along += double(grads[k][e]) * double(rows[k][e]);
    for (int k = 0; k < 3; ++k)
      gradient[k] = (double(grads[k][e]) - along * double(rows[k][e])) * inverse_length[e] +
                    double(grad_length) * double(rows[k][e]);
  }

  int64_t width;    // elements of the matrices and the length, to whole vectors
  Buffer<T> memory, by_edge;
  Buffer<T *> pointers;
  T **rows, **grads;    // with as many more as make the matrices whole vectors of rows
  double inverse_length[TILE] = {};
};

}    // namespace
}    // namespace ictp

#endif
