// SPDX-License-Identifier: MIT
#ifndef ICTP_STRAIGHT_LINE_H
#define ICTP_STRAIGHT_LINE_H

#include "ops/number.h"

#include <type_traits>
#include <utility>

// Polynomials of known_tables.h without loops, tables and addresses, on CPUs and GPUs. Rows are
// arrays whose indices the compiler knows: registers. Everything is in an anonymous namespace:
// files compiled for one instruction set must not share it with others.

#ifdef __CUDACC__
#define ICTP_STRAIGHT __device__ inline
#else
#define ICTP_STRAIGHT inline
#endif

namespace ictp {
namespace {

template <int... N, typename Body>
ICTP_STRAIGHT void unrolled(std::integer_sequence<int, N...> /*numbers*/, Body &body)
{
  (body(Number<N>{}), ...);
}

/// Calls body(Number<0>), ..., body(Number<COUNT-1>).
template <int COUNT, typename Body>
ICTP_STRAIGHT void unrolled(Body body)
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
ICTP_STRAIGHT void each_term(Body body)
{
  constexpr int first = Table::OFFSETS[K];
  unrolled<Table::OFFSETS[K + 1] - first>([&](auto n) {
    body(Number<first + decltype(n)::value>{});
  });
}

/// What a row is multiplied by: the numbers of a vector, or a number like itself.
template <typename Row>
constexpr auto one_of(const Row &row)
{
  if constexpr (std::is_arithmetic_v<Row>)
    return Row(1);
  else
    return std::remove_cvref_t<decltype(row[0])>(1);
}
template <typename Row>
using Factor = decltype(one_of(std::declval<Row>()));

/// Computed row K. The product of two rows comes first: other rows have it, too.
template <typename Table, int K, typename Row, int ROWS>
ICTP_STRAIGHT Row sum_terms_of(const Row (&rows)[ROWS])
{
  Row sum = {};
  each_term<Table, K>([&](auto n) {
    constexpr int left = Table::LEFT[decltype(n)::value], right = Table::RIGHT[decltype(n)::value];
    constexpr auto value = static_cast<Factor<Row>>(Table::VALUES[decltype(n)::value]);
    sum += value * (rows[left] * rows[right]);
  });
  return sum;
}

/// Adds to the gradients of the rows that computed row K is made of, those before row WANTED.
template <typename Table, int K, typename Row, int ROWS, int WANTED>
ICTP_STRAIGHT void give_to_terms_of(Row grad, const Row (&rows)[ROWS], Row (&grads)[WANTED])
{
  each_term<Table, K>([&](auto n) {
    constexpr int left = Table::LEFT[decltype(n)::value], right = Table::RIGHT[decltype(n)::value];
    constexpr auto value = static_cast<Factor<Row>>(Table::VALUES[decltype(n)::value]);
    const Row scaled = value * grad;
    if constexpr (left < WANTED)
      grads[left] += scaled * rows[right];
    if constexpr (right < WANTED)
      grads[right] += scaled * rows[left];
  });
}

}    // namespace
}    // namespace ictp

#endif
