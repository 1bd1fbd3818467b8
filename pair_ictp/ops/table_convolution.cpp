// SPDX-License-Identifier: MIT
#include "ops/cuda/devices.h"
#include "ops/cuda/dispatch.h"
#include "ops/edge_problem.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>

// The edge convolution of edge vectors and tabulated radial functions: what an exported model uses.
// Nothing is stored per edge but the gradient of its vector.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t NUM_LEAVES = 4;    // direction and 1

template <typename T>
void set_operands(EdgeProblem<TabulatedEdges<T>> &problem, const Tensor &features,
                  const Tensor &vectors, const Tensor &table, double r_cut)
{
  problem.data.features = features.const_data_ptr<T>();
  problem.data.vectors = vectors.const_data_ptr<double>();
  const int64_t num_intervals = table.size(0) - 1;
  problem.data.table = {table.const_data_ptr<T>(), num_intervals,
                        r_cut / static_cast<double>(num_intervals)};
}

struct TableConvolution : public torch::autograd::Function<TableConvolution> {
  static variable_list forward(AutogradContext *context, const Tensor &features,
                               const Tensor &vectors, const Tensor &table, const EdgeIndices &edges,
                               double r_cut)
  {
    context->save_for_backward({features, vectors, table, edges.neighbors, edges.offsets,
                                edges.paths, edges.polynomial.offsets, edges.polynomial.terms,
                                edges.polynomial.values});
    context->saved_data["r_cut"] = r_cut;
    if constexpr (HAS_CUDA)
      if (features.is_cuda())
        return cuda_table_forward({features, vectors, table, r_cut, edges});
    variable_list results;
    with_type_of(features, [&](auto zero) {
      EdgeProblem<TabulatedEdges<decltype(zero)>> problem(edges, NUM_LEAVES, features.size(1),
                                                          features.size(2));
      set_operands(problem, features, vectors, table, r_cut);
      results = problem.forward(features.options());
    });
    return results;
  }

  static variable_list backward(AutogradContext *context, variable_list grads)
  {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "ictp::table_convolution has one derivative: for more, use the trained model "
                "(a training folder or checkpoint) instead of the exported one");
    const variable_list s = context->get_saved_variables();
    const Tensor &features = s[0], &vectors = s[1], &table = s[2];
    const EdgeIndices edges = {s[3], s[4], s[5], {s[6], s[7], s[8]}};
    const double r_cut = context->saved_data["r_cut"].toDouble();
    for (Tensor &grad : grads) grad = grad.contiguous();
    const Tensor grad_features = context->needs_input_grad(0) ? at::empty_like(features) : Tensor();
    const Tensor grad_vectors = at::empty_like(vectors);
    if constexpr (HAS_CUDA)
      if (features.is_cuda()) {
        if (grad_features.defined())
          grad_features.zero_();
        cuda_table_backward(grads, {features, vectors, table, r_cut, edges}, grad_features,
                            grad_vectors);
        return {grad_features, grad_vectors, Tensor(), Tensor(), Tensor()};
      }
    with_type_of(features, [&](auto zero) {
      using T = decltype(zero);
      EdgeProblem<TabulatedEdges<T>> problem(edges, NUM_LEAVES, features.size(1), features.size(2));
      set_operands(problem, features, vectors, table, r_cut);
      problem.data.grad_vectors = grad_vectors.data_ptr<double>();
      problem.backward(grads, grad_features);
    });
    return {grad_features, grad_vectors, Tensor(), Tensor(), Tensor()};
  }
};

variable_list table_convolution(const Tensor &features, const Tensor &vectors, const Tensor &table,
                                double r_cut, const Tensor &neighbors, const Tensor &offsets,
                                const Tensor &paths, const Tensor &polynomial_offsets,
                                const Tensor &terms, const Tensor &values)
{
  const EdgeIndices edges{
      neighbors.contiguous(), offsets.contiguous(), paths, {polynomial_offsets, terms, values}};
  const int64_t num_edges = neighbors.size(0), num_channels = features.size(2);
  TORCH_CHECK(features.dim() == 3 && vectors.dim() == 2 && table.dim() == 4,
              "ictp::table_convolution: expected features (nodes, D, C), vectors (E, 3) and table "
              "(knots, P, 2, C), got ",
              features.sizes(), ", ", vectors.sizes(), ", ", table.sizes());
  TORCH_CHECK(vectors.scalar_type() == at::kDouble && vectors.size(0) == num_edges &&
                  vectors.size(1) == 3,
              "ictp::table_convolution: expected float64 vectors (", num_edges, ", 3), got ",
              vectors.sizes());
  const bool on_cpu = features.is_cpu();    // kernels on a GPU take channels in any number
  const int64_t missing = on_cpu ? missing_channels(features, num_channels) : 0;
  TORCH_CHECK(features.scalar_type() == table.scalar_type() && table.size(0) > 1 &&
                  table.size(1) == paths.size(0) && table.size(3) >= num_channels + missing &&
                  (!on_cpu || missing_channels(table, table.size(3)) == 0) &&
                  (table.scalar_type() == at::kFloat || table.scalar_type() == at::kDouble),
              "ictp::table_convolution: features ", features.sizes(), " do not fit the table ",
              table.sizes());
  TORCH_CHECK(serves(features), "ictp::table_convolution: expected ",
              HAS_CUDA ? "CPU or CUDA" : "CPU", ", got ", features.device());
  for (const Tensor &tensor : {vectors, table, edges.neighbors, edges.offsets})
    TORCH_CHECK(tensor.device() == features.device(),
                "ictp::table_convolution: expected all operands on ", features.device(), ", got ",
                tensor.device());
  TORCH_CHECK(r_cut > 0.0 && std::isfinite(r_cut),
              "ictp::table_convolution: expected r_cut above 0, got ", r_cut);
  if (on_cpu)    // looking at indices on a GPU would wait for it
    check_indices("ictp::table_convolution", edges, features.size(0));
  const int64_t extra = on_cpu ? table.size(3) - num_channels : 0;
  const Tensor wide = extra ? at::constant_pad_nd(features, {0, extra}) : features.contiguous();
  variable_list results =
      TableConvolution::apply(wide, vectors.contiguous(), table.contiguous(), edges, r_cut);
  if (extra)
    for (Tensor &result : results) result = without_missing(result, num_channels, extra);
  return results;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("table_convolution(Tensor features, Tensor vectors, Tensor table, float r_cut, "
              "Tensor neighbors, Tensor offsets, Tensor paths, Tensor rows, Tensor terms, "
              "Tensor values) -> Tensor[]");
  library.impl("table_convolution", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                    TORCH_FN(ictp::table_convolution)));
}
