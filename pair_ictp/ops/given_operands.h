// SPDX-License-Identifier: MIT
#ifndef ICTP_GIVEN_OPERANDS_H
#define ICTP_GIVEN_OPERANDS_H

#include "ops/operands.h"
#include "ops/tables.h"

#include <array>
#include <vector>

// What the functions of edge_convolution on every device share: features (nodes, D, C), harmonics
// (E, K) and radial weights (E, P*C).

namespace ictp {

/// Which gradients are wanted, of the three operands.
using Wanted = std::array<bool, 3>;

/// Refuses, in the name of an operator, operands that do not fit each other.
inline void check_given(const char *name, at::TensorList x, const EdgeIndices &edges)
{
  TORCH_CHECK(x.size() == 3 && x[0].dim() == 3 && x[1].dim() == 2 && x[2].dim() == 2, name,
              ": expected features (nodes, D, C), harmonics (E, K) and radial weights (E, P*C)");
  const int64_t num_edges = edges.neighbors.size(0);
  TORCH_CHECK(x[1].size(0) == num_edges && x[2].size(0) == num_edges &&
                  x[2].size(1) == edges.paths.size(0) * x[0].size(2),
              name, ": ", num_edges, " edges, but harmonics ", x[1].sizes(), " and radial weights ",
              x[2].sizes());
  for (const at::Tensor &tensor : x)
    TORCH_CHECK(tensor.scalar_type() == x[0].scalar_type() &&
                    (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble),
                name, ": expected one floating type, float32 or float64");
}

/// Memory for the gradients that are wanted, and empty tensors in the place of the others.
inline std::vector<at::Tensor> given_gradients(at::TensorList x, Wanted wanted)
{
  std::vector<at::Tensor> found;
  for (size_t k = 0; k < x.size(); ++k)
    found.push_back(wanted[k] ? at::empty_like(x[k], at::MemoryFormat::Contiguous)
                              : at::empty({0}, x[k].options()));
  return found;
}

}    // namespace ictp

#endif
