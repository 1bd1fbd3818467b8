// SPDX-License-Identifier: MIT
#include "ops/edge_problem.h"
#include "ops/given_operands.h"
#include "ops/operator.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>

// The edge convolution of given harmonics and radial weights, on the CPU: what training uses. It is
// linear in features h, harmonics Y and radial weights R, so <G, out(h, Y, R)> is linear in all
// four and two kernels are enough for derivatives of any order: those of the gradients are sums of
// the same two with one operand replaced.

namespace ictp {
namespace {

using at::IntArrayRef;
using at::Tensor;
using at::TensorList;
using c10::SymInt;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto NAME = "ictp::edge_convolution";

/// Features (nodes, D, C), harmonics (E, K), radial weights (E, P*C).
using Operands = std::array<Tensor, 3>;

/// One call of the kernels: operands in whole vectors of channels.
struct Call {
  EdgeIndices edges;
  int64_t num_channels, missing;
  Operands x;

  Call(TensorList operands, TensorList tables)
      : edges(tables)
  {
    check_given(NAME, operands, edges);
    check_indices(NAME, edges, operands[0].size(0));
    num_channels = operands[0].size(2);
    missing = missing_channels(operands[0], num_channels);
    x = {whole(operands[0]), operands[1].contiguous(), whole(operands[2])};
  }

  Tensor whole(const Tensor &tensor) const { return with_missing(tensor, num_channels, missing); }

  void cut(Tensor &tensor) const { tensor = without_missing(tensor, num_channels, missing); }

  /// Calls body(problem) with the problem of the operands' type.
  template <typename Body>
  void run(Body body) const
  {
    with_type_of(x[0], [&](auto zero) {
      using T = decltype(zero);
      EdgeProblem<GivenEdges<T>> problem(edges, x[1].size(1) + 1, x[0].size(1), x[0].size(2));
      problem.data.features = x[0].const_data_ptr<T>();
      problem.data.harmonics = x[1].const_data_ptr<T>();
      problem.data.radial = x[2].const_data_ptr<T>();
      body(problem);
    });
  }
};

variable_list forward_cpu(TensorList x, TensorList tables, IntArrayRef /*dims*/,
                          IntArrayRef /*num_paths*/)
{
  const Call call(x, tables);
  variable_list results;
  call.run([&](auto &problem) {
    results = problem.forward(call.x[0].options());
  });
  for (Tensor &result : results) call.cut(result);
  return results;
}

variable_list backward_cpu(TensorList grads, TensorList x, TensorList tables, Wanted wanted)
{
  const Call call(x, tables);
  variable_list g, found = given_gradients(call.x, wanted);
  for (const Tensor &grad : grads) g.push_back(call.whole(grad));
  call.run([&]<typename T>(EdgeProblem<GivenEdges<T>> &problem) {
    if (wanted[1])
      problem.data.grad_harmonics = found[1].data_ptr<T>();
    if (wanted[2])
      problem.data.grad_radial = found[2].data_ptr<T>();
    problem.backward(g, wanted[0] ? found[0] : Tensor());
  });
  call.cut(found[0]);
  call.cut(found[2]);
  return found;
}

variable_list backward_meta(TensorList /*grads*/, TensorList x, TensorList /*tables*/,
                            Wanted wanted)
{
  return given_gradients(x, wanted);
}

const Operator<decltype(forward_cpu)> FORWARD("ictp::edge_convolution_forward");
const Operator<decltype(backward_cpu)> BACKWARD("ictp::edge_convolution_backward");

void save(AutogradContext *context, TensorList x, TensorList tables, TensorList g)
{
  variable_list tensors = x.vec();
  tensors.insert(tensors.end(), tables.begin(), tables.end());
  tensors.insert(tensors.end(), g.begin(), g.end());
  context->save_for_backward(tensors);
}

/// What `save` saved.
struct Saved {
  variable_list all;
  TensorList x, tables, g;

  explicit Saved(AutogradContext *context)
      : all(context->get_saved_variables())
      , x(TensorList(all).slice(0, 3))
      , tables(TensorList(all).slice(3, NUM_TABLES))
      , g(TensorList(all).slice(3 + NUM_TABLES))
  {
  }
};

struct Convolution : public torch::autograd::Function<Convolution> {
  static variable_list forward(AutogradContext *context, TensorList x, const variable_list &tables,
                               IntArrayRef dims, IntArrayRef num_paths)
  {
    save(context, x, tables, {});
    return FORWARD.below_autograd(x, tables, dims, num_paths);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const Saved saved(context);
    Wanted wanted;
    for (size_t k = 0; k < 3; ++k) wanted[k] = context->needs_input_grad(k);
    variable_list found = BACKWARD(grads, saved.x, saved.tables, wanted);
    for (size_t k = 0; k < 3; ++k)
      if (!wanted[k])
        found[k] = Tensor();
    found.resize(3 + 3);
    return found;
  }
};

void add_to(Tensor &sum, const Tensor &term)
{
  sum = sum.defined() ? sum + term : term;
}

struct ConvolutionBackward : public torch::autograd::Function<ConvolutionBackward> {
  static variable_list forward(AutogradContext *context, TensorList g, TensorList x,
                               const variable_list &tables, Wanted wanted)
  {
    save(context, x, tables, g);
    context->set_materialize_grads(false);
    return BACKWARD.below_autograd(g, x, tables, wanted);
  }

