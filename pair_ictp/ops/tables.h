// SPDX-License-Identifier: MIT
#ifndef ICTP_TABLES_H
#define ICTP_TABLES_H

#include "ops/edge_kernels.h"
#include "ops/program.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

// Integer tables of the operators, from tensors (on the CPU) to what the kernels read. Kernels use
// them as addresses, and a model file may hold anything: all that is wrong is refused here.

namespace ictp {

/// Row k of those computed sums terms offsets[k], ..., offsets[k+1]-1, as Python writes it.
struct Polynomial {
  at::Tensor offsets, terms, values;    ///< (targets+1), (n, 2), (n)
};

constexpr size_t NUM_TABLES = 6,
                 NUM_NODE_TABLES = 4;    // of EdgeIndices (at least) and NodeIndices

/// What of a convolution does not take part in derivatives.
struct EdgeIndices {
  at::Tensor neighbors, offsets;    ///< (E), (N+1)
  at::Tensor paths;                 ///< (P, 6): the fields of EdgePath
  at::Tensor radial_tables;         ///< (E) that of each edge; undefined: there is one
  Polynomial polynomial;            ///< the coupling matrices

  /// From the list that operators take.
  explicit EdgeIndices(at::TensorList tables)
  {
    TORCH_CHECK(tables.size() == NUM_TABLES || tables.size() == NUM_TABLES + 1,
                "expected neighbors, offsets, paths and the three "
                "tables of a polynomial, got ",
                tables.size());
    neighbors = tables[0].contiguous();
    offsets = tables[1].contiguous();
    paths = tables[2];
    polynomial = {tables[3], tables[4], tables[5]};
    if (tables.size() > NUM_TABLES)
      radial_tables = tables[NUM_TABLES].contiguous();
  }
};

/// What of a product basis does not take part in derivatives.
struct NodeIndices {
  at::Tensor species;    ///< (N)
  Polynomial polynomial;
  std::vector<int64_t> dims;    ///< components of each irrep of the result
};

/// Refuses, in the name of an operator, what is on several devices.
inline void check_device(const char *name, at::TensorList tensors)
{
  for (const at::Tensor &tensor : tensors)
    TORCH_CHECK(tensor.device() == tensors[0].device(), name, ": expected all operands on ",
                tensors[0].device(), ", got ", tensor.device());
}

/// Whether a tensor holds int64 numbers in one piece, of these sizes; -1: of any size.
inline bool is_table(const at::Tensor &tensor, std::initializer_list<int64_t> sizes)
{
  if (tensor.scalar_type() != at::kLong || !tensor.is_cpu() || !tensor.is_contiguous() ||
      tensor.dim() != static_cast<int64_t>(sizes.size()))
    return false;
  int64_t dim = 0;
  for (const int64_t size : sizes)
    if (const int64_t found = tensor.size(dim++); size >= 0 && found != size)
      return false;
  return true;
}

/// Whether offsets (n+1) rise from 0 to `end`.
inline bool are_offsets(const at::Tensor &offsets, int64_t end)
{
  if (!is_table(offsets, {-1}) || offsets.size(0) == 0)
    return false;
  const int64_t *values = offsets.const_data_ptr<int64_t>();
  const int64_t last = offsets.size(0) - 1;
  bool ascending = values[0] == 0 && values[last] == end;
  for (int64_t k = 0; k < last; ++k) ascending &= values[k] <= values[k + 1];
  return ascending;
}

/// Whether all of (n) int64 numbers are from 0 to below `size`.
inline bool are_below(const at::Tensor &indices, int64_t size)
{
  if (!is_table(indices, {-1}))
    return false;
  const int64_t *values = indices.const_data_ptr<int64_t>();
  uint64_t largest = 0;    // a negative number is a large one
  for (int64_t k = 0; k < indices.size(0); ++k)
    largest = std::max(largest, static_cast<uint64_t>(values[k]));
  return indices.size(0) == 0 || largest < static_cast<uint64_t>(size);
}

/// A polynomial whose last num_results rows are results, which no term reads.
template <typename T>
Program<T> read_program(int64_t num_leaves, int64_t num_results, const Polynomial &polynomial)
{
  const auto &[offsets, terms, values] = polynomial;
  constexpr int64_t MOST = 1 << 24;    // rows and terms; kernels count in 32 bits
  const int64_t num_terms = values.dim() == 1 ? values.size(0) : -1;
  TORCH_CHECK(num_terms >= 0 && num_terms < MOST && values.scalar_type() == at::kDouble &&
                  values.is_contiguous() && is_table(terms, {num_terms, 2}) &&
                  are_offsets(offsets, num_terms),
              "damaged table of a polynomial: expected offsets (targets+1) that rise to n, terms "
              "(n, 2) in int64 and values (n) in float64, got ",
              offsets.sizes(), ", ", terms.sizes(), " and ", values.sizes());
  const int64_t num_targets = offsets.size(0) - 1, num_inner = num_targets - num_results;
  TORCH_CHECK(num_results >= 0 && num_inner >= 0 && num_leaves + num_targets < MOST,
              "damaged table of a polynomial: ", num_targets, " rows, ", num_results, " results");
  const int64_t *first = offsets.const_data_ptr<int64_t>(), *rows = terms.const_data_ptr<int64_t>();
  for (int64_t k = 0; k < num_targets; ++k) {
    const int64_t known = num_leaves + std::min(k, num_inner);
    for (int64_t n = 2 * first[k]; n < 2 * first[k + 1]; ++n)
      TORCH_CHECK(rows[n] >= 0 && rows[n] < known, "damaged table of a polynomial: row ",
                  num_leaves + k, " is made of row ", rows[n], ", expected one of the first ",
                  known);
  }
  return Program<T>(num_leaves, num_targets, first, rows, values.const_data_ptr<double>());
}

/// The paths of a convolution and what follows from them.
struct EdgePaths {
  std::vector<EdgePath> paths;
  std::vector<int64_t> num_paths_to, dims;    ///< per irrep of the result
  int64_t matrix_size = 0;

