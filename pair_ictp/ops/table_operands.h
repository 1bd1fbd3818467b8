// SPDX-License-Identifier: MIT
#ifndef ICTP_TABLE_OPERANDS_H
#define ICTP_TABLE_OPERANDS_H

#include "ops/knot_weights.h"
#include "ops/tables.h"

#include <cmath>

namespace ictp {

/// Operands of table_convolution on any device, contiguous and of shapes that fit.
struct TableOperands {
  at::Tensor features, vectors,
      table;    ///< (nodes, D, C), (E, 3), (tables, knots, P, ROWS_OF_KNOT, C or more)
  double r_cut;
  EdgeIndices edges;

  /// What operators take: features, vectors and table; the tables of EdgeIndices.
  TableOperands(at::TensorList x, double r_cut, at::TensorList tables)
      : r_cut(r_cut)
      , edges(tables)
  {
    constexpr auto NAME = "ictp::table_convolution";
    TORCH_CHECK(x.size() == 3 && x[0].dim() == 3 && x[1].dim() == 2 &&
                    (x[2].dim() == 4 || x[2].dim() == 5),
                NAME,
                ": expected features (nodes, D, C), vectors (E, 3) and table (knots, P, rows, C)"
                " or several");
    features = x[0].contiguous();
    vectors = x[1].contiguous();
    table = (x[2].dim() == 4 ? x[2].unsqueeze(0) : x[2]).contiguous();
    const int64_t num_edges = edges.neighbors.size(0);
    TORCH_CHECK(vectors.scalar_type() == at::kDouble && vectors.size(0) == num_edges &&
                    vectors.size(1) == 3,
                NAME, ": expected float64 vectors (", num_edges, ", 3), got ", vectors.sizes());
    const bool is_double = table.scalar_type() == at::kDouble;
    TORCH_CHECK(features.scalar_type() == table.scalar_type() && table.size(1) > 1 &&
                    table.size(2) == edges.paths.size(0) &&
                    table.size(3) == (is_double ? ROWS_OF_KNOT<double> : ROWS_OF_KNOT<float>) &&
                    table.size(4) >= features.size(2) &&
                    (is_double || table.scalar_type() == at::kFloat),
                NAME, ": features ", features.sizes(), " do not fit the table ", table.sizes());
    check_device(NAME, {features, vectors, table, edges.neighbors, edges.offsets});
    if (!edges.radial_tables.defined()) {
      TORCH_CHECK(table.size(0) == 1, NAME, ": expected the table, of ", table.size(0),
                  ", of each edge");
    } else {
      check_device(NAME, {features, edges.radial_tables});
      TORCH_CHECK(edges.radial_tables.scalar_type() == at::kLong &&
                      edges.radial_tables.sizes() == at::IntArrayRef({num_edges}),
                  NAME, ": expected the table (int64) of each of ", num_edges, " edges, got ",
                  edges.radial_tables.sizes());
    }
    TORCH_CHECK(r_cut > 0.0 && std::isfinite(r_cut), NAME, ": expected r_cut above 0, got ", r_cut);
  }

  /// The table as kernels read it.
  template <typename T>
  RadialTable<T> radial_table() const
  {
    const int64_t num_intervals = table.size(1) - 1;
    const at::Tensor &of_edge = edges.radial_tables;
    return {table.const_data_ptr<T>(), num_intervals, r_cut / static_cast<double>(num_intervals),
            of_edge.defined() ? of_edge.const_data_ptr<int64_t>() : nullptr};
  }
};

}    // namespace ictp

#endif
