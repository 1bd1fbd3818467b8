// SPDX-License-Identifier: MIT
#ifndef ICTP_KNOWN_MATCH_H
#define ICTP_KNOWN_MATCH_H

#include "ops/known.h"
#include "ops/tables.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

// Whether the tables of a file are those that a kernel was compiled for.

namespace ictp {

/// Whether `count` numbers, `stride` apart, are these, integers exactly.
template <typename Stored, typename Known, std::size_t N>
bool has_numbers(const Stored *found, int64_t count, int64_t stride, const Known (&known)[N])
{
  constexpr double ROUNDING = 1e-12;    // another machine's square roots
  if (count != static_cast<int64_t>(N))
    return false;
  for (std::size_t k = 0; k < N; ++k) {
    const auto is = static_cast<double>(found[k * stride]), should = static_cast<double>(known[k]);
    if (!(std::abs(is - should) <= ROUNDING * std::abs(should)))
      return false;
  }
  return true;
}

/// Tables on the CPU; what is damaged is not known.
template <typename Table>
bool is_polynomial_of(const Polynomial &polynomial)
{
  const auto &[offsets, terms, values] = polynomial;
  if (offsets.scalar_type() != at::kLong || terms.scalar_type() != at::kLong ||
      values.scalar_type() != at::kDouble || terms.dim() != 2 || terms.size(1) != 2 ||
      !offsets.is_contiguous() || !terms.is_contiguous() || !values.is_contiguous())
    return false;
  const int64_t *factors = terms.const_data_ptr<int64_t>(), num_terms = terms.size(0);
  return has_numbers(offsets.const_data_ptr<int64_t>(), offsets.numel(), 1, Table::OFFSETS) &&
         has_numbers(values.const_data_ptr<double>(), values.numel(), 1, Table::VALUES) &&
         has_numbers(factors, num_terms, 2, Table::LEFT) &&
         has_numbers(factors + 1, num_terms, 2, Table::RIGHT);
}

inline int find_convolution(const EdgePaths &paths, const Polynomial &polynomial)
{
  return find_known<KnownConvolutions>([&](auto table) {
    using Table = decltype(table);
    const auto is_same = [](const EdgePath &path, const int32_t (&known)[6]) {
      return path.in == known[0] && path.d1 == known[1] && path.d3 == known[2] &&
             path.matrix == known[3] && path.z == known[4] && path.out == known[5];
    };
    return std::equal(paths.paths.begin(), paths.paths.end(), std::begin(Table::PATHS),
                      std::end(Table::PATHS), is_same) &&
           is_polynomial_of<Table>(polynomial);
  });
}

/// dims_a, dims: components of each irrep of A and of the results.
inline int find_product(const std::vector<int64_t> &dims_a, int64_t num_weights,
                        const std::vector<int64_t> &dims, const Polynomial &polynomial)
{
  return find_known<KnownProducts>([&](auto table) {
    using Table = decltype(table);
    return std::equal(dims_a.begin(), dims_a.end(), std::begin(Table::DIMS_A),
                      std::end(Table::DIMS_A)) &&
           std::equal(dims.begin(), dims.end(), std::begin(Table::DIMS), std::end(Table::DIMS)) &&
           num_weights == Table::NUM_WEIGHTS[0] && is_polynomial_of<Table>(polynomial);
  });
}

}    // namespace ictp

#endif
