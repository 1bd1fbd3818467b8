// SPDX-License-Identifier: MIT
#include "ops/edge_problem.h"
#include "ops/operator.h"
#include "ops/table_operands.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

// The edge convolution of edge vectors and tabulated radial functions, and the mixing of channels
// and paths that follows: what an exported model uses. Nothing is stored per edge but the gradient
// of its vector, and on a CPU nothing of what is mixed.

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

  /// (C', P*channels of the table) of each matrix (P*C, C').
  variable_list transposed(TensorList matrices) const
  {
    variable_list found;
    for (const Tensor &matrix : matrices) {
      TORCH_CHECK(matrix.dim() == 2 && matrix.size(0) % num_channels == 0 &&
                      matrix.scalar_type() == x.features.scalar_type() && matrix.is_cpu(),
                  NAME, ": expected matrices (paths*", num_channels, ", channels), got ",
                  matrix.sizes());
      found.push_back(whole(matrix.t()));
    }
    return found;
  }

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

variable_list mixed_cpu(const Call &call, TensorList matrices)
{
  variable_list results, whole;
  for (const Tensor &matrix : call.transposed(matrices))
    whole.push_back(
        with_missing(matrix.t(), matrix.size(0), missing_channels(matrix, matrix.size(0))));
  call.run([&](auto &problem) {
    results = problem.forward_mixed(whole);
  });
  for (size_t z = 0; z < results.size(); ++z)
    results[z] = results[z].narrow(2, 0, matrices[z].size(1)).contiguous();
  return results;
}

variable_list forward_cpu(TensorList x, double r_cut, TensorList tables, IntArrayRef /*dims*/,
                          IntArrayRef /*num_paths*/, TensorList matrices)
{
  const Call call(x, r_cut, tables);
  if (!matrices.empty())
    return mixed_cpu(call, matrices);
  variable_list results;
  call.run([&](auto &problem) {
    results = problem.forward(call.x.features.options());
  });
  for (Tensor &result : results) result = call.cut(result);
  return results;
}

std::tuple<Tensor, Tensor> backward_cpu(TensorList grads, TensorList x, double r_cut,
                                        TensorList tables, bool features_wanted,
                                        TensorList matrices)
{
  const Call call(x, r_cut, tables);
  variable_list g;
  for (const Tensor &grad : grads)
    g.push_back(matrices.empty() ? call.whole(grad) : grad.contiguous());
  const Tensor grad_features = features_wanted ? at::empty_like(call.x.features) : Tensor();
  const Tensor grad_vectors = at::empty_like(call.x.vectors);
  call.run([&](auto &problem) {
    problem.data.grad_vectors = grad_vectors.data_ptr<double>();
    if (matrices.empty())
      problem.backward(g, grad_features);
    else
      problem.backward_mixed(g, call.transposed(matrices), grad_features);
  });
  return {features_wanted ? call.cut(grad_features) : at::empty({0}, x[0].options()), grad_vectors};
}

variable_list forward_meta(TensorList x, double /*r_cut*/, TensorList tables, IntArrayRef dims,
                           IntArrayRef num_paths, TensorList matrices)
{
  variable_list results = convolution_meta(x, tables, dims, num_paths);
  for (size_t z = 0; z < matrices.size(); ++z)
    results.at(z) = at::empty_symint(
        {results[z].sym_size(0), results[z].sym_size(1), matrices[z].sym_size(1)}, x[0].options());
  return results;
}

