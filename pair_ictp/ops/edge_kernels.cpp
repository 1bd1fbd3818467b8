// SPDX-License-Identifier: MIT
#include "ops/edge_kernels.h"

// Compiled once per instruction set (ICTP_ISA names it); nothing but the compiler's vectoriser.
// Channels are innermost and contiguous; they may have any number.

namespace ictp {
namespace {

template <typename T>
void coupling_matrices(const EdgeTable &table, const T *harmonics, T *matrices)
{
  for (int64_t k = 0; k < table.matrix_size; ++k) matrices[k] = T(0);
  for (int64_t k = 0; k < table.num_terms; ++k) {
    const EdgeTerm &term = table.terms[k];
    matrices[term.slot] += static_cast<T>(term.value) * harmonics[term.component];
  }
}

/// Channels are taken BLOCK at a time, as one vector that the compiler cuts to the machine's width.
constexpr int64_t BLOCK = 16;

struct Whole {};
struct Part {
  int64_t size;
};

template <int N>
struct Number {};

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(BLOCK * sizeof(T))));
};
template <typename T>
using Vector = typename VectorOf<T>::type;

/// Calls body(first channel, number of blocks, Whole or Part) for runs of 4, 2 and 1 blocks:
/// numbers that the compiler knows, so that the vectors of a run stay in registers.
template <typename Body>
inline __attribute__((always_inline)) void each_run(int64_t num_channels, Body body)
{
  int64_t c = 0;
  for (; c + 4 * BLOCK <= num_channels; c += 4 * BLOCK) body(c, Number<4>{}, Whole{});
  for (; c + 2 * BLOCK <= num_channels; c += 2 * BLOCK) body(c, Number<2>{}, Whole{});
  for (; c + BLOCK <= num_channels; c += BLOCK) body(c, Number<1>{}, Whole{});
  if (c < num_channels)
    body(c, Number<1>{}, Part{num_channels - c});
}

