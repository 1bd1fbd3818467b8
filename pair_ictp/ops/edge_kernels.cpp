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

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(BLOCK * sizeof(T))));
};
template <typename T>
using Vector = typename VectorOf<T>::type;

/// Calls body(first channel, Whole or Part) for each block.
template <typename Body>
inline __attribute__((always_inline)) void each_block(int64_t num_channels, Body body)
{
  int64_t c = 0;
  for (; c + BLOCK <= num_channels; c += BLOCK) body(c, Whole{});
  if (c < num_channels)
    body(c, Part{num_channels - c});
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
    for (int64_t p = 0; p < table.num_paths; ++p, radial += num_channels) {
      const EdgePath &path = table.paths[p];
      each_block(num_channels, [&](int64_t c, auto size) {
        const Vector<T> r = load(radial + c, size);
        const T *x = features + path.in * num_channels + c;
        const T *matrix = matrices + path.matrix;
        for (int64_t m1 = 0; m1 < path.d1; ++m1, matrix += path.d3, x += num_channels) {
          const Vector<T> weighted = load(x, size) * r;
          T *row = out + path.out * num_channels + c;
          for (int64_t m3 = 0; m3 < path.d3; ++m3, row += path.stride * num_channels)
            store(row, load(row, size) + matrix[m3] * weighted, size);
        }
      });
    }
  }
}

/// The part of one path and one component of the features that goes back through the matrices:
/// to the features and to the radial weights.
template <typename T>
inline void back_through_matrix(const EdgeTable &table, const EdgePath &path, const T *matrix,
                                const T *grad_out, const T *x, const T *radial, T *grad_features,
                                T *grad_radial)
{
  const int64_t stride = path.stride * table.num_channels;
  each_block(table.num_channels, [&](int64_t c, auto size) {
    Vector<T> back = {};
    const T *gradient = grad_out + c;
    for (int64_t m3 = 0; m3 < path.d3; ++m3, gradient += stride)
      back += matrix[m3] * load(gradient, size);
    if (grad_radial)
      store(grad_radial + c, load(grad_radial + c, size) + back * load(x + c, size), size);
    if (grad_features)
      store(grad_features + c, load(grad_features + c, size) + back * load(radial + c, size), size);
  });
}

/// The part that goes to the matrices.
template <typename T>
inline void back_to_matrix(const EdgeTable &table, const EdgePath &path, const T *grad_out,
                           const T *x, const T *radial, T *grad_matrix)
{
  const int64_t stride = path.stride * table.num_channels;
  for (int64_t m3 = 0; m3 < path.d3; ++m3, grad_out += stride) {
    Vector<T> products = {};
    each_block(table.num_channels, [&](int64_t c, auto size) {
      products += load(grad_out + c, size) * (load(x + c, size) * load(radial + c, size));
    });
    grad_matrix[m3] = sum<T>(products);
  }
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
  const int64_t node = neighbor * table.in_size * num_channels;
  const T *gradients = data.grad_out + center * table.out_size * num_channels;
  for (int64_t p = 0; p < table.num_paths; ++p) {
    const EdgePath &path = table.paths[p];
    const int64_t row = (edge * table.num_paths + p) * num_channels;
    const T *grad_out = gradients + path.out * num_channels;
    const T *radial = data.radial + row;
    T *grad_radial = data.grad_radial ? data.grad_radial + row : nullptr;
    if (grad_radial)
      for (int64_t c = 0; c < num_channels; ++c) grad_radial[c] = T(0);
    for (int64_t m1 = 0; m1 < path.d1; ++m1) {
      const int64_t slot = path.matrix + m1 * path.d3;
      const int64_t component = node + (path.in + m1) * num_channels;
      const T *x = data.features + component;
      T *grad_features = data.grad_features ? data.grad_features + component : nullptr;
      if (through)
        back_through_matrix(table, path, matrices + slot, grad_out, x, radial, grad_features,
                            grad_radial);
      if (data.grad_harmonics)
        back_to_matrix(table, path, grad_out, x, radial, grad_matrices + slot);
    }
  }
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
