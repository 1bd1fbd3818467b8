// SPDX-License-Identifier: MIT
#ifndef ICTP_KNOWN_PRODUCT_KERNELS_H
#define ICTP_KNOWN_PRODUCT_KERNELS_H

#include "ops/known_product.h"
#include "ops/product_kernels.h"
#include "ops/vectors.h"

// Only for files compiled once per instruction set: the product basis by code without loops over
// terms, for polynomials that the compiler knows. A vector of channels of a node after the other.

namespace ictp {
namespace {

/// The numbers of one node and channel on of a row.
template <typename T>
inline T *place(const NodeRow<T> &row, int64_t node, int64_t channel)
{
  return row.first + node * row.stride + channel;
}

/// A, weights and intermediate rows.
template <typename Table, typename T>
inline void known_values(const ProductShape<T> &shape, const ProductData<T> &data, int64_t node,
                         int64_t channel, Vector<T> (&rows)[KnownProduct<Table>::NUM_ROWS])
{
  using Known = KnownProduct<Table>;
  for (int k = 0; k < Known::NUM_A; ++k) rows[k] = load(place(data.a[k], node, channel));
  const T *weights =
      data.weights + data.species[node] * Known::NUM_WEIGHTS * shape.num_channels + channel;
  for (int k = 0; k < Known::NUM_WEIGHTS; ++k)
    rows[Known::NUM_A + k] = load(weights + k * shape.num_channels);
  unrolled<Known::NUM_INNER>([&](auto k) {
    rows[Known::LEAVES + decltype(k)::value] = sum_terms_of<Table, decltype(k)::value>(rows);
  });
}

template <typename Table, typename T>
__attribute__((flatten)) void known_forward_of(const ProductShape<T> &shape,
                                               const ProductData<T> &data, int64_t begin,
                                               int64_t end)
{
  using Known = KnownProduct<Table>;
  for (int64_t node = begin; node < end; ++node)
    for (int64_t c = 0; c < shape.num_channels; c += BLOCK<T>) {
      Vector<T> rows[Known::NUM_ROWS];
      known_values<Table>(shape, data, node, c, rows);
      unrolled<NUM_TARGETS<Table> - Known::NUM_INNER>([&](auto k) {
        constexpr int K = decltype(k)::value;
        store(place(data.results[K], node, c), sum_terms_of<Table, Known::NUM_INNER + K>(rows));
      });
    }
}

template <typename Table, typename T>
__attribute__((flatten)) void known_backward_of(const ProductShape<T> &shape,
                                                const ProductData<T> &data, int64_t begin,
                                                int64_t end)
{
  using Known = KnownProduct<Table>;
  for (int64_t node = begin; node < end; ++node)
    for (int64_t c = 0; c < shape.num_channels; c += BLOCK<T>) {
      Vector<T> rows[Known::NUM_ROWS], grads[Known::NUM_ROWS] = {};    // those of weights: unused
      known_values<Table>(shape, data, node, c, rows);
      unrolled<NUM_TARGETS<Table> - Known::NUM_INNER>([&](auto k) {
        constexpr int K = decltype(k)::value;
        give_to_terms_of<Table, Known::NUM_INNER + K>(load(place(data.grad_results[K], node, c)),
                                                      rows, grads);
      });
      unrolled<Known::NUM_INNER>([&](auto k) {
        constexpr int K = Known::NUM_INNER - 1 - decltype(k)::value;
        give_to_terms_of<Table, K>(grads[Known::LEAVES + K], rows, grads);
      });
      for (int k = 0; k < Known::NUM_A; ++k) store(place(data.grad_a[k], node, c), grads[k]);
    }
}

template <typename T>
void known_forward(const ProductShape<T> &shape, const ProductData<T> &data, int64_t begin,
                   int64_t end)
{
  with_known<KnownProducts>(shape.known, [&](auto table) {
    known_forward_of<decltype(table)>(shape, data, begin, end);
  });
}

/// Gradients of A alone.
template <typename T>
void known_backward(const ProductShape<T> &shape, const ProductData<T> &data, int64_t begin,
                    int64_t end)
{
  with_known<KnownProducts>(shape.known, [&](auto table) {
    known_backward_of<decltype(table)>(shape, data, begin, end);
  });
}

}    // namespace
}    // namespace ictp

#endif
