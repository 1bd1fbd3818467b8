// SPDX-License-Identifier: MIT
#ifndef ICTP_TABLE_OPERANDS_H
#define ICTP_TABLE_OPERANDS_H

#include "ops/tables.h"

#include <cmath>

namespace ictp {

/// Operands of table_convolution on any device, contiguous and of shapes that fit.
struct TableOperands {
  at::Tensor features, vectors, table;    ///< (nodes, D, C), (E, 3), (knots, P, 2, at least C)
  double r_cut;
  EdgeIndices edges;

  /// What operators take: features, vectors and table; the tables of EdgeIndices.
  TableOperands(at::TensorList x, double r_cut, at::TensorList tables)
      : r_cut(r_cut)
      , edges(tables)
  {
    constexpr auto NAME = "ictp::table_convolution";
    TORCH_CHECK(x.size() == 3 && x[0].dim() == 3 && x[1].dim() == 2 && x[2].dim() == 4, NAME,
                ": expected features (nodes, D, C), vectors (E, 3) and table (knots, P, 2, C)");
    features = x[0].contiguous();
    vectors = x[1].contiguous();
    table = x[2].contiguous();
    const int64_t num_edges = edges.neighbors.size(0);
    TORCH_CHECK(vectors.scalar_type() == at::kDouble && vectors.size(0) == num_edges &&
                    vectors.size(1) == 3,
                NAME, ": expected float64 vectors (", num_edges, ", 3), got ", vectors.sizes());
    TORCH_CHECK(features.scalar_type() == table.scalar_type() && table.size(0) > 1 &&
                    table.size(1) == edges.paths.size(0) && table.size(2) == 2 &&
                    table.size(3) >= features.size(2) &&
                    (table.scalar_type() == at::kFloat || table.scalar_type() == at::kDouble),
                NAME, ": features ", features.sizes(), " do not fit the table ", table.sizes());
    check_device(NAME, {features, vectors, table, edges.neighbors, edges.offsets});
    TORCH_CHECK(r_cut > 0.0 && std::isfinite(r_cut), NAME, ": expected r_cut above 0, got ", r_cut);
  }
};

}    // namespace ictp

#endif
