// SPDX-License-Identifier: MIT
#include "ops/cuda/devices.h"
#include "ops/cuda/dispatch.h"
#include "ops/product_problem.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

// The product basis: a polynomial of A and the path weights, channel by channel. Its gradient is
// the adjoint polynomial; the gradient of that gradient, which training needs, is both
// differentiated along a direction.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

variable_list empty_like_all(const variable_list &tensors)
{
  variable_list found;
  for (const Tensor &tensor : tensors) found.push_back(at::empty_like(tensor));
  return found;
}

variable_list contiguous(variable_list tensors)
{
  for (Tensor &tensor : tensors)
    if (tensor.defined())
      tensor = tensor.contiguous();
  return tensors;
}

variable_list forward_kernel(const variable_list &a, const Tensor &weights,
                             const NodeIndices &nodes)
{
  variable_list results;
  for (const int64_t dim : nodes.dims)
    results.push_back(at::empty({a[0].size(0), dim, weights.size(2)}, weights.options()));
  if constexpr (HAS_CUDA)
    if (weights.is_cuda()) {
      cuda_product_forward({a, weights, nodes}, results);
      return results;
    }
  with_type_of(weights, [&](auto zero) {
    using T = decltype(zero);
    ProductProblem<T> call(a, weights, nodes, false);
    call.data.results = call.rows(results, nodes.dims);
    call.run(product_kernels<T>().forward);
  });
  return results;
}

/// Gradients of A and, if wanted, of the weights.
variable_list backward_kernel(const variable_list &grads, const variable_list &a,
                              const Tensor &weights, const NodeIndices &nodes, bool weights_wanted)
{
  variable_list found = empty_like_all(a);
  const Tensor grad_weights = weights_wanted ? at::zeros_like(weights) : Tensor();
  if constexpr (HAS_CUDA)
    if (weights.is_cuda()) {
      cuda_product_backward({a, weights, nodes}, grads, found, grad_weights);
      found.push_back(grad_weights);
      return found;
    }
  with_type_of(weights, [&](auto zero) {
    using T = decltype(zero);
    ProductProblem<T> call(a, weights, nodes, weights_wanted);
    call.data.grad_results = call.rows(grads, nodes.dims);
    call.data.grad_a = call.rows(found, dims_of(a));
    call.run(product_kernels<T>().backward, grad_weights);
  });
  found.push_back(grad_weights);
  return found;
}

/// Gradients of <moves, gradients> with respect to grads, A and the weights.
variable_list tangent_kernel(const variable_list &moves, const variable_list &grads,
                             const variable_list &a, const Tensor &weights,
                             const NodeIndices &nodes, bool weights_wanted)
{
  const variable_list along_a(moves.begin(), moves.begin() + static_cast<int64_t>(a.size()));
  const Tensor &along_weights = moves.back();
  const variable_list of_grads = empty_like_all(grads), of_a = empty_like_all(a);
  const Tensor of_weights = weights_wanted ? at::zeros_like(weights) : Tensor();
  variable_list found = of_grads;
  found.insert(found.end(), of_a.begin(), of_a.end());
  found.push_back(of_weights);
  if constexpr (HAS_CUDA)
    if (weights.is_cuda()) {
      cuda_product_tangent({a, weights, nodes}, moves, grads, of_grads, of_a, of_weights);
      return found;
    }
  with_type_of(weights, [&](auto zero) {
    using T = decltype(zero);
    ProductProblem<T> call(a, weights, nodes, weights_wanted);
    call.data.a_tangent = call.rows(along_a, dims_of(a));
    call.data.weights_tangent = along_weights.defined() ? along_weights.const_data_ptr<T>()
                                                        : nullptr;
    call.data.grad_results = call.rows(grads, nodes.dims);
    call.data.results = call.rows(of_grads, nodes.dims);
    call.data.grad_a = call.rows(of_a, dims_of(a));
    call.run(product_kernels<T>().tangent, of_weights);
  });
  return found;
}

void save(AutogradContext *context, variable_list tensors, const NodeIndices &nodes)
{
  const Polynomial &polynomial = nodes.polynomial;
  for (const Tensor &tensor :
       {nodes.species, polynomial.offsets, polynomial.terms, polynomial.values})
    tensors.push_back(tensor);
  context->save_for_backward(tensors);
  context->saved_data["dims"] = nodes.dims;
}

/// What `save` saved: takes its tensors off the end.
NodeIndices take_nodes(AutogradContext *context, variable_list &saved)
{
  const size_t n = saved.size() - 4;
  const NodeIndices nodes = {saved[n],
                             {saved[n + 1], saved[n + 2], saved[n + 3]},
                             context->saved_data["dims"].toIntVector()};
  saved.resize(n);
  return nodes;
}