template <typename T>
inline Vector<T> load(const T *from, Whole)
{
  Vector<T> vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <typename T>
inline Vector<T> load(const T *from, Part part)
{
  Vector<T> vector = {};
  __builtin_memcpy(&vector, from, part.size * sizeof(T));
  return vector;
}

template <typename T>
inline void store(T *to, const Vector<T> &vector, Whole)
{
  __builtin_memcpy(to, &vector, sizeof(vector));
}

template <typename T>
inline void store(T *to, const Vector<T> &vector, Part part)
{
  __builtin_memcpy(to, &vector, part.size * sizeof(T));
}

template <typename T>
inline T sum(const Vector<T> &v)
{
  const auto v8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const auto v4 =
      __builtin_shufflevector(v8, v8, 0, 1, 2, 3) + __builtin_shufflevector(v8, v8, 4, 5, 6, 7);
  return (v4[0] + v4[1]) + (v4[2] + v4[3]);
}

/// Adds the messages of one edge, a run of channels at a time; pointers at the run's first channel.
template <typename T, int N, typename Size>
inline void forward_run(Number<N>, Size size, const EdgeTable &table, const T *features,
                        const T *radial, const T *matrices, T *out)
{
  const int64_t num_channels = table.num_channels;
  for (int64_t p = 0; p < table.num_paths; ++p, radial += num_channels) {
    const EdgePath &path = table.paths[p];
    const T *x = features + path.in * num_channels;
    const T *matrix = matrices + path.matrix;
    for (int64_t m1 = 0; m1 < path.d1; ++m1, matrix += path.d3, x += num_channels) {
      Vector<T> weighted[N];
      for (int k = 0; k < N; ++k)
        weighted[k] = load(x + k * BLOCK, size) * load(radial + k * BLOCK, size);
      T *row = out + path.out * num_channels;
      for (int64_t m3 = 0; m3 < path.d3; ++m3, row += path.stride * num_channels)
        for (int k = 0; k < N; ++k)
          store(row + k * BLOCK, load(row + k * BLOCK, size) + matrix[m3] * weighted[k], size);
    }
  }
}

template <typename T>
void forward(const EdgeTable &table, const EdgeForward<T> &data, int64_t center,
             const int64_t *neighbors, int64_t first, int64_t last, T *matrices)
{
  const int64_t num_channels = table.num_channels;
  T *out = data.out + center * table.out_size * num_channels;
  for (int64_t k = 0; k < table.out_size * num_channels; ++k) out[k] = T(0);
  for (int64_t edge = first; edge < last; ++edge) {
    coupling_matrices(table, data.harmonics + edge * table.harmonics_size, matrices);
    const T *features = data.features + neighbors[edge] * table.in_size * num_channels;
    const T *radial = data.radial + edge * table.num_paths * num_channels;
    each_run(num_channels, [&](int64_t c, auto number, auto size) {
      forward_run(number, size, table, features + c, radial + c, matrices, out + c);
    });
  }
}

/// What backward_run reads and adds to, at the run's first channel; gradients may be null.
template <typename T>
struct BackwardPointers {
  const T *grad_out, *features, *radial, *matrices;
  T *grad_features, *grad_radial, *grad_matrices;
};

/// THROUGH: gradients of features or radial weights are wanted; TO_MATRIX: of the matrices.
template <bool THROUGH, bool TO_MATRIX, typename T, int N, typename Size>
inline void backward_run(Number<N>, Size size, const EdgeTable &table, BackwardPointers<T> at)
{
  const int64_t num_channels = table.num_channels;
  for (int64_t p = 0; p < table.num_paths; ++p) {
    const EdgePath &path = table.paths[p];
    const int64_t stride = path.stride * num_channels;
    Vector<T> radial[N], grad_radial[N];
    for (int k = 0; k < N; ++k) {
      radial[k] = load(at.radial + p * num_channels + k * BLOCK, size);
      grad_radial[k] = Vector<T>{};
    }
    for (int64_t m1 = 0; m1 < path.d1; ++m1) {
      const int64_t slot = path.matrix + m1 * path.d3;
      const int64_t component = (path.in + m1) * num_channels;
      const T *gradient = at.grad_out + path.out * num_channels;
      Vector<T> x[N], weighted[N], back[N];
      for (int k = 0; k < N; ++k) {
        x[k] = load(at.features + component + k * BLOCK, size);
        weighted[k] = x[k] * radial[k];
        back[k] = Vector<T>{};
      }
      for (int64_t m3 = 0; m3 < path.d3; ++m3, gradient += stride) {
        Vector<T> products = {};
        for (int k = 0; k < N; ++k) {
          const Vector<T> g = load(gradient + k * BLOCK, size);
          if constexpr (THROUGH)
            back[k] += at.matrices[slot + m3] * g;
          if constexpr (TO_MATRIX)
            products += g * weighted[k];
        }
        if constexpr (TO_MATRIX)
          at.grad_matrices[slot + m3] += sum<T>(products);
      }
      if constexpr (THROUGH) {
        for (int k = 0; k < N; ++k) grad_radial[k] += back[k] * x[k];
        if (at.grad_features) {
          T *row = at.grad_features + component;
          for (int k = 0; k < N; ++k)
            store(row + k * BLOCK, load(row + k * BLOCK, size) + back[k] * radial[k], size);
        }
      }
    }
    if (THROUGH && at.grad_radial)
      for (int k = 0; k < N; ++k)
        store(at.grad_radial + p * num_channels + k * BLOCK, grad_radial[k], size);
  }
}

template <typename T>
T *advanced(T *pointer, int64_t offset)
{
  return pointer ? pointer + offset : nullptr;
}

template <typename T>
void backward(const EdgeTable &table, const EdgeBackward<T> &data, int64_t edge, int64_t center,
              int64_t neighbor, T *scratch)
{
  const int64_t num_channels = table.num_channels;
  T *matrices = scratch;
  T *grad_matrices = scratch + table.matrix_size;
  const bool through = data.grad_features || data.grad_radial;
  if (through)
    coupling_matrices(table, data.harmonics + edge * table.harmonics_size, matrices);
  if (data.grad_harmonics)
    for (int64_t k = 0; k < table.matrix_size; ++k) grad_matrices[k] = T(0);
  const int64_t node = neighbor * table.in_size * num_channels;
  const int64_t row = edge * table.num_paths * num_channels;
  each_run(num_channels, [&](int64_t c, auto number, auto size) {
    const BackwardPointers<T> at = {data.grad_out + center * table.out_size * num_channels + c,
                                    data.features + node + c,
                                    data.radial + row + c,
                                    matrices,
                                    advanced(data.grad_features, node + c),
                                    advanced(data.grad_radial, row + c),
                                    grad_matrices};
    if (through && data.grad_harmonics)
      backward_run<true, true>(number, size, table, at);
    else if (through)
      backward_run<true, false>(number, size, table, at);
    else
      backward_run<false, true>(number, size, table, at);
  });
  if (data.grad_harmonics) {
    T *gradient = data.grad_harmonics + edge * table.harmonics_size;
    for (int64_t k = 0; k < table.harmonics_size; ++k) gradient[k] = T(0);
    for (int64_t k = 0; k < table.num_terms; ++k) {
      const EdgeTerm &term = table.terms[k];
      gradient[term.component] += static_cast<T>(term.value) * grad_matrices[term.slot];
    }
  }
}

}    // namespace

extern const EdgeKernels ICTP_ISA;
const EdgeKernels ICTP_ISA = {forward<float>, forward<double>, backward<float>, backward<double>};

}    // namespace ictp
