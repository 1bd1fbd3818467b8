// SPDX-License-Identifier: MIT
#include "ops/instruction_set.h"
#include "ops/product_kernels.h"
#include "ops/program.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <numeric>

// The product basis on the CPU: a polynomial of A and the path weights, channel by channel. Its
// gradient is the adjoint polynomial; the gradient of that gradient, which training needs, is both
// differentiated along a direction.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <typename T>
const ProductKernels<T> &kernels()
{
#if defined(__x86_64__)
  static const ProductKernelSet &set =
      best_of(product_kernels_baseline, &product_kernels_avx2, &product_kernels_avx512);
#else
  static const ProductKernelSet &set = product_kernels_baseline;
#endif
  if constexpr (std::is_same_v<T, float>)
    return set.single;
  else
    return set.full;
}

/// What does not take part in derivatives.
struct Polynomial {
  Tensor species, offsets, terms, values;
  std::vector<int64_t> dims;    ///< components of each irrep of the result

  int64_t num_results() const { return std::accumulate(dims.begin(), dims.end(), int64_t{0}); }
};

/// The rows of tensors (N, d, C), one irrep after the other; undefined tensors have none.
template <typename T>
std::vector<NodeRow<T>> node_rows(const variable_list &tensors, const std::vector<int64_t> &dims)
{
  std::vector<NodeRow<T>> rows;
  for (size_t k = 0; k < dims.size(); ++k)
    for (int64_t m = 0; m < dims[k]; ++m) {
      if (!tensors[k].defined()) {
        rows.push_back({});
        continue;
      }
      const int64_t num_channels = tensors[k].size(2);
      rows.push_back({const_cast<T *>(tensors[k].template const_data_ptr<T>()) + m * num_channels,
                      dims[k] * num_channels});
    }
  return rows;
}

std::vector<int64_t> dims_of(const variable_list &tensors)
{
  std::vector<int64_t> dims;
  for (const Tensor &tensor : tensors) dims.push_back(tensor.size(1));
  return dims;
}

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

constexpr int64_t GRAIN = 16;    // nodes per task

/// The polynomial with the memory of its tables, for one type of numbers.
template <typename T>
struct Call {
  Program<T> values, adjoint;
  ProductShape<T> shape{};
  ProductData<T> data;
  std::vector<std::vector<NodeRow<T>>> memory;

  Call(const variable_list &a, const Tensor &weights, const Polynomial &polynomial,
       bool weights_wanted)
  {
    shape.num_a = 0;
    for (const Tensor &tensor : a) shape.num_a += tensor.size(1);
    shape.num_weights = weights.size(1);
    shape.num_channels = weights.size(2);
    const int64_t num_leaves = shape.num_a + shape.num_weights;
    const int64_t num_targets = polynomial.offsets.size(0) - 1;
    values = Program<T>(num_leaves, num_targets, polynomial.offsets.const_data_ptr<int64_t>(),
                        polynomial.terms.const_data_ptr<int64_t>(),
                        polynomial.values.const_data_ptr<double>());
    shape.num_rows = num_leaves + num_targets;
    shape.num_results = polynomial.num_results();
    adjoint = values.adjoint(num_leaves, shape.num_rows - shape.num_results, [&](int64_t leaf) {
      return leaf < shape.num_a || weights_wanted;
    });
    shape.values = values.view();
    shape.adjoint = adjoint.view();
    data.num_nodes = a[0].size(0);
    data.species = polynomial.species.const_data_ptr<int64_t>();
    data.a = rows(a, dims_of(a));
    data.weights = weights.const_data_ptr<T>();
  }

  const NodeRow<T> *rows(const variable_list &tensors, const std::vector<int64_t> &dims)
  {
    memory.push_back(node_rows<T>(tensors, dims));
    return memory.back().data();
  }

