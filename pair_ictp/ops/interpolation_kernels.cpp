// SPDX-License-Identifier: MIT
#include "ops/interpolation_kernels.h"

#include "ops/vectors.h"

namespace ictp {
namespace {

/// Calls body(column, number of vectors) on whole vectors and rest(column) on what remains.
template <typename T, typename Body, typename Rest>
inline __attribute__((always_inline)) void each_column(int64_t num_columns, Body body, Rest rest)
{
  const int64_t whole = num_columns / BLOCK<T> * BLOCK<T>;
  each_run<T>(whole, body);
  for (int64_t c = whole; c < num_columns; ++c) rest(c);
}

template <typename T>
void to_table(const InterpolationData<T> &data, int64_t begin, int64_t end)
{
  const int64_t width = data.num_columns;
  for (int64_t e = begin; e < end; ++e) {
    const T *from = data.values + e * width;
    for (int64_t k = 0; k < data.num_points; ++k) {
      const T weight = data.weights[e * data.num_points + k];
      T *to = data.table + (data.rows[e] + k) * width;
      each_column<T>(
          width,
          [&](int64_t c, auto number) {
            for (int64_t v = c; v < c + number.value * BLOCK<T>; v += BLOCK<T>)
              store(to + v, load(to + v) + weight * load(from + v));
          },
          [&](int64_t c) {
            to[c] += weight * from[c];
          });
    }
  }
}

template <typename T>
void to_weights(const InterpolationData<T> &data, int64_t begin, int64_t end)
{
  const int64_t width = data.num_columns;
  for (int64_t e = begin; e < end; ++e) {
    const T *values = data.values + e * width;
    for (int64_t k = 0; k < data.num_points; ++k) {
      const T *row = data.table + (data.rows[e] + k) * width;
      Vector<T> sums[4] = {};
      T total = 0;
      each_column<T>(
          width,
          [&](int64_t c, auto number) {
            for (int v = 0; v < number.value; ++v)
              sums[v] += load(row + c + v * BLOCK<T>) * load(values + c + v * BLOCK<T>);
          },
          [&](int64_t c) {
            total += row[c] * values[c];
          });
      const Vector<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      for (int64_t lane = 0; lane < BLOCK<T>; ++lane) total += sum[lane];
      data.weights[e * data.num_points + k] = total;
    }
  }
}

template <typename T>
void to_values(const InterpolationData<T> &data, int64_t begin, int64_t end)
{
  const int64_t width = data.num_columns, num_points = data.num_points;
  for (int64_t e = begin; e < end; ++e) {
    const T *first = data.table + data.rows[e] * width, *weights = data.weights + e * num_points;
    T *to = data.values + e * width;
    each_column<T>(
        width,
        [&](int64_t c, auto number) {
          Vector<T> sums[number.value] = {};
          for (int64_t k = 0; k < num_points; ++k)
            for (int v = 0; v < number.value; ++v)
              sums[v] += weights[k] * load(first + k * width + c + v * BLOCK<T>);
          for (int v = 0; v < number.value; ++v) store(to + c + v * BLOCK<T>, sums[v]);
        },
        [&](int64_t c) {
          to[c] = 0;
          for (int64_t k = 0; k < num_points; ++k) to[c] += weights[k] * first[k * width + c];
        });
  }
}

}    // namespace

extern const InterpolationKernelSet ICTP_INTERPOLATION;
const InterpolationKernelSet ICTP_INTERPOLATION = {
    {to_table<float>, to_weights<float>, to_values<float>},
    {to_table<double>, to_weights<double>, to_values<double>}};

}    // namespace ictp
