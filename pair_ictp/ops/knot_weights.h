// SPDX-License-Identifier: MIT
#ifndef ICTP_KNOT_WEIGHTS_H
#define ICTP_KNOT_WEIGHTS_H

#include <cstdint>

// Between two knots of a table of radial functions, on CPUs and GPUs. Everything is in an anonymous
// namespace: files compiled for one instruction set must not share it with others.

#ifdef __CUDACC__
#define ICTP_ANYWHERE __host__ __device__
#else
#define ICTP_ANYWHERE
#endif

namespace ictp {
namespace {

/// Rows of channels of a knot and a path: f and h f', h the spacing; in float64 a and b, too, of
/// the interval that begins there: in t = 0...1 and s = 1 - t what is between two knots is the
/// cubic of their f and h f' plus t^2 s^2 (a + (t - 1/2) b), a polynomial of order 5 with the same
/// ends.
template <typename T>
constexpr int ROWS_OF_KNOT = sizeof(T) == sizeof(double) ? 4 : 2;

/// All rows that an edge takes: those of the lower knot, then f and h f' of the upper one.
template <typename T>
constexpr int ROWS_OF_EDGE = ROWS_OF_KNOT<T> + 2;

/// What the rows are multiplied by, for the value and for the derivative with respect to the
/// length.
template <typename T>
struct KnotWeights {
  T value[ROWS_OF_EDGE<T>], slope[ROWS_OF_EDGE<T>];

  /// At t between two knots at a distance of `spacing`; not inside the table all are zero.
  ICTP_ANYWHERE KnotWeights(double t, double spacing, bool inside)
  {
    const double s = 1.0 - t, ts = t * s, d = s - t;
    set(0, inside, (1.0 + 2.0 * t) * s * s, -6.0 * ts / spacing);
    set(1, inside, ts * s, s * (1.0 - 3.0 * t) / spacing);
    if constexpr (ROWS_OF_KNOT<T> == 4) {
      set(2, inside, ts * ts, 2.0 * ts * d / spacing);
      set(3, inside, -0.5 * ts * ts * d, ts * (ts - d * d) / spacing);
    }
    set(ROWS_OF_KNOT<T>, inside, t * t * (3.0 - 2.0 * t), 6.0 * ts / spacing);
    set(ROWS_OF_KNOT<T> + 1, inside, -t * ts, t * (3.0 * t - 2.0) / spacing);
  }

 private:
  ICTP_ANYWHERE void set(int n, bool inside, double of_value, double of_slope)
  {
    value[n] = inside ? static_cast<T>(of_value) : T(0);
    slope[n] = inside ? static_cast<T>(of_slope) : T(0);
  }
};

}    // namespace
}    // namespace ictp

#endif
