// SPDX-License-Identifier: MIT
#include "ops/operator.h"
#include "ops/product_operands.h"
#include "ops/product_problem.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

// The product basis: a polynomial of A and the path weights, channel by channel. Its gradient is
// the adjoint polynomial; the gradient of that gradient, which training needs, is both
// differentiated along a direction.

namespace ictp {
namespace {

using at::IntArrayRef;
using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One call of the kernels: operands in whole vectors of channels.
class Call {
 public:
  Call(TensorList a, const Tensor &weights, TensorList tables, IntArrayRef dims)
      : x(a, weights, tables, dims)
      , missing(missing_channels(weights, x.num_channels))
  {
    // on a GPU looking at the species would wait for it; the model's embedding checks them there
    TORCH_CHECK(are_below(x.nodes.species, weights.size(0)),
                "ictp::product_basis: species beyond the ", weights.size(0), " of the weights");
    x.a = whole(x.a);
    x.weights = whole(x.weights);
  }

  ProductOperands x;

  Tensor whole(const Tensor &tensor) const
  {
    return missing && tensor.defined() ? at::constant_pad_nd(tensor, {0, missing}) : tensor;
  }

  variable_list whole(variable_list tensors) const
  {
    for (Tensor &tensor : tensors) tensor = whole(tensor);
    return tensors;
  }

  variable_list cut(variable_list tensors) const
  {
    if (missing)
      for (Tensor &tensor : tensors)
        if (tensor.dim() == 3)    // a gradient that is wanted
          tensor = tensor.narrow(2, 0, x.num_channels).contiguous();
    return tensors;
  }

  /// Calls body(problem) with the problem of the operands' type.
  template <typename Body>
  void run(bool weights_wanted, bool may_be_known, Body body) const
  {
    with_type_of(x.weights, [&](auto zero) {
      ProductProblem<decltype(zero)> problem(x.a, x.weights, x.nodes, weights_wanted, may_be_known);
      body(problem);
    });
  }

