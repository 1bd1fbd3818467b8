// SPDX-License-Identifier: MIT
#ifndef ICTP_VECTORS_H
#define ICTP_VECTORS_H

#include "ops/number.h"

#include <cstdint>
#include <utility>

// Vectors as wide as the registers of the instruction set: GCC keeps wider ones in memory. Only for
// files compiled once per instruction set: everything is in an anonymous namespace, so that the
// linker cannot mix them.

namespace ictp {
namespace {

#if defined(__AVX512F__)
constexpr int64_t VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int64_t VECTOR_BYTES = 32;
#else
constexpr int64_t VECTOR_BYTES = 16;
#endif

/// Channels (or edges) in one vector; operands have a multiple of it.
template <typename T>
constexpr int64_t BLOCK = VECTOR_BYTES / sizeof(T);

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(VECTOR_BYTES)));
};
template <typename T>
using Vector = typename VectorOf<T>::type;

template <typename T>
inline __attribute__((always_inline)) Vector<T> load(const T *from)
{
  Vector<T> vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <typename T>
inline __attribute__((always_inline)) void store(T *to, const Vector<T> &vector)
{
  __builtin_memcpy(to, &vector, sizeof(vector));
}

/// Calls body(first channel, number of vectors) for runs of 4 (if MOST allows), 2 and 1 vectors:
/// numbers that the compiler knows, so that the vectors of a run stay in registers.
template <typename T, int MOST = 4, typename Body>
inline __attribute__((always_inline)) void each_run(int64_t num_channels, Body body)
{
  int64_t c = 0;
  if constexpr (MOST >= 4)
    for (; c + 4 * BLOCK<T> <= num_channels; c += 4 * BLOCK<T>) body(c, Number<4>{});
  if constexpr (MOST >= 2)
    for (; c + 2 * BLOCK<T> <= num_channels; c += 2 * BLOCK<T>) body(c, Number<2>{});
  for (; c < num_channels; c += BLOCK<T>) body(c, Number<1>{});
}

template <typename T, int... I>
inline __attribute__((always_inline)) Vector<T> shuffled(const Vector<T> &a, const Vector<T> &b,
                                                         std::integer_sequence<int, I...>)
{
  return __builtin_shufflevector(a, b, I...);
}

template <typename T>
using Lanes = std::make_integer_sequence<int, BLOCK<T>>;

/// Where lane k of a sum of neighboring groups of WIDTH lanes stems from: the first half of the
/// result from a, the second from b; OFFSET 0 for the first of two neighbors, WIDTH for the other.
template <int WIDTH, int OFFSET, int... K>
constexpr auto fold_lanes(std::integer_sequence<int, K...>)
{
  constexpr int SIZE = sizeof...(K), HALF = SIZE / 2;
  return std::integer_sequence<int, (K / HALF * SIZE + K % HALF / WIDTH * 2 * WIDTH + K % WIDTH +
                                     OFFSET)...>{};
}

/// The sums of the elements of BLOCK rows that lie one after the other: a tree of shuffles that
/// halves the number of vectors at each step.
template <typename T, int WIDTH = BLOCK<T> / 2>
inline __attribute__((always_inline)) Vector<T> row_sums(Vector<T> (&rows)[BLOCK<T>])
{
  if constexpr (WIDTH == 0) {
    return rows[0];
  } else {
    for (int k = 0; k < WIDTH; ++k) {
      const Vector<T> a = rows[2 * k], b = rows[2 * k + 1];
      rows[k] = shuffled<T>(a, b, fold_lanes<WIDTH, 0>(Lanes<T>{})) +
                shuffled<T>(a, b, fold_lanes<WIDTH, WIDTH>(Lanes<T>{}));
    }
    return row_sums<T, WIDTH / 2>(rows);
  }
}

template <int WIDTH, int... K>
constexpr auto upper_lanes(std::integer_sequence<int, K...>)
{
  return std::integer_sequence<int, (K & WIDTH ? int(sizeof...(K)) + (K ^ WIDTH) : K)...>{};
}

template <int WIDTH, int... K>
constexpr auto lower_lanes(std::integer_sequence<int, K...>)
{
  return std::integer_sequence<int, (K & WIDTH ? int(sizeof...(K)) + K : (K ^ WIDTH))...>{};
}

/// Rows to columns: swaps the blocks off the diagonal, of half the size at each step.
template <typename T, int WIDTH = BLOCK<T> / 2>
inline __attribute__((always_inline)) void transpose(Vector<T> (&rows)[BLOCK<T>])
{
  if constexpr (WIDTH > 0) {
    for (int k = 0; k < BLOCK<T>; ++k)
      if ((k & WIDTH) == 0) {
        const Vector<T> a = rows[k], b = rows[k | WIDTH];
        rows[k] = shuffled<T>(a, b, upper_lanes<WIDTH>(Lanes<T>{}));
        rows[k | WIDTH] = shuffled<T>(a, b, lower_lanes<WIDTH>(Lanes<T>{}));
      }
    transpose<T, WIDTH / 2>(rows);
  }
}

}    // namespace
}    // namespace ictp

#endif
