// SPDX-License-Identifier: MIT
#include "ops/interpolation_kernels.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>

#include "ops/instruction_set.h"
#include "ops/operands.h"
#include "ops/operator.h"

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

void check(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  TORCH_CHECK(table.dim() == 2 && weights.dim() == 2 && rows.dim() == 1 &&
                  weights.sym_size(0) == rows.sym_size(0),
              "ictp::interpolate: expected table (K, W), rows (E,) and weights (E, n), got ",
              table.sym_sizes(), ", ", rows.sym_sizes(), ", ", weights.sym_sizes());
}

/// What kernels take as addresses.
Places places_of(const Tensor &rows, int64_t num_knots, int64_t num_points, const Tensor &a,
                 const Tensor &b)
{
  TORCH_CHECK(a.scalar_type() == b.scalar_type() &&
                  (a.scalar_type() == at::kFloat || a.scalar_type() == at::kDouble),
              "ictp::interpolate: expected one floating type, float32 or float64");
  const int64_t last = num_knots - num_points;
  TORCH_CHECK(rows.scalar_type() == at::kLong &&
                  (rows.numel() == 0 ||
                   (rows.min().item<int64_t>() >= 0 && rows.max().item<int64_t>() <= last)),
              "ictp::interpolate: expected rows (int64) from 0 to ", last);
  return {rows.contiguous(), num_knots, num_points};
}

Tensor interpolate_cpu(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  check(table, rows, weights);
  const Places places = places_of(rows, table.size(0), weights.size(1), table, weights);
  return run_kernel({table, weights, Tensor()}, places, VALUES);
}

Tensor to_table_cpu(const Tensor &weights, const Tensor &rows, const Tensor &values,
                    const c10::SymInt &num_knots)
{
  check(values, rows, weights);
  check(weights, rows, values);    // both have a row per edge
  const Places places = places_of(rows, num_knots.expect_int(), weights.size(1), weights, values);
  return run_kernel({Tensor(), weights, values}, places, TABLE);
}

Tensor to_weights_cpu(const Tensor &table, const Tensor &rows, const Tensor &values,
                      const c10::SymInt &num_points)
{
  check(table, rows, values);
  TORCH_CHECK(table.size(1) == values.size(1), "ictp::interpolate: table ", table.sizes(),
              " does not fit values ", values.sizes());
  const Places places = places_of(rows, table.size(0), num_points.expect_int(), table, values);
  return run_kernel({table, Tensor(), values}, places, WEIGHTS);
}

Tensor interpolate_meta(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  check(table, rows, weights);
  return at::empty_symint({rows.sym_size(0), table.sym_size(1)}, table.options());
}

Tensor to_table_meta(const Tensor & /*weights*/, const Tensor & /*rows*/, const Tensor &values,
                     const c10::SymInt &num_knots)
{
  return at::empty_symint({num_knots, values.sym_size(1)}, values.options());
}

Tensor to_weights_meta(const Tensor & /*table*/, const Tensor &rows, const Tensor &values,
                       const c10::SymInt &num_points)
{
  return at::empty_symint({rows.sym_size(0), num_points}, values.options());
}

/// The operator that gives the operand `wanted`, which itself is read for its shape alone.
Tensor call(const Operands &x, const Tensor &rows, int64_t wanted, const c10::SymInt &size)
{
  static const auto to_values = find_operator<decltype(interpolate_cpu)>("ictp::interpolate");
  static const auto to_table = find_operator<decltype(to_table_cpu)>("ictp::interpolate_to_table");
  static const auto to_weights =
      find_operator<decltype(to_weights_cpu)>("ictp::interpolate_to_weights");
  if (wanted == VALUES)
    return to_values.call(x[TABLE], rows, x[WEIGHTS]);
  return wanted == TABLE ? to_table.call(x[WEIGHTS], rows, x[VALUES], size)
                         : to_weights.call(x[TABLE], rows, x[VALUES], size);
}

struct Contraction : public torch::autograd::Function<Contraction> {
  /// a and b are the operands beside the wanted one; size: its knots or points.
  static Tensor forward(AutogradContext *context, const Tensor &a, const Tensor &b,
                        const Tensor &rows, int64_t wanted, const c10::SymInt &size)
  {
    context->save_for_backward({a, b, rows});
    context->saved_data["wanted"] = wanted;
    const at::AutoDispatchBelowADInplaceOrView below;
    return call(others(a, b, wanted), rows, wanted, size);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    const int64_t wanted = context->saved_data["wanted"].toInt();
    Operands x = others(saved[0], saved[1], wanted);
    x[wanted] = grads[0];
    variable_list found(5);
    size_t position = 0;
    for (int64_t k = 0; k < 3; ++k)
      if (k != wanted) {
        if (context->needs_input_grad(position))
          found[position] = call(x, saved[2], k, x[k].sym_size(k == TABLE ? 0 : 1));
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
};

Tensor interpolate_autograd(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  return Contraction::apply(table, weights, rows, VALUES, c10::SymInt(0));
}

Tensor to_table_autograd(const Tensor &weights, const Tensor &rows, const Tensor &values,
                         const c10::SymInt &num_knots)
{
  return Contraction::apply(weights, values, rows, TABLE, num_knots);
}

Tensor to_weights_autograd(const Tensor &table, const Tensor &rows, const Tensor &values,
                           const c10::SymInt &num_points)
{
  return Contraction::apply(table, values, rows, WEIGHTS, num_points);
}

Tensor interpolate_composite(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  const Tensor points = rows.unsqueeze(1) + at::arange(weights.size(1), rows.options());
  const Tensor gathered = table.index_select(0, points.flatten())
                              .view({rows.size(0), weights.size(1), table.size(1)});
  return at::bmm(weights.unsqueeze(1), gathered).squeeze(1);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("interpolate(Tensor table, Tensor rows, Tensor weights) -> Tensor");
  library.def("interpolate_to_table(Tensor weights, Tensor rows, Tensor values, SymInt num_knots) "
              "-> Tensor");
  library.def("interpolate_to_weights(Tensor table, Tensor rows, Tensor values, "
              "SymInt num_points) -> Tensor");
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("interpolate", TORCH_FN(ictp::interpolate_cpu));
  library.impl("interpolate_to_table", TORCH_FN(ictp::to_table_cpu));
  library.impl("interpolate_to_weights", TORCH_FN(ictp::to_weights_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("interpolate", TORCH_FN(ictp::interpolate_meta));
  library.impl("interpolate_to_table", TORCH_FN(ictp::to_table_meta));
  library.impl("interpolate_to_weights", TORCH_FN(ictp::to_weights_meta));
}

TORCH_LIBRARY_IMPL(ictp, Autograd, library)
{
  library.impl("interpolate", TORCH_FN(ictp::interpolate_autograd));
  library.impl("interpolate_to_table", TORCH_FN(ictp::to_table_autograd));
  library.impl("interpolate_to_weights", TORCH_FN(ictp::to_weights_autograd));
}

TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("interpolate", TORCH_FN(ictp::interpolate_composite));
}

TORCH_LIBRARY_IMPL(ictp, AutogradCUDA, library)
{
  library.impl("interpolate", TORCH_FN(ictp::interpolate_composite));
}
