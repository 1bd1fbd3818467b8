// SPDX-License-Identifier: MIT
#ifndef ICTP_VECTORS_H
#define ICTP_VECTORS_H

#include <cstdint>

// Vectors of 64 bytes, which the compiler cuts to the machine's width. Only for files compiled once
// per instruction set: everything is in an anonymous namespace, so that the linker cannot mix them.

namespace ictp {
namespace {

/// Channels (or edges) in one vector; operands have a multiple of it.
template <typename T>
constexpr int64_t BLOCK = 64 / sizeof(T);

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(64)));
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

template <int N>
struct Number {
  static constexpr int value = N;
};

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

/// Sums of two vectors, pairwise: the first half of the result stems from a, the second from b.
inline __attribute__((always_inline)) Vector<float> fold(const Vector<float> &a,
                                                         const Vector<float> &b, Number<8>)
{
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
         __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30,
                                 31);
}

inline __attribute__((always_inline)) Vector<float> fold(const Vector<float> &a,
                                                         const Vector<float> &b, Number<4>)
{
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

inline __attribute__((always_inline)) Vector<float> fold(const Vector<float> &a,
                                                         const Vector<float> &b, Number<2>)
{
  return __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
         __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
}

inline __attribute__((always_inline)) Vector<float> fold(const Vector<float> &a,
                                                         const Vector<float> &b, Number<1>)
{
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

inline __attribute__((always_inline)) Vector<double> fold(const Vector<double> &a,
                                                          const Vector<double> &b, Number<4>)
{
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}

inline __attribute__((always_inline)) Vector<double> fold(const Vector<double> &a,
                                                          const Vector<double> &b, Number<2>)
{
  return __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13) +
         __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15);
}

inline __attribute__((always_inline)) Vector<double> fold(const Vector<double> &a,
                                                          const Vector<double> &b, Number<1>)
{
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}

/// sums[k] = sum of the elements of row k, for BLOCK rows one after the other: a tree of shuffles
/// that halves the number of vectors at each step.
template <typename T>
inline __attribute__((always_inline)) Vector<T> row_sums(const T *rows)
{
  Vector<T> level[BLOCK<T>];
  for (int64_t k = 0; k < BLOCK<T>; ++k) level[k] = load(rows + k * BLOCK<T>);
  const auto halve = [&](auto count, auto width) {
    for (int k = 0; k < count.value; ++k) level[k] = fold(level[2 * k], level[2 * k + 1], width);
  };
  if constexpr (BLOCK<T> == 16)
    halve(Number<8>{}, Number<8>{});
  halve(Number<4>{}, Number<4>{});
  halve(Number<2>{}, Number<2>{});
  halve(Number<1>{}, Number<1>{});
  return level[0];
}

}    // namespace
}    // namespace ictp

#endif
