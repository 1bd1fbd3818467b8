// SPDX-License-Identifier: MIT
#include "ops/mixing_kernels.h"

#include "ops/vectors.h"

// Compiled once per instruction set (ICTP_MIXING names it); nothing but the compiler's vectoriser.

namespace ictp {
namespace {

constexpr int MOST_ROWS = 6;    // sums of 6 rows of 4 vectors, of 2 where
constexpr int MOST_VECTORS = VECTOR_BYTES == 64 ? 4 : 2;    // there are 16 registers

/// ROWS rows and N vectors of the result.
template <typename T, int ROWS, int N>
void block(Number<ROWS>, Number<N>, const MixingData<T> &data, int64_t row, int64_t c)
{
  using V = Vector<T>;
  V sum[ROWS][N] = {};
  const T *x = data.x + row * data.num_in, *w = data.w + c;
  for (int64_t k = 0; k < data.num_in; ++k, w += data.num_out) {
    V column[N];
    for (int n = 0; n < N; ++n) column[n] = load(w + n * BLOCK<T>);
    for (int r = 0; r < ROWS; ++r)
      for (int n = 0; n < N; ++n) sum[r][n] += x[r * data.num_in + k] * column[n];
  }
  for (int r = 0; r < ROWS; ++r)
    for (int n = 0; n < N; ++n)
      store(data.y + (row + r) * data.num_out + c + n * BLOCK<T>, sum[r][n]);
}

template <typename T, int ROWS>
void rows_of(Number<ROWS> rows, const MixingData<T> &data, int64_t row)
{
  each_run<T, MOST_VECTORS>(data.num_out, [&](int64_t c, auto number) {
    block(rows, number, data, row, c);
  });
}

template <typename T>
void product(const MixingData<T> &data, int64_t begin, int64_t end)
{
  int64_t row = begin;
  for (; row + MOST_ROWS <= end; row += MOST_ROWS) rows_of(Number<MOST_ROWS>{}, data, row);
  for (; row + 2 <= end; row += 2) rows_of(Number<2>{}, data, row);
  for (; row < end; ++row) rows_of(Number<1>{}, data, row);
}

}    // namespace

extern const MixingKernels ICTP_MIXING;
const MixingKernels ICTP_MIXING = {{product<float>}, {product<double>}};

}    // namespace ictp
