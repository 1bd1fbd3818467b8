// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_TIMER_H
#define ICTP_TIMER_H

#include <chrono>

namespace ictp {

/// Adds the wall time of its scope to a number of seconds.
class ScopedTimer {
 public:
  /// inner: seconds that other timers count meanwhile, which are not counted twice.
  explicit ScopedTimer(double &seconds, const double *inner = nullptr)
      : seconds(seconds)
      , inner(inner)
      , start(reading())
  {
  }

  ScopedTimer(const ScopedTimer &) = delete;
  ScopedTimer &operator=(const ScopedTimer &) = delete;
  ~ScopedTimer() { seconds += reading() - start; }

 private:
  double reading() const
  {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count() - (inner ? *inner : 0.0);
  }

  double &seconds;
  const double *inner;
  double start;
};

}    // namespace ictp

#endif