  /// table (P, 6): the fields of EdgePath; in_size: components of a node's features.
  EdgePaths(const at::Tensor &table, int64_t in_size)
  {
    constexpr int64_t MOST = 1024;    // components of an irrep
    TORCH_CHECK(is_table(table, {-1, 6}) && table.size(0) < MOST * MOST,
                "damaged table of paths: expected (P, 6) in int64, got ", table.sizes());
    const auto row = table.accessor<int64_t, 2>();
    for (int64_t p = 0; p < table.size(0); ++p) {
      const EdgePath path{row[p][0], row[p][1], row[p][2], row[p][3], row[p][4], row[p][5]};
      const auto num_irreps = static_cast<int64_t>(dims.size());
      const bool is_new = path.z == num_irreps;
      const bool is_right = path.d1 > 0 && path.d1 <= MOST && path.d3 > 0 && path.d3 <= MOST &&
                            path.in >= 0 && path.in <= in_size - path.d1 &&
                            path.matrix == matrix_size && (is_new || path.z == num_irreps - 1) &&
                            path.out == (is_new ? 0 : num_paths_to.back()) &&
                            (is_new || path.d3 == dims.back());
      TORCH_CHECK(is_right, "damaged table of paths: row ", p, " of ", table.size(0), " is [",
                  path.in, ", ", path.d1, ", ", path.d3, ", ", path.matrix, ", ", path.z, ", ",
                  path.out, "]");
      if (is_new) {
        dims.push_back(path.d3);
        num_paths_to.push_back(0);
      }
      ++num_paths_to.back();
      matrix_size += path.d1 * path.d3;
      paths.push_back(path);
    }
  }
};

}    // namespace ictp

#endif
