// SPDX-License-Identifier: MIT
#ifndef ICTP_PROGRAM_H
#define ICTP_PROGRAM_H

#include "ops/polynomial.h"

#include <cstddef>
#include <vector>

namespace ictp {

/// A polynomial with its memory.
template <typename T>
class Program {
 public:
  Program() = default;

  /// Computes rows first_target, first_target+1, ...: offsets (targets+1), terms (n, 2), values
  /// (n).
  Program(int64_t first_target, int64_t num_targets, const int64_t *offsets_in,
          const int64_t *terms_in, const double *values)
  {
    for (int64_t k = 0; k < num_targets; ++k) {
      targets.push_back(static_cast<int32_t>(first_target + k));
      for (int64_t n = offsets_in[k]; n < offsets_in[k + 1]; ++n)
        terms.push_back({static_cast<int32_t>(terms_in[2 * n]),
                         static_cast<int32_t>(terms_in[2 * n + 1]), static_cast<T>(values[n])});
      offsets.push_back(static_cast<int32_t>(terms.size()));
    }
  }

  /// The gradient of every computed row before `first_given`, latest first, and of the leaves that
  /// are wanted, from the gradients of the rows from `first_given` on: left is a gradient, right a
  /// value.
  template <typename Wanted>
  Program adjoint(int64_t num_leaves, int64_t first_given, Wanted wanted) const
  {
    std::vector<std::vector<Term<T>>> uses(first_given);
    for (std::size_t k = 0; k < targets.size(); ++k)
      for (int32_t n = offsets[k]; n < offsets[k + 1]; ++n) {
        const auto [left, right, value] = terms[n];
        if (left == right) {
          uses[left].push_back({targets[k], right, 2 * value});
        } else {
          uses[left].push_back({targets[k], right, value});
          uses[right].push_back({targets[k], left, value});
        }
      }
    Program reverse;
    for (int64_t row = first_given; row-- > 0;) {
      if (row < num_leaves && !wanted(row))
        continue;
      reverse.targets.push_back(static_cast<int32_t>(row));
      reverse.terms.insert(reverse.terms.end(), uses[row].begin(), uses[row].end());
      reverse.offsets.push_back(static_cast<int32_t>(reverse.terms.size()));
    }
    return reverse;
  }

  ProgramView<T> view() const
  {
    return {targets.data(), offsets.data(), terms.data(), static_cast<int64_t>(targets.size())};
  }

 private:
  std::vector<int32_t> targets, offsets{0};
  std::vector<Term<T>> terms;
};

}    // namespace ictp

#endif