std::tuple<Tensor, Tensor> backward_meta(TensorList /*grads*/, TensorList x, double /*r_cut*/,
                                         TensorList /*tables*/, bool features_wanted,
                                         TensorList /*matrices*/)
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
                               const variable_list &tables, IntArrayRef dims, IntArrayRef num_paths,
                               const variable_list &matrices)
  {
    variable_list saved = x.vec();
    saved.insert(saved.end(), tables.begin(), tables.end());
    saved.insert(saved.end(), matrices.begin(), matrices.end());
    context->save_for_backward(saved);
    context->saved_data["r_cut"] = r_cut;
    context->saved_data["num_matrices"] = static_cast<int64_t>(matrices.size());
    return FORWARD.below_autograd(x, r_cut, tables, dims, num_paths, matrices);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "ictp::table_convolution has one derivative: for more, use the trained model "
                "(a training folder or checkpoint) instead of the exported one");
    const variable_list all = context->get_saved_variables();
    const TensorList saved(all);
    const bool features_wanted = context->needs_input_grad(0);
    const size_t num_matrices = context->saved_data["num_matrices"].toInt();
    const size_t num_tables = saved.size() - 3 - num_matrices;
    const auto [grad_features, grad_vectors] =
        BACKWARD(grads, saved.slice(0, 3), context->saved_data["r_cut"].toDouble(),
                 saved.slice(3, num_tables), features_wanted, saved.slice(3 + num_tables));
    variable_list found = {features_wanted ? grad_features : Tensor(), grad_vectors};
    found.resize(3 + 5);
    return found;
  }
};

variable_list forward_autograd(TensorList x, double r_cut, TensorList tables, IntArrayRef dims,
                               IntArrayRef num_paths, TensorList matrices)
{
  return TableConvolution::apply(x, r_cut, tables.vec(), dims, num_paths, matrices.vec());
}

variable_list mixed_convolution(const Tensor &features, const Tensor &vectors, const Tensor &table,
                                double r_cut, const Tensor &neighbors, const Tensor &offsets,
                                const Tensor &paths, const Tensor &rows, const Tensor &terms,
                                const Tensor &values, IntArrayRef dims, IntArrayRef num_paths,
                                const std::optional<Tensor> &radial_tables, TensorList matrices)
{
  variable_list tables{neighbors, offsets, paths, rows, terms, values};
  if (radial_tables)
    tables.push_back(*radial_tables);
  return FORWARD(variable_list{features, vectors, table}, r_cut, tables, dims, num_paths, matrices);
}

variable_list table_convolution(const Tensor &features, const Tensor &vectors, const Tensor &table,
                                double r_cut, const Tensor &neighbors, const Tensor &offsets,
                                const Tensor &paths, const Tensor &rows, const Tensor &terms,
                                const Tensor &values, IntArrayRef dims, IntArrayRef num_paths,
                                const std::optional<Tensor> &radial_tables)
{
  return mixed_convolution(features, vectors, table, r_cut, neighbors, offsets, paths, rows, terms,
                           values, dims, num_paths, radial_tables, {});
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("table_convolution(Tensor features, Tensor vectors, Tensor table, float r_cut, "
              "Tensor neighbors, Tensor offsets, Tensor paths, Tensor rows, Tensor terms, "
              "Tensor values, int[] dims=[], int[] num_paths=[], Tensor? radial_tables=None) "
              "-> Tensor[]");
  library.def("table_convolution.mixed(Tensor features, Tensor vectors, Tensor table, float r_cut, "
              "Tensor neighbors, Tensor offsets, Tensor paths, Tensor rows, Tensor terms, "
              "Tensor values, int[] dims, int[] num_paths, Tensor? radial_tables, "
              "Tensor[] matrices) -> Tensor[]");
  library.def("table_convolution_forward(Tensor[] x, float r_cut, Tensor[] tables, int[] dims, "
              "int[] num_paths, Tensor[] matrices) -> Tensor[]");
  library.def("table_convolution_backward(Tensor[] grads, Tensor[] x, float r_cut, "
              "Tensor[] tables, bool features_wanted, Tensor[] matrices) -> (Tensor, Tensor)");
  library.impl("table_convolution", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                    TORCH_FN(ictp::table_convolution)));
  library.impl("table_convolution.mixed",
               torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                               TORCH_FN(ictp::mixed_convolution)));
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
