// SPDX-License-Identifier: MIT
#include "ops/interpolation_kernels.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>

#include "ops/instruction_set.h"
#include "ops/operands.h"
#include "ops/operator.h"
#include "ops/tables.h"

// Interpolation in a table: out[e] = sum_k weights[e, k] table[rows[e] + k]. With G the gradient of
// the result, <G, out> is linear in table, weights and G: the derivative to any one of the three is
// a contraction of the other two, and so are all higher derivatives.

namespace ictp {
namespace {

using at::Tensor;
using c10::SymInt;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t GRAIN = 64;    // edges per task

enum Operand : int64_t { TABLE, WEIGHTS, VALUES };
using Operands = std::array<Tensor, 3>;

/// a and b in their places among the operands, beside the wanted one.
Operands operands_of(const Tensor &a, const Tensor &b, int64_t wanted)
{
  return wanted == TABLE     ? Operands{Tensor(), a, b}
         : wanted == WEIGHTS ? Operands{a, Tensor(), b}
                             : Operands{a, b, Tensor()};
}

/// Refuses operands that do not fit each other, and gives the wanted one its memory.
void check_and_allocate(Operands &x, const Tensor &rows, int64_t wanted, const SymInt &size)
{
  TORCH_CHECK(wanted >= TABLE && wanted <= VALUES && rows.dim() == 1,
              "ictp::interpolate: expected rows (E,), got ", rows.sym_sizes());
  const SymInt num_edges = rows.sym_size(0);
  for (int64_t k = 0; k < 3; ++k)
    TORCH_CHECK(k == wanted || (x[k].dim() == 2 && (k == TABLE || x[k].sym_size(0) == num_edges)),
                "ictp::interpolate: expected table (K, W), rows (E,), and weights (E, n) or values "
                "(E, W), got ",
                x[k].sym_sizes(), " and rows ", rows.sym_sizes());
  const Tensor &a = x[wanted == TABLE ? VALUES : TABLE],
               &b = x[wanted == WEIGHTS ? VALUES : WEIGHTS];
  TORCH_CHECK(a.scalar_type() == b.scalar_type() && a.device() == b.device() &&
                  a.device() == rows.device() &&
                  (a.scalar_type() == at::kFloat || a.scalar_type() == at::kDouble),
              "ictp::interpolate: expected one floating type, float32 or float64, and one device");
  TORCH_CHECK(wanted != WEIGHTS || a.sym_size(1) == b.sym_size(1), "ictp::interpolate: table ",
              a.sym_sizes(), " does not fit values ", b.sym_sizes());
  x[wanted] = at::empty_symint(
      {wanted == TABLE ? size : num_edges, wanted == WEIGHTS ? size : a.sym_size(1)}, a.options());
}

/// The derivative to the operand `wanted` of the contraction of the two others, a and b; size: the
/// number of knots of a table, of points of weights. Of meta tensors the shape.
Tensor contract(const Tensor &a, const Tensor &b, const Tensor &rows, int64_t wanted, SymInt size)
{
  Operands x = operands_of(a, b, wanted);
  check_and_allocate(x, rows, wanted, size);
  if (rows.is_meta())
    return x[wanted];
  for (Tensor &tensor : x) tensor = tensor.contiguous();
  const Tensor places = rows.contiguous();
  const int64_t num_edges = rows.size(0), num_points = x[WEIGHTS].size(1);
  const int64_t last = x[TABLE].size(0) - num_points;
  TORCH_CHECK(last >= 0 && are_below(places, last + 1),
              "ictp::interpolate: expected rows (int64) from 0 to ", last);
  with_type_of(x[wanted], [&](auto zero) {
    using T = decltype(zero);
    const InterpolationKernels<T> &kernels = of_type<T>(ICTP_BEST_OF(interpolation_kernels));
    const auto kernel = wanted == TABLE     ? kernels.to_table
                        : wanted == WEIGHTS ? kernels.to_weights
                                            : kernels.to_values;
    const InterpolationData<T> data{places.const_data_ptr<int64_t>(),
                                    num_points,
                                    x[TABLE].size(1),
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

const Operator<decltype(contract)> CONTRACT("ictp::interpolate_contract");

struct Contraction : public torch::autograd::Function<Contraction> {
  static Tensor forward(AutogradContext *context, const Tensor &a, const Tensor &b,
                        const Tensor &rows, int64_t wanted, const SymInt &size)
  {
    context->save_for_backward({a, b, rows});
    context->saved_data["wanted"] = wanted;
    return CONTRACT.below_autograd(a, b, rows, wanted, size);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    const int64_t wanted = context->saved_data["wanted"].toInt();
    Operands x = operands_of(saved[0], saved[1], wanted);
    x[wanted] = grads[0];
    variable_list found(5);
    size_t position = 0;
    for (int64_t k = 0; k < 3; ++k)
      if (k != wanted) {
        if (context->needs_input_grad(position))
          found[position] =
              CONTRACT(x[k == TABLE ? WEIGHTS : TABLE], x[k == VALUES ? WEIGHTS : VALUES], saved[2],
                       k, x[k].sym_size(k == TABLE ? 0 : 1));
        ++position;
      }
    return found;
  }
};

Tensor contract_autograd(const Tensor &a, const Tensor &b, const Tensor &rows, int64_t wanted,
                         SymInt size)
{
  return Contraction::apply(a, b, rows, wanted, size);
}

Tensor interpolate(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  return CONTRACT(table, weights, rows, VALUES, 0);
}

Tensor interpolate_cuda(const Tensor &table, const Tensor &rows, const Tensor &weights)
{
  const Tensor points = rows.unsqueeze(1) + at::arange(weights.size(1), rows.options());
  const Tensor gathered =
      table.index_select(0, points.flatten()).view({rows.size(0), weights.size(1), table.size(1)});
  return at::bmm(weights.unsqueeze(1), gathered).squeeze(1);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  using c10::DispatchKey, torch::dispatch;
  library.def("interpolate(Tensor table, Tensor rows, Tensor weights) -> Tensor");
  library.def("interpolate_contract(Tensor a, Tensor b, Tensor rows, int wanted, SymInt size) "
              "-> Tensor");
  for (const auto key : {DispatchKey::CPU, DispatchKey::Meta})
    library.impl("interpolate_contract", dispatch(key, TORCH_FN(ictp::contract)));
  library.impl("interpolate_contract",
               dispatch(DispatchKey::Autograd, TORCH_FN(ictp::contract_autograd)));
  library.impl("interpolate",
               dispatch(DispatchKey::CompositeImplicitAutograd, TORCH_FN(ictp::interpolate)));
  for (const auto key : {DispatchKey::CUDA, DispatchKey::AutogradCUDA})
    library.impl("interpolate", dispatch(key, TORCH_FN(ictp::interpolate_cuda)));
}