  /// With S = <vh, gh> + <vy, gy> + <vr, gr>: derivatives of F(g, vh, y, r) + F(g, h, vy, r) +
  /// F(g, h, y, vr).
  static variable_list backward(AutogradContext *context, const variable_list &v)
  {
    const Saved saved(context);
    const size_t num_g = saved.g.size();
    bool want_g = false;
    std::vector<int64_t> dims, num_paths;
    for (size_t k = 0; k < num_g; ++k) {
      want_g = want_g || context->needs_input_grad(k);
      const SymInt width = saved.g[k].sym_size(2) / saved.x[0].sym_size(2);
      dims.push_back(saved.g[k].sym_size(1).guard_int(__FILE__, __LINE__));
      num_paths.push_back(width.guard_int(__FILE__, __LINE__));
    }
    variable_list found(num_g + 3 + 2);
    for (size_t moved = 0; moved < 3; ++moved) {
      if (!v[moved].defined())
        continue;
      variable_list x = saved.x.vec();
      x[moved] = v[moved];
      Wanted wanted;
      for (size_t k = 0; k < 3; ++k) wanted[k] = k != moved && context->needs_input_grad(num_g + k);
      if (want_g) {
        const variable_list part = FORWARD(x, saved.tables, dims, num_paths);
        for (size_t k = 0; k < num_g; ++k) add_to(found[k], part[k]);
      }
      if (!wanted[0] && !wanted[1] && !wanted[2])
        continue;
      const variable_list part = BACKWARD(saved.g, x, saved.tables, wanted);
      for (size_t k = 0; k < 3; ++k)
        if (wanted[k])
          add_to(found[num_g + k], part[k]);
    }
    return found;
  }
};

variable_list forward_autograd(TensorList x, TensorList tables, IntArrayRef dims,
                               IntArrayRef num_paths)
{
  return Convolution::apply(x, tables.vec(), dims, num_paths);
}

variable_list backward_autograd(TensorList grads, TensorList x, TensorList tables, Wanted wanted)
{
  return ConvolutionBackward::apply(grads, x, tables.vec(), wanted);
}

variable_list edge_convolution(const Tensor &features, const Tensor &harmonics,
                               const Tensor &radial, const Tensor &neighbors, const Tensor &offsets,
                               const Tensor &paths, const Tensor &rows, const Tensor &terms,
                               const Tensor &values, IntArrayRef dims, IntArrayRef num_paths)
{
  return FORWARD(variable_list{features, harmonics, radial},
                 variable_list{neighbors, offsets, paths, rows, terms, values}, dims, num_paths);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  using c10::DispatchKey, torch::dispatch;
  library.def("edge_convolution(Tensor features, Tensor harmonics, Tensor radial, "
              "Tensor neighbors, Tensor offsets, Tensor paths, Tensor rows, Tensor terms, "
              "Tensor values, int[] dims=[], int[] num_paths=[]) -> Tensor[]");
  library.def("edge_convolution_forward(Tensor[] x, Tensor[] tables, int[] dims, int[] num_paths) "
              "-> Tensor[]");
  library.def("edge_convolution_backward(Tensor[] grads, Tensor[] x, Tensor[] tables, "
              "bool[3] wanted) -> Tensor[]");
  library.impl("edge_convolution",
               dispatch(DispatchKey::CompositeImplicitAutograd, TORCH_FN(ictp::edge_convolution)));
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("edge_convolution_forward", TORCH_FN(ictp::forward_cpu));
  library.impl("edge_convolution_backward", TORCH_FN(ictp::backward_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("edge_convolution_forward", TORCH_FN(ictp::convolution_meta));
  library.impl("edge_convolution_backward", TORCH_FN(ictp::backward_meta));
}

TORCH_LIBRARY_IMPL(ictp, Autograd, library)
{
  library.impl("edge_convolution_forward", TORCH_FN(ictp::forward_autograd));
  library.impl("edge_convolution_backward", TORCH_FN(ictp::backward_autograd));
}
