// SPDX-License-Identifier: MIT
#include "ops/known_match.h"
#include "ops/cuda/product_launch.h"
#include "ops/cuda/status.h"
#include "ops/cuda/table_cache.h"
#include "ops/product_operands.h"

#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <numeric>

// product_basis on a GPU: tensors to the pointers that kernels take.

namespace ictp {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

int64_t num_a_of(const ProductOperands &x)
{
  int64_t num_a = 0;
  for (const Tensor &tensor : x.a) num_a += tensor.size(1);
  return num_a;
}

/// The polynomial of one product basis.
template <typename T>
struct ProductTables {
  std::vector<DeviceProgram<T>> programs;    ///< values, adjoint
  DeviceProductShape<T> shape{};

  ProductTables(const ProductOperands &x, bool weights_wanted, const at::Device &device)
  {
    shape.num_a = static_cast<int32_t>(num_a_of(x));
    shape.num_weights = static_cast<int32_t>(x.weights.size(1));
    shape.num_results = std::accumulate(x.nodes.dims.begin(), x.nodes.dims.end(), int32_t{0});
    const Polynomial polynomial = on_cpu(x.nodes.polynomial);
    const int64_t num_leaves = shape.num_a + shape.num_weights;
    const int64_t num_targets = polynomial.offsets.size(0) - 1;
    shape.num_rows = static_cast<int32_t>(num_leaves + num_targets);
    const auto program = read_program<T>(num_leaves, shape.num_results, polynomial);
    const Program<T> adjoint =
        program.adjoint(num_leaves, shape.num_rows - shape.num_results, [&](int64_t leaf) {
          return leaf < shape.num_a || weights_wanted;
        });
    shape.known = find_product(dims_of(x.a), shape.num_weights, x.nodes.dims, polynomial);
    programs.emplace_back(program.view(), device);
    programs.emplace_back(adjoint.view(), device);
    shape.values = programs[0].view();
    shape.adjoint = programs[1].view();
  }
};

template <typename T>
std::shared_ptr<const ProductTables<T>> tables_of(const ProductOperands &x, bool weights_wanted)
{
  // never destroyed: at the end of a process CUDA may be gone before
  static auto &cache = *new TableCache<ProductTables<T>>;
  const at::Device device = x.weights.device();
  const auto &[offsets, terms, values] = x.nodes.polynomial;
  return cache.find({offsets, terms, values},
                    {device.index(), weights_wanted, x.weights.size(1), num_a_of(x)}, [&] {
                      return ProductTables<T>(x, weights_wanted, device);
                    });
}

/// Pointers to tensors (N, d, C), null for undefined ones.
template <typename T>
NodeTensors<T> pointers(const Tensors &tensors, const std::vector<int64_t> &dims)
{
  TORCH_CHECK(dims.size() <= MOST_TENSORS, "ictp::product_basis: expected at most ", MOST_TENSORS,
              " irreps on a GPU, got ", dims.size());
  NodeTensors<T> found{};
  found.count = static_cast<int32_t>(dims.size());
  for (size_t k = 0; k < dims.size(); ++k) {
    found.dim[k] = static_cast<int32_t>(dims[k]);
    if (tensors[k].defined())
      found.data[k] = static_cast<T *>(const_cast<void *>(tensors[k].const_data_ptr()));
  }
  return found;
}

template <typename T>
struct Call {
  std::shared_ptr<const ProductTables<T>> tables;
  std::vector<int64_t> dims_a;
  DeviceProductData<T> data{};

  Call(const ProductOperands &x, const Tensor &grad_weights)
      : tables(tables_of<T>(x, grad_weights.defined()))
  {
    dims_a = dims_of(x.a);
    data.num_nodes = x.nodes.species.size(0);
    data.num_channels = x.weights.size(2);
    data.species = x.nodes.species.const_data_ptr<int64_t>();
    data.a = pointers<const T>(x.a, dims_a);
    data.weights = x.weights.const_data_ptr<T>();
    data.grad_weights = grad_weights.defined() ? grad_weights.data_ptr<T>() : nullptr;
  }

  void run(ProductKernel kernel, const at::TensorOptions &options) const
  {
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
    const DeviceProductShape<T> &shape = tables->shape;
    if (has_known_kernel(kernel, shape, data)) {
      check_started(launch_known_product(kernel, shape.known, data, stream), "product_basis");
      return;
    }
    const ProductPlan plan = plan_product(kernel, shape, data);
    const Tensor scratch = plan.scratch > 0 ? at::empty({plan.scratch}, options) : Tensor();
    check_started(launch_product(kernel, plan, shape, data,
                                 scratch.defined() ? scratch.data_ptr<T>() : nullptr, stream),
                  "product_basis");
  }
};

template <typename Body>
void with_type_of(const Tensor &tensor, Body body)
{
  const c10::DeviceGuard guard(tensor.device());
  tensor.scalar_type() == at::kFloat ? body(0.0F) : body(0.0);
}

Tensors forward_cuda(at::TensorList a, const Tensor &weights, at::TensorList tables,
                     at::IntArrayRef dims)
{
  const ProductOperands x(a, weights, tables, dims);
  const Tensors results = product_results(x.a, x.weights, dims);
  with_type_of(x.weights, [&](auto zero) {
    using T = decltype(zero);
    Call<T> call(x, Tensor());
    call.data.results = pointers<T>(results, x.nodes.dims);
    call.run(ProductKernel::FORWARD, x.weights.options());
  });
  return results;
}

Tensors backward_cuda(at::TensorList grads, at::TensorList a, const Tensor &weights,
                      at::TensorList tables, bool weights_wanted)
{
  const ProductOperands x(a, weights, tables, dims_of(grads));
  const Tensors g = x.grads(grads), found = product_gradients(x.a, x.weights, weights_wanted);
  with_type_of(x.weights, [&](auto zero) {
    using T = decltype(zero);
    Call<T> call(x, gradient_of_weights(found));
    call.data.grad_results = pointers<const T>(g, x.nodes.dims);
    call.data.grad_a = pointers<T>(found, call.dims_a);
    call.run(ProductKernel::BACKWARD, x.weights.options());
  });
  return found;
}

Tensors tangent_cuda(at::TensorList moves, at::TensorList grads, at::TensorList a,
                     const Tensor &weights, at::TensorList tables, bool weights_wanted)
{
  const ProductOperands x(a, weights, tables, dims_of(grads));
  const Tensors along = x.moves(moves), g = x.grads(grads);
  Tensors found = product_results(x.a, x.weights, x.nodes.dims);
  const Tensors of_a = product_gradients(x.a, x.weights, weights_wanted);
  with_type_of(x.weights, [&](auto zero) {
    using T = decltype(zero);
    Call<T> call(x, gradient_of_weights(of_a));
    call.data.a_tangent = pointers<const T>(along, call.dims_a);
    if (along.back().defined())
      call.data.weights_tangent = along.back().const_data_ptr<T>();
    call.data.grad_results = pointers<const T>(g, x.nodes.dims);
    call.data.results = pointers<T>(found, x.nodes.dims);
    call.data.grad_a = pointers<T>(of_a, call.dims_a);
    call.run(ProductKernel::TANGENT, x.weights.options());
  });
  found.insert(found.end(), of_a.begin(), of_a.end());
  return found;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("product_basis_forward", TORCH_FN(ictp::forward_cuda));
  library.impl("product_basis_backward", TORCH_FN(ictp::backward_cuda));
  library.impl("product_basis_tangent", TORCH_FN(ictp::tangent_cuda));
}
