// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_KNOWN_MATCH_H
#define ICTP_CUDA_KNOWN_MATCH_H

#include "ops/cuda/known.h"
#include "ops/tables.h"

#include <algorithm>
#include <cmath>
#include <iterator>

// Whether the tables of a file are those that a kernel was compiled for.

namespace ictp {

/// Whether a tensor on the CPU has these numbers, integers exactly.
template <typename Number, std::size_t N>
bool has_numbers(const at::Tensor &tensor, const Number (&numbers)[N])
{
  using Stored = std::conditional_t<std::is_floating_point_v<Number>, double, int64_t>;
  constexpr double ROUNDING = 1e-12;    // another machine's square roots
  return tensor.numel() == static_cast<int64_t>(N) &&
         std::equal(std::begin(numbers), std::end(numbers), tensor.const_data_ptr<Stored>(),
                    [](Number known, Stored found) {
                      return std::abs(static_cast<double>(found) - static_cast<double>(known)) <=
                             ROUNDING * std::abs(static_cast<double>(known));
                    });
}

/// A polynomial on the CPU, checked.
template <typename Table>
bool is_polynomial_of(const Polynomial &polynomial)
{
  return has_numbers(polynomial.offsets, Table::OFFSETS) &&
         has_numbers(polynomial.values, Table::VALUES) &&
         has_numbers(polynomial.terms.select(1, 0).contiguous(), Table::LEFT) &&
         has_numbers(polynomial.terms.select(1, 1).contiguous(), Table::RIGHT);
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
