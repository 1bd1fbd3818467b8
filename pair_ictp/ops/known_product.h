// SPDX-License-Identifier: MIT
#ifndef ICTP_KNOWN_PRODUCT_H
#define ICTP_KNOWN_PRODUCT_H

#include "ops/known.h"
#include "ops/straight_line.h"

namespace ictp {
namespace {

/// What follows from the table of a product basis; constants only, as functions of the host are
/// none on a GPU.
template <typename Table>
struct KnownProduct {
 private:
  template <int N>
  static constexpr int sum(const int32_t (&numbers)[N], int count)
  {
    int total = 0;
    for (int k = 0; k < count; ++k) total += numbers[k];
    return total;
  }

 public:
  static constexpr int NUM_IRREPS_A = sizeof(Table::DIMS_A) / sizeof(Table::DIMS_A[0]);
  static constexpr int NUM_IRREPS = sizeof(Table::DIMS) / sizeof(Table::DIMS[0]);
  static constexpr int NUM_A = sum(Table::DIMS_A, NUM_IRREPS_A);
  static constexpr int NUM_WEIGHTS = Table::NUM_WEIGHTS[0], LEAVES = NUM_A + NUM_WEIGHTS;
  static constexpr int NUM_INNER = NUM_TARGETS<Table> - sum(Table::DIMS, NUM_IRREPS);
  static constexpr int NUM_ROWS = LEAVES + NUM_INNER;    ///< without results

  template <int K>
  struct IrrepOfA {
    static constexpr int DIM = Table::DIMS_A[K], FIRST = sum(Table::DIMS_A, K);
  };
  template <int K>
  struct IrrepOfResult {
    static constexpr int DIM = Table::DIMS[K];
    static constexpr int FIRST_TARGET = NUM_INNER + sum(Table::DIMS, K);
  };
};

}    // namespace
}    // namespace ictp

#endif