  /// Threads share the nodes; each sums gradients of the weights of its own, in a fixed order.
  void run(typename ProductKernels<T>::Kernel kernel, const Tensor &grad_weights = Tensor())
  {
    const int64_t num_nodes = data.num_nodes;
    Tensor sums;
    if (grad_weights.defined())
      sums = at::zeros({at::get_num_threads(), grad_weights.numel()}, grad_weights.options());
    at::parallel_for(0, num_nodes, GRAIN, [&](int64_t begin, int64_t end) {
      ProductData<T> part = data;
      if (sums.defined())
        part.grad_weights = sums.template data_ptr<T>() + at::get_thread_num() * sums.size(1);
      kernel(shape, part, begin, end);
    });
    if (sums.defined())
      grad_weights.copy_(sums.sum(0).view(grad_weights.sizes()));
  }
};

/// Calls body with a number of the tensors' type.
template <typename Body>
void with_type_of(const Tensor &tensor, Body body)
{
  tensor.scalar_type() == at::kFloat ? body(0.0F) : body(0.0);
}

variable_list forward_kernel(const variable_list &a, const Tensor &weights,
                             const Polynomial &polynomial)
{
  variable_list results;
  for (const int64_t dim : polynomial.dims)
    results.push_back(at::empty({a[0].size(0), dim, weights.size(2)}, weights.options()));
  with_type_of(weights, [&](auto zero) {
    using T = decltype(zero);
    Call<T> call(a, weights, polynomial, false);
    call.data.results = call.rows(results, polynomial.dims);
    call.run(kernels<T>().forward);
  });
  return results;
}

/// Gradients of A and, if wanted, of the weights.
variable_list backward_kernel(const variable_list &grads, const variable_list &a,
                              const Tensor &weights, const Polynomial &polynomial,
                              bool weights_wanted)
{
  variable_list found = empty_like_all(a);
  const Tensor grad_weights = weights_wanted ? at::empty_like(weights) : Tensor();
  with_type_of(weights, [&](auto zero) {
    using T = decltype(zero);
    Call<T> call(a, weights, polynomial, weights_wanted);
    call.data.grad_results = call.rows(grads, polynomial.dims);
    call.data.grad_a = call.rows(found, dims_of(a));
    call.run(kernels<T>().backward, grad_weights);
  });
  found.push_back(grad_weights);
  return found;
}

/// Gradients of <moves, gradients> with respect to grads, A and the weights.
variable_list tangent_kernel(const variable_list &moves, const variable_list &grads,
                             const variable_list &a, const Tensor &weights,
                             const Polynomial &polynomial, bool weights_wanted)
{
  const variable_list along_a(moves.begin(), moves.begin() + static_cast<int64_t>(a.size()));
  const Tensor &along_weights = moves.back();
  const variable_list of_grads = empty_like_all(grads), of_a = empty_like_all(a);
  const Tensor of_weights = weights_wanted ? at::empty_like(weights) : Tensor();
  with_type_of(weights, [&](auto zero) {
    using T = decltype(zero);
    Call<T> call(a, weights, polynomial, weights_wanted);
    call.data.a_tangent = call.rows(along_a, dims_of(a));
    call.data.weights_tangent = along_weights.defined() ? along_weights.const_data_ptr<T>()
                                                        : nullptr;
    call.data.grad_results = call.rows(grads, polynomial.dims);
    call.data.results = call.rows(of_grads, polynomial.dims);
    call.data.grad_a = call.rows(of_a, dims_of(a));
    call.run(kernels<T>().tangent, of_weights);
  });
  variable_list found = of_grads;
  found.insert(found.end(), of_a.begin(), of_a.end());
  found.push_back(of_weights);
  return found;
}

void save(AutogradContext *context, variable_list tensors, const Polynomial &polynomial)
{
  for (const Tensor &tensor :
       {polynomial.species, polynomial.offsets, polynomial.terms, polynomial.values})
    tensors.push_back(tensor);
  context->save_for_backward(tensors);
  context->saved_data["dims"] = polynomial.dims;
}