 private:
  int64_t missing;
};

variable_list joined(TensorList first, TensorList second)
{
  variable_list all = first.vec();
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

/// Gradients as autograd takes them: none of the weights if it is not wanted, and none of `count`
/// arguments that are no tensors.
variable_list padded(variable_list found, bool weights_wanted, size_t count)
{
  if (!weights_wanted)
    found.back() = Tensor();
  found.resize(found.size() + count);
  return found;
}

variable_list forward_cpu(TensorList a, const Tensor &weights, TensorList tables, IntArrayRef dims)
{
  const Call call(a, weights, tables, dims);
  const variable_list results = product_results(call.x.a, call.x.weights, dims);
  call.run(false, true, [&]<typename T>(ProductProblem<T> &problem) {
    const ProductKernels<T> &kernels = product_kernels<T>();
    problem.data.results = problem.rows(results, call.x.nodes.dims);
    problem.run(problem.is_known() ? kernels.known_forward : kernels.forward);
  });
  return call.cut(results);
}

/// Gradients of A and, if wanted, of the weights.
variable_list backward_cpu(TensorList grads, TensorList a, const Tensor &weights, TensorList tables,
                           bool weights_wanted)
{
  const Call call(a, weights, tables, dims_of(grads));
  const variable_list g = call.whole(call.x.grads(grads));
  const variable_list found = product_gradients(call.x.a, call.x.weights, weights_wanted);
  call.run(weights_wanted, !weights_wanted, [&]<typename T>(ProductProblem<T> &problem) {
    const ProductKernels<T> &kernels = product_kernels<T>();
    problem.data.grad_results = problem.rows(g, call.x.nodes.dims);
    problem.data.grad_a = problem.rows(found, dims_of(a));
    problem.run(problem.is_known() ? kernels.known_backward : kernels.backward,
                gradient_of_weights(found));
  });
  return call.cut(found);
}

/// Gradients of <moves, gradients> with respect to grads, A and, if wanted, the weights.
variable_list tangent_cpu(TensorList moves, TensorList grads, TensorList a, const Tensor &weights,
                          TensorList tables, bool weights_wanted)
{
  const Call call(a, weights, tables, dims_of(grads));
  const variable_list along = call.whole(call.x.moves(moves)), g = call.whole(call.x.grads(grads));
  variable_list of_grads = product_results(call.x.a, call.x.weights, call.x.nodes.dims);
  const variable_list of_a = product_gradients(call.x.a, call.x.weights, weights_wanted);
  const Tensor of_weights = gradient_of_weights(of_a), &along_weights = along.back();
  call.run(weights_wanted, false, [&]<typename T>(ProductProblem<T> &problem) {
    problem.data.a_tangent = problem.rows(along, dims_of(a));
    problem.data.weights_tangent = along_weights.defined() ? along_weights.const_data_ptr<T>()
                                                           : nullptr;
    problem.data.grad_results = problem.rows(g, call.x.nodes.dims);
    problem.data.results = problem.rows(of_grads, call.x.nodes.dims);
    problem.data.grad_a = problem.rows(of_a, dims_of(a));
    problem.run(product_kernels<T>().tangent, of_weights);
  });
  return call.cut(joined(of_grads, of_a));
}

variable_list forward_meta(TensorList a, const Tensor &weights, TensorList /*tables*/,
                           IntArrayRef dims)
{
  return product_results(a, weights, dims);
}

variable_list backward_meta(TensorList /*grads*/, TensorList a, const Tensor &weights,
                            TensorList /*tables*/, bool weights_wanted)
{
  return product_gradients(a, weights, weights_wanted);
}

variable_list tangent_meta(TensorList /*moves*/, TensorList grads, TensorList a,
                           const Tensor &weights, TensorList /*tables*/, bool weights_wanted)
{
  return joined(product_results(a, weights, dims_of(grads)),
                product_gradients(a, weights, weights_wanted));
}

const Operator<decltype(forward_cpu)> FORWARD("ictp::product_basis_forward");
const Operator<decltype(backward_cpu)> BACKWARD("ictp::product_basis_backward");
const Operator<decltype(tangent_cpu)> TANGENT("ictp::product_basis_tangent");

struct Backward : public torch::autograd::Function<Backward> {
  static variable_list forward(AutogradContext *context, TensorList grads, TensorList a,
                               const Tensor &weights, const variable_list &tables,
                               bool weights_wanted)
  {
    context->save_for_backward(joined(joined(grads, a), joined(weights, tables)));
    context->saved_data["num_grads"] = static_cast<int64_t>(grads.size());
    context->set_materialize_grads(false);
    return BACKWARD.below_autograd(grads, a, weights, tables, weights_wanted);
  }

  static variable_list backward(AutogradContext *context, variable_list moves)
  {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "ictp::product_basis has two derivatives: for more, use plain PyTorch "
                "(ICTPModel.use_operators(False))");
    const variable_list all = context->get_saved_variables();
    const TensorList saved(all);
    const size_t num_grads = context->saved_data["num_grads"].toInt();
    const size_t weights = saved.size() - NUM_NODE_TABLES - 1;
    for (Tensor &move : moves)
      if (!move.defined())
        move = at::empty({0}, saved[weights].options());
    variable_list found =
        TANGENT(moves, saved.slice(0, num_grads), saved.slice(num_grads, weights - num_grads),
                saved[weights], saved.slice(weights + 1), context->needs_input_grad(weights));
    return padded(found, context->needs_input_grad(weights), 2);
  }
};

struct Forward : public torch::autograd::Function<Forward> {
  static variable_list forward(AutogradContext *context, TensorList a, const Tensor &weights,
                               const variable_list &tables, IntArrayRef dims)
  {
    context->save_for_backward(joined(a, joined(weights, tables)));
    return FORWARD.below_autograd(a, weights, tables, dims);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list all = context->get_saved_variables();
    const TensorList saved(all);
    const size_t weights = saved.size() - NUM_NODE_TABLES - 1;
    const bool wanted = context->needs_input_grad(weights);
    return padded(
        BACKWARD(grads, saved.slice(0, weights), saved[weights], saved.slice(weights + 1), wanted),
        wanted, 2);
  }
};

variable_list forward_autograd(TensorList a, const Tensor &weights, TensorList tables,
                               IntArrayRef dims)
{
  return Forward::apply(a, weights, tables.vec(), dims);
}

variable_list backward_autograd(TensorList grads, TensorList a, const Tensor &weights,
                                TensorList tables, bool weights_wanted)
{
  return Backward::apply(grads, a, weights, tables.vec(), weights_wanted);
}

variable_list product_basis(TensorList a, const Tensor &weights, const Tensor &species,
                            const Tensor &offsets, const Tensor &terms, const Tensor &values,
                            IntArrayRef dims)
{
  return FORWARD(a, weights, variable_list{species, offsets, terms, values}, dims);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("product_basis(Tensor[] a, Tensor weights, Tensor species, Tensor offsets, "
              "Tensor terms, Tensor values, int[] dims) -> Tensor[]");
  library.def("product_basis_forward(Tensor[] a, Tensor weights, Tensor[] tables, int[] dims) "
              "-> Tensor[]");
  library.def("product_basis_backward(Tensor[] grads, Tensor[] a, Tensor weights, Tensor[] tables, "
              "bool weights_wanted) -> Tensor[]");
  library.def("product_basis_tangent(Tensor[] moves, Tensor[] grads, Tensor[] a, Tensor weights, "
              "Tensor[] tables, bool weights_wanted) -> Tensor[]");
  library.impl("product_basis", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                TORCH_FN(ictp::product_basis)));
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("product_basis_forward", TORCH_FN(ictp::forward_cpu));
  library.impl("product_basis_backward", TORCH_FN(ictp::backward_cpu));
  library.impl("product_basis_tangent", TORCH_FN(ictp::tangent_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("product_basis_forward", TORCH_FN(ictp::forward_meta));
  library.impl("product_basis_backward", TORCH_FN(ictp::backward_meta));
  library.impl("product_basis_tangent", TORCH_FN(ictp::tangent_meta));
}

TORCH_LIBRARY_IMPL(ictp, Autograd, library)
{
  library.impl("product_basis_forward", TORCH_FN(ictp::forward_autograd));
  library.impl("product_basis_backward", TORCH_FN(ictp::backward_autograd));
}
