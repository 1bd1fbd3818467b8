// SPDX-License-Identifier: MIT
#ifndef ICTP_NUMBER_H
#define ICTP_NUMBER_H

namespace ictp {

/// A number that the compiler knows, as an argument.
template <int N>
struct Number {
  static constexpr int value = N;
};

}    // namespace ictp

#endif