/// What `save` saved: takes the polynomial off the end of the tensors.
Polynomial take_polynomial(AutogradContext *context, variable_list &saved)
{
  const size_t n = saved.size() - 4;
  const Polynomial polynomial = {saved[n], saved[n + 1], saved[n + 2], saved[n + 3],
                                 context->saved_data["dims"].toIntVector()};
  saved.resize(n);
  return polynomial;
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
                               const Polynomial &polynomial, bool weights_wanted)
  {
    const variable_list grads = grads_list.vec(), a = a_list.vec();
    save(context, joined(joined(grads, a), {weights}), polynomial);
    context->set_materialize_grads(false);
    variable_list found = backward_kernel(grads, a, weights, polynomial, weights_wanted);
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
    const Polynomial polynomial = take_polynomial(context, saved);
    const auto first_a = saved.begin() + static_cast<int64_t>(polynomial.dims.size());
    const variable_list grads(saved.begin(), first_a), a(first_a, saved.end() - 1);
    variable_list found = tangent_kernel(contiguous(moves), grads, a, saved.back(), polynomial,
                                         context->needs_input_grad(saved.size() - 1));
    found.resize(found.size() + 2);
    return found;
  }
};

struct Forward : public torch::autograd::Function<Forward> {
  static variable_list forward(AutogradContext *context, at::TensorList a_list,
                               const Tensor &weights, const Polynomial &polynomial)
  {
    const variable_list a = a_list.vec();
    save(context, joined(a, {weights}), polynomial);
    return forward_kernel(a, weights, polynomial);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    variable_list saved = context->get_saved_variables();
    const Polynomial polynomial = take_polynomial(context, saved);
    const Tensor weights = saved.back();
    saved.pop_back();
    const bool weights_wanted = context->needs_input_grad(saved.size());
    const variable_list ready = contiguous(grads);
    variable_list found = Backward::apply(at::TensorList(ready), at::TensorList(saved), weights,
                                          polynomial, weights_wanted);
    if (!weights_wanted)
      found.back() = Tensor();
    found.resize(found.size() + 1);
    return found;
  }
};

void check(at::TensorList a, const Tensor &weights, const Tensor &species)
{
  TORCH_CHECK(
      !a.empty() && weights.dim() == 3,
      "ictp::product_basis: expected tensors (N, d, C) and weights (species, rows, C), got ",
      a.size(), " tensors and weights ", weights.sizes());
  for (const Tensor &tensor : a)
    TORCH_CHECK(tensor.dim() == 3 && tensor.size(0) == species.size(0) &&
                    tensor.size(2) == weights.size(2) && tensor.is_cpu() &&
                    tensor.scalar_type() == weights.scalar_type(),
                "ictp::product_basis: expected (", species.size(0), ", d, ", weights.size(2),
                ") on the CPU in the type of the weights, got ", tensor.sizes());
  TORCH_CHECK(weights.scalar_type() == at::kFloat || weights.scalar_type() == at::kDouble,
              "ictp::product_basis: expected float32 or float64");
  TORCH_CHECK(species.numel() == 0 || species.max().item<int64_t>() < weights.size(0),
              "ictp::product_basis: species beyond the ", weights.size(0), " of the weights");
}

variable_list product_basis(at::TensorList a, const Tensor &weights, const Tensor &species,
                            const Tensor &offsets, const Tensor &terms, const Tensor &values,
                            std::vector<int64_t> dims)
{
  check(a, weights, species);
  const Polynomial polynomial{species.contiguous(), offsets, terms, values, std::move(dims)};
  const int64_t num_channels = weights.size(2);
  const int64_t block = 64 / weights.element_size();
  const int64_t missing = (block - num_channels % block) % block;
  const auto padded = [&](const Tensor &tensor) {
    return missing ? at::constant_pad_nd(tensor, {0, missing}) : tensor.contiguous();
  };
  variable_list operands;
  for (const Tensor &tensor : a) operands.push_back(padded(tensor));
  variable_list results = Forward::apply(at::TensorList(operands), padded(weights), polynomial);
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
