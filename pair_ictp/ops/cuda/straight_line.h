// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_STRAIGHT_LINE_H
#define ICTP_CUDA_STRAIGHT_LINE_H

#include "ops/cuda/launch.h"

#include <utility>

// Only for .cu files: polynomials of known_tables.h without loops, tables and addresses. Rows are
// arrays whose indices the compiler knows: registers.

namespace ictp {

template <int N>
struct Number {
  static constexpr int value = N;
};

template <int... N, typename Body>
__device__ inline void unrolled(std::integer_sequence<int, N...> /*numbers*/, Body &body)
{
  (body(Number<N>{}), ...);
}

/// Calls body(Number<0>), ..., body(Number<COUNT-1>).
template <int COUNT, typename Body>
__device__ inline void unrolled(Body body)
{
  unrolled(std::make_integer_sequence<int, COUNT>{}, body);
}

/// Computed rows of a table.
template <typename Table>
constexpr int NUM_TARGETS = sizeof(Table::OFFSETS) / sizeof(Table::OFFSETS[0]) - 1;

/// Whether computed row K has terms; if not, it is zero.
template <typename Table, int K>
constexpr bool HAS_TERMS = Table::OFFSETS[K + 1] > Table::OFFSETS[K];

/// Calls body(Number<term>) for the terms of computed row K.
template <typename Table, int K, typename Body>
__device__ inline void each_term(Body body)
{
  constexpr int first = Table::OFFSETS[K];
  unrolled<Table::OFFSETS[K + 1] - first>([&](auto n) {
    body(Number<first + decltype(n)::value>{});
  });
}

/// Computed row K. The product of two rows comes first: other rows have it, too.
template <typename Table, int K, typename T, int ROWS>
__device__ inline T sum_terms_of(const T (&rows)[ROWS])
{
  T sum = T(0);
  each_term<Table, K>([&](auto n) {
    constexpr int left = Table::LEFT[decltype(n)::value], right = Table::RIGHT[decltype(n)::value];
    constexpr T value = static_cast<T>(Table::VALUES[decltype(n)::value]);
    sum += value * (rows[left] * rows[right]);
  });
  return sum;
}

/// Adds to the gradients of the rows that computed row K is made of, those before row WANTED.
template <typename Table, int K, typename T, int ROWS, int WANTED>
__device__ inline void give_to_terms_of(T grad, const T (&rows)[ROWS], T (&grads)[WANTED])
{
  each_term<Table, K>([&](auto n) {
    constexpr int left = Table::LEFT[decltype(n)::value], right = Table::RIGHT[decltype(n)::value];
    constexpr T value = static_cast<T>(Table::VALUES[decltype(n)::value]);
    const T scaled = value * grad;
    if constexpr (left < WANTED)
      grads[left] += scaled * rows[right];
    if constexpr (right < WANTED)
      grads[right] += scaled * rows[left];
  });
}

}    // namespace ictp

#endif
