// SPDX-License-Identifier: MIT
#include "ops/interpolation_kernels.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>

#include "ops/instruction_set.h"
#include "ops/operands.h"

// Interpolation in a table: out[e] = sum_k weights[e, k] table[rows[e] + k]. With G the gradient of
// the result, <G, out> is linear in table, weights and G: the derivative to any one of the three is
// a contraction of the other two, and so are all higher derivatives.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t GRAIN = 64;    // edges per task

enum Operand : int64_t { TABLE, WEIGHTS, VALUES };
using Operands = std::array<Tensor, 3>;

/// Where the edges are in the table.
struct Places {
  Tensor rows;    // (E,) int64, the first of the points of each edge
  int64_t num_knots, num_points;
};

/// The derivative to the operand `wanted` of the contraction of the two others.
Tensor run_kernel(const Operands &operands, const Places &places, int64_t wanted)
{
  Operands x = operands;
  const Tensor &known = x[wanted == TABLE ? VALUES : TABLE];
  const int64_t num_edges = places.rows.size(0), num_columns = known.size(1);
  const std::array<int64_t, 3> num_rows = {places.num_knots, num_edges, num_edges};
  const int64_t width = wanted == WEIGHTS ? places.num_points : num_columns;
  x[wanted] = at::empty({num_rows[wanted], width}, known.options());
  for (Tensor &tensor : x) tensor = tensor.contiguous();
  with_type_of(x[wanted], [&](auto zero) {
    using T = decltype(zero);
    const InterpolationKernels<T> &kernels = of_type<T>(ICTP_BEST_OF(interpolation_kernels));
    const auto kernel = wanted == TABLE     ? kernels.to_table
                        : wanted == WEIGHTS ? kernels.to_weights
                                            : kernels.to_values;
    const InterpolationData<T> data{places.rows.const_data_ptr<int64_t>(),
                                    places.num_points,
                                    num_columns,
                                    x[TABLE].data_ptr<T>(),
                                    x[WEIGHTS].data_ptr<T>(),
                                    x[VALUES].data_ptr<T>()};
    const ThreadSums<T> sums(wanted == TABLE ? x[TABLE] : Tensor());
    at::parallel_for(0, num_edges, GRAIN, [&](int64_t begin, int64_t end) {
      InterpolationData<T> mine = data;
      if (wanted == TABLE)
        mine.table = sums.of_this_thread();
      kernel(mine, begin, end);
    });
    sums.join();
  });
  return x[wanted];
}

struct Contraction : public torch::autograd::Function<Contraction> {
  static Tensor forward(AutogradContext *context, const Tensor &a, const Tensor &b,
                        const Places &places, int64_t wanted)
  {
    context->save_for_backward({a, b, places.rows});
    context->saved_data["knots"] = places.num_knots;
    context->saved_data["points"] = places.num_points;
    context->saved_data["wanted"] = wanted;
    return run_kernel(others(a, b, wanted), places, wanted);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    const int64_t wanted = context->saved_data["wanted"].toInt();
    const Places places{saved[2], context->saved_data["knots"].toInt(),
                        context->saved_data["points"].toInt()};
    Operands x = others(saved[0], saved[1], wanted);
    x[wanted] = grads[0];
    variable_list found(4);
    size_t position = 0;
    for (int64_t k = 0; k < 3; ++k)
      if (k != wanted) {
        if (context->needs_input_grad(position))
          found[position] = contract(x, places, k);
        ++position;
      }
    return found;
  }

  /// a and b in their places among the operands.
  static Operands others(const Tensor &a, const Tensor &b, int64_t wanted)
  {
    return wanted == TABLE     ? Operands{Tensor(), a, b}
           : wanted == WEIGHTS ? Operands{a, Tensor(), b}
                               : Operands{a, b, Tensor()};
  }

  static Tensor contract(const Operands &x, const Places &places, int64_t wanted)
  {
    return Contraction::apply(x[wanted == TABLE ? WEIGHTS : TABLE],
                              x[wanted == VALUES ? WEIGHTS : VALUES], places, wanted);
  }
};

Tensor interpolate(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  TORCH_CHECK(table.dim() == 2 && weights.dim() == 2 && rows.dim() == 1 &&
                  weights.size(0) == rows.size(0),
              "ictp::interpolate: expected table (K, W), rows (E,) and weights (E, n), got ",
              table.sizes(), ", ", rows.sizes(), ", ", weights.sizes());
  TORCH_CHECK(table.scalar_type() == weights.scalar_type() &&
                  (table.scalar_type() == at::kFloat || table.scalar_type() == at::kDouble),
              "ictp::interpolate: expected one floating type, float32 or float64");
  TORCH_CHECK(table.is_cpu() && rows.is_cpu() && weights.is_cpu(),
              "ictp::interpolate: expected tensors on the CPU");
  const int64_t last = table.size(0) - weights.size(1);
  TORCH_CHECK(rows.scalar_type() == at::kLong &&
                  (rows.numel() == 0 ||
                   (rows.min().item<int64_t>() >= 0 && rows.max().item<int64_t>() <= last)),
              "ictp::interpolate: expected rows (int64) from 0 to ", last);
  const Places places{rows.contiguous(), table.size(0), weights.size(1)};
  return Contraction::apply(table, weights, places, VALUES);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("interpolate(Tensor table, Tensor rows, Tensor weights) -> Tensor");
  library.impl("interpolate", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                              TORCH_FN(ictp::interpolate)));
}