variable_list joined(const variable_list &first, const variable_list &second)
{
  variable_list all = first;
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

struct Backward : public torch::autograd::Function<Backward> {
  static variable_list forward(AutogradContext *context, at::TensorList grads_list,
                               at::TensorList a_list, const Tensor &weights,
                               const NodeIndices &nodes, bool weights_wanted)
  {
    const variable_list grads = grads_list.vec(), a = a_list.vec();
    save(context, joined(joined(grads, a), {weights}), nodes);
    context->set_materialize_grads(false);
    variable_list found = backward_kernel(grads, a, weights, nodes, weights_wanted);
    if (!weights_wanted)
      found.back() = at::empty({0}, weights.options());    // stands for one that nobody wants
    return found;
  }

  static variable_list backward(AutogradContext *context, variable_list moves)
  {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "ictp::product_basis has two derivatives: for more, use plain PyTorch "
                "(ICTPModel.use_operators(False))");
    variable_list saved = context->get_saved_variables();
    const NodeIndices nodes = take_nodes(context, saved);
    const auto first_a = saved.begin() + static_cast<int64_t>(nodes.dims.size());
    const variable_list grads(saved.begin(), first_a), a(first_a, saved.end() - 1);
    variable_list found = tangent_kernel(contiguous(moves), grads, a, saved.back(), nodes,
                                         context->needs_input_grad(saved.size() - 1));
    found.resize(found.size() + 2);
    return found;
  }
};

struct Forward : public torch::autograd::Function<Forward> {
  static variable_list forward(AutogradContext *context, at::TensorList a_list,
                               const Tensor &weights, const NodeIndices &nodes)
  {
    const variable_list a = a_list.vec();
    save(context, joined(a, {weights}), nodes);
    return forward_kernel(a, weights, nodes);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    variable_list saved = context->get_saved_variables();
    const NodeIndices nodes = take_nodes(context, saved);
    const Tensor weights = saved.back();
    saved.pop_back();
    const bool weights_wanted = context->needs_input_grad(saved.size());
    const variable_list ready = contiguous(grads);
    variable_list found = Backward::apply(at::TensorList(ready), at::TensorList(saved), weights,
                                          nodes, weights_wanted);
    if (!weights_wanted)
      found.back() = Tensor();
    found.resize(found.size() + 1);
    return found;
  }
};

void check(at::TensorList a, const Tensor &weights, const Tensor &species,
           const std::vector<int64_t> &dims)
{
  TORCH_CHECK(species.dim() == 1 && std::ranges::all_of(dims,
                                                        [](int64_t dim) {
                                                          return dim > 0 && dim < 1024;
                                                        }),
              "ictp::product_basis: expected species (N) and components of the results, got ",
              species.sizes(), " and ", dims);
  TORCH_CHECK(
      !a.empty() && weights.dim() == 3,
      "ictp::product_basis: expected tensors (N, d, C) and weights (species, rows, C), got ",
      a.size(), " tensors and weights ", weights.sizes());
  for (const Tensor &tensor : a)
    TORCH_CHECK(tensor.dim() == 3 && tensor.size(0) == species.size(0) &&
                    tensor.size(2) == weights.size(2) && tensor.device() == weights.device() &&
                    tensor.scalar_type() == weights.scalar_type(),
                "ictp::product_basis: expected (", species.size(0), ", d, ", weights.size(2),
                ") on the ", weights.is_cpu() ? "CPU" : "GPU", " in the type of the weights, got ",
                tensor.sizes());
  TORCH_CHECK(serves(weights) && species.device() == weights.device(),
              "ictp::product_basis: expected ", HAS_CUDA ? "CPU or CUDA" : "CPU",
              ", all on one device, got weights on ", weights.device(), " and species on ",
              species.device());
  TORCH_CHECK(weights.scalar_type() == at::kFloat || weights.scalar_type() == at::kDouble,
              "ictp::product_basis: expected float32 or float64");
  if (!weights.is_cpu())    // looking at the species would wait for the GPU; the model's embedding
    return;                 // checks them there
  TORCH_CHECK(are_below(species.contiguous(), weights.size(0)),
              "ictp::product_basis: species beyond the ", weights.size(0), " of the weights");
}

variable_list product_basis(at::TensorList a, const Tensor &weights, const Tensor &species,
                            const Tensor &offsets, const Tensor &terms, const Tensor &values,
                            std::vector<int64_t> dims)
{
  check(a, weights, species, dims);
  const NodeIndices nodes{species.contiguous(), {offsets, terms, values}, std::move(dims)};
  const int64_t num_channels = weights.size(2);
  // kernels on a GPU take channels in any number
  const int64_t missing = weights.is_cpu() ? missing_channels(weights, num_channels) : 0;
  const auto padded = [&](const Tensor &tensor) {
    return missing ? at::constant_pad_nd(tensor, {0, missing}) : tensor.contiguous();
  };
  variable_list operands;
  for (const Tensor &tensor : a) operands.push_back(padded(tensor));
  variable_list results = Forward::apply(at::TensorList(operands), padded(weights), nodes);
  if (missing)
    for (Tensor &result : results) result = result.narrow(2, 0, num_channels).contiguous();
  return results;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("product_basis(Tensor[] a, Tensor weights, Tensor species, Tensor offsets, "
              "Tensor terms, Tensor values, int[] dims) -> Tensor[]");
  library.impl("product_basis", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                TORCH_FN(ictp::product_basis)));
}
