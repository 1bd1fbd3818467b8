// SPDX-License-Identifier: MIT
#include "ops/edge_problem.h"
#include "ops/operator.h"
#include "ops/table_operands.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

// The edge convolution of edge vectors and tabulated radial functions: what an exported model uses.
// Nothing is stored per edge but the gradient of its vector.

namespace ictp {
namespace {

using at::IntArrayRef;
using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t NUM_LEAVES = 4;    // direction and 1
constexpr auto NAME = "ictp::table_convolution";

/// One call of the kernels: features in as many channels as the table has.
struct Call {
  TableOperands x;
  int64_t num_channels, missing;

  Call(TensorList operands, double r_cut, TensorList tables)
      : x(operands, r_cut, tables)
      , num_channels(x.features.size(2))
      , missing(x.table.size(4) - num_channels)
  {
    TORCH_CHECK(missing_channels(x.table, x.table.size(4)) == 0, NAME,
                ": expected a table in whole vectors of channels, got ", x.table.sizes());
    check_indices(NAME, x.edges, x.features.size(0));
    TORCH_CHECK(!x.edges.radial_tables.defined() ||
                    are_below(x.edges.radial_tables, x.table.size(0)),
                NAME, ": expected tables of edges below ", x.table.size(0));
    x.features = whole(x.features);
  }

  Tensor whole(const Tensor &tensor) const { return with_missing(tensor, num_channels, missing); }

  Tensor cut(const Tensor &tensor) const { return without_missing(tensor, num_channels, missing); }

  /// Calls body(problem) with the problem of the operands' type.
  template <typename Body>
  void run(Body body) const
  {
    with_type_of(x.features, [&](auto zero) {
      using T = decltype(zero);
      EdgeProblem<TabulatedEdges<T>> problem(x.edges, NUM_LEAVES, x.features.size(1),
                                             x.features.size(2));
      problem.data.features = x.features.const_data_ptr<T>();
      problem.data.vectors = x.vectors.const_data_ptr<double>();
      problem.data.table = x.template radial_table<T>();
      body(problem);
    });
  }
};

variable_list forward_cpu(TensorList x, double r_cut, TensorList tables, IntArrayRef /*dims*/,
                          IntArrayRef /*num_paths*/)
{
  const Call call(x, r_cut, tables);
  variable_list results;
  call.run([&](auto &problem) {
    results = problem.forward(call.x.features.options());
  });
  for (Tensor &result : results) result = call.cut(result);
  return results;
}

std::tuple<Tensor, Tensor> backward_cpu(TensorList grads, TensorList x, double r_cut,
                                        TensorList tables, bool features_wanted)
{
  const Call call(x, r_cut, tables);
  variable_list g;
  for (const Tensor &grad : grads) g.push_back(call.whole(grad));
  const Tensor grad_features = features_wanted ? at::empty_like(call.x.features) : Tensor();
  const Tensor grad_vectors = at::empty_like(call.x.vectors);
  call.run([&](auto &problem) {
    problem.data.grad_vectors = grad_vectors.data_ptr<double>();
    problem.backward(g, grad_features);
  });
  return {features_wanted ? call.cut(grad_features) : at::empty({0}, x[0].options()), grad_vectors};
}

variable_list forward_meta(TensorList x, double /*r_cut*/, TensorList tables, IntArrayRef dims,
                           IntArrayRef num_paths)
{
  return convolution_meta(x, tables, dims, num_paths);
}

std::tuple<Tensor, Tensor> backward_meta(TensorList /*grads*/, TensorList x, double /*r_cut*/,
                                         TensorList /*tables*/, bool features_wanted)
{
  const auto like = [](const Tensor &tensor) {
    return at::empty_like(tensor, at::MemoryFormat::Contiguous);
  };
  return {features_wanted ? like(x[0]) : at::empty({0}, x[0].options()), like(x[1])};
}

const Operator<decltype(forward_cpu)> FORWARD("ictp::table_convolution_forward");
const Operator<decltype(backward_cpu)> BACKWARD("ictp::table_convolution_backward");

struct TableConvolution : public torch::autograd::Function<TableConvolution> {
  static variable_list forward(AutogradContext *context, TensorList x, double r_cut,
                               const variable_list &tables, IntArrayRef dims, IntArrayRef num_paths)
  {
    variable_list saved = x.vec();
    saved.insert(saved.end(), tables.begin(), tables.end());
    context->save_for_backward(saved);
    context->saved_data["r_cut"] = r_cut;
    return FORWARD.below_autograd(x, r_cut, tables, dims, num_paths);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "ictp::table_convolution has one derivative: for more, use the trained model "
                "(a training folder or checkpoint) instead of the exported one");
    const variable_list all = context->get_saved_variables();
    const TensorList saved(all);
    const bool features_wanted = context->needs_input_grad(0);
    const auto [grad_features, grad_vectors] =
        BACKWARD(grads, saved.slice(0, 3), context->saved_data["r_cut"].toDouble(), saved.slice(3),
                 features_wanted);
    variable_list found = {features_wanted ? grad_features : Tensor(), grad_vectors};
    found.resize(3 + 4);
    return found;
  }
};

variable_list forward_autograd(TensorList x, double r_cut, TensorList tables, IntArrayRef dims,
                               IntArrayRef num_paths)
{
  return TableConvolution::apply(x, r_cut, tables.vec(), dims, num_paths);
}

variable_list table_convolution(const Tensor &features, const Tensor &vectors, const Tensor &table,
                                double r_cut, const Tensor &neighbors, const Tensor &offsets,
                                const Tensor &paths, const Tensor &rows, const Tensor &terms,
                                const Tensor &values, IntArrayRef dims, IntArrayRef num_paths,
                                const std::optional<Tensor> &radial_tables)
{
  variable_list tables{neighbors, offsets, paths, rows, terms, values};
  if (radial_tables)
    tables.push_back(*radial_tables);
  return FORWARD(variable_list{features, vectors, table}, r_cut, tables, dims, num_paths);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("table_convolution(Tensor features, Tensor vectors, Tensor table, float r_cut, "
              "Tensor neighbors, Tensor offsets, Tensor paths, Tensor rows, Tensor terms, "
              "Tensor values, int[] dims=[], int[] num_paths=[], Tensor? radial_tables=None) "
              "-> Tensor[]");
  library.def("table_convolution_forward(Tensor[] x, float r_cut, Tensor[] tables, int[] dims, "
              "int[] num_paths) -> Tensor[]");
  library.def("table_convolution_backward(Tensor[] grads, Tensor[] x, float r_cut, "
              "Tensor[] tables, bool features_wanted) -> (Tensor, Tensor)");
  library.impl("table_convolution", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                    TORCH_FN(ictp::table_convolution)));
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("table_convolution_forward", TORCH_FN(ictp::forward_cpu));
  library.impl("table_convolution_backward", TORCH_FN(ictp::backward_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("table_convolution_forward", TORCH_FN(ictp::forward_meta));
  library.impl("table_convolution_backward", TORCH_FN(ictp::backward_meta));
}

TORCH_LIBRARY_IMPL(ictp, Autograd, library)
{
  library.impl("table_convolution_forward", TORCH_FN(ictp::forward_autograd));
}
