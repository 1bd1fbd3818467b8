// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_launch.h"
#include "ops/known_match.h"
#include "ops/cuda/status.h"
#include "ops/cuda/table_cache.h"
#include "ops/table_operands.h"

#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

// table_convolution on a GPU: tensors to the pointers that kernels take.

namespace ictp {
namespace {

using at::Tensor;

constexpr int64_t NUM_LEAVES = 4;    // direction and 1

/// Where a new level begins: at the first target that needs a row of the level before it ends.
template <typename T>
std::vector<int32_t> levels_of(const ProgramView<T> &program, int64_t num_rows, bool rows_right)
{
  std::vector<int32_t> levels{0};
  std::vector<bool> pending(num_rows, false);    // rows of the level at hand
  for (int64_t k = 0; k < program.num_targets; ++k) {
    bool needed = false;
    for (int32_t n = program.offsets[k]; n < program.offsets[k + 1]; ++n) {
      const Term<T> &term = program.terms[n];
      needed = needed || pending[term.left] || (rows_right && pending[term.right]);
    }
    if (needed) {
      levels.push_back(static_cast<int32_t>(k));
      pending.assign(num_rows, false);
    }
    pending[program.targets[k]] = true;
  }
  levels.push_back(static_cast<int32_t>(program.num_targets));
  return levels;
}

template <typename T>
class DeviceLevels {
 public:
  /// rows_right: the right factors, too, are rows that the program computes.
  DeviceLevels(const ProgramView<T> &host, int64_t num_rows, bool rows_right,
               const at::Device &device)
      : program(host, device)
  {
    const std::vector<int32_t> found = levels_of(host, num_rows, rows_right);
    num_levels = static_cast<int32_t>(found.size()) - 1;
    levels = upload(found.data(), static_cast<int64_t>(found.size()), device);
  }

  LevelProgram<T> view() const { return {program.view(), pointer<int32_t>(levels), num_levels}; }

 private:
  DeviceProgram<T> program;
  int32_t num_levels;
  Tensor levels;
};

/// All that is the same in every call of one convolution of a model.
template <typename T>
struct EdgeTables {
  std::vector<int64_t> num_paths_to, dims;    ///< per irrep of the result
  Tensor paths;
  std::vector<DeviceLevels<T>> programs;    ///< values, adjoint
  DeviceEdgeShape<T> shape{};

  EdgeTables(const TableOperands &x, const at::Device &device)
  {
    const EdgePaths host(on_cpu(x.edges.paths), x.features.size(1));
    num_paths_to = host.num_paths_to;
    dims = host.dims;
    shape.matrix_size = static_cast<int32_t>(host.matrix_size);
    for (const int64_t dim : dims)
      shape.largest_dim = std::max(shape.largest_dim, static_cast<int32_t>(dim));
    paths = upload(host.paths.data(), static_cast<int64_t>(host.paths.size()), device);
    const Polynomial polynomial = on_cpu(x.edges.polynomial);
    const int64_t num_targets = polynomial.offsets.size(0) - 1, num_rows = NUM_LEAVES + num_targets;
    const auto program = read_program<T>(NUM_LEAVES, host.matrix_size, polynomial);
    const Program<T> adjoint =
        program.adjoint(NUM_LEAVES, num_rows - shape.matrix_size, [](int64_t leaf) {
          return leaf + 1 < NUM_LEAVES;
        });
    programs.emplace_back(program.view(), num_rows, true, device);
    programs.emplace_back(adjoint.view(), num_rows, false, device);
    shape.num_paths = static_cast<int32_t>(host.paths.size());
    shape.num_leaves = NUM_LEAVES;
    shape.num_rows = static_cast<int32_t>(num_rows);
    shape.paths = pointer<EdgePath>(paths);
    shape.known = find_convolution(host, polynomial);
    shape.values = programs[0].view();
    shape.adjoint = programs[1].view();
  }
};

template <typename T>
std::shared_ptr<const EdgeTables<T>> tables_of(const TableOperands &x)
{
  // never destroyed: at the end of a process CUDA may be gone before
  static auto &cache = *new TableCache<EdgeTables<T>>;
  const at::Device device = x.features.device();
  const auto &[offsets, terms, values] = x.edges.polynomial;
  const auto tables = cache.find({x.edges.paths, offsets, terms, values},
                                 {device.index(), x.features.size(1)}, [&] {
                                   return EdgeTables<T>(x, device);
                                 });
  TORCH_CHECK(tables->dims.size() <= MOST_IRREPS, "ictp::table_convolution: expected at most ",
              MOST_IRREPS, " irreps of the result on a GPU, got ", tables->dims.size());
  return tables;
}

template <typename T>
DeviceEdgeData<T> data_of(const TableOperands &x, const EdgeTables<T> &tables)
{
  DeviceEdgeData<T> data{};
  data.neighbors = x.edges.neighbors.const_data_ptr<int64_t>();
  data.offsets = x.edges.offsets.const_data_ptr<int64_t>();
  data.num_centers = x.edges.offsets.size(0) - 1;
  data.num_channels = static_cast<int32_t>(x.features.size(2));
  data.table_channels = static_cast<int32_t>(x.table.size(4));
  data.in_size = static_cast<int32_t>(x.features.size(1));
  data.features = x.features.const_data_ptr<T>();
  data.vectors = x.vectors.const_data_ptr<double>();
  data.table = x.radial_table<T>();
  for (size_t z = 0; z < tables.dims.size(); ++z)
    data.num_paths_to[z] = static_cast<int32_t>(tables.num_paths_to[z]);
  return data;
}

template <typename T>
std::vector<Tensor> forward(const TableOperands &x)
{
  const auto tables = tables_of<T>(x);
  DeviceEdgeData<T> data = data_of(x, *tables);
  std::vector<Tensor> results;
  for (size_t z = 0; z < tables->dims.size(); ++z) {
    results.push_back(
        at::empty({data.num_centers, tables->dims[z], tables->num_paths_to[z] * data.num_channels},
                  x.features.options()));
    data.out[z] = results.back().data_ptr<T>();
  }
  check_started(
      launch_edge_forward(tables->shape, data, c10::cuda::getCurrentCUDAStream().stream()),
      "table_convolution");
  return results;
}

template <typename T>
void backward(const std::vector<Tensor> &grads, const TableOperands &x, const Tensor &grad_features,
              const Tensor &grad_vectors)
{
  const auto tables = tables_of<T>(x);
  DeviceEdgeData<T> data = data_of(x, *tables);
  TORCH_CHECK(grads.size() == tables->dims.size(),
              "ictp::table_convolution: expected a gradient of each result");
  for (size_t z = 0; z < tables->dims.size(); ++z) data.grad_out[z] = grads[z].const_data_ptr<T>();
  data.grad_features = grad_features.defined() ? grad_features.data_ptr<T>() : nullptr;
  data.grad_vectors = grad_vectors.data_ptr<double>();
  check_started(
      launch_edge_backward(tables->shape, data, c10::cuda::getCurrentCUDAStream().stream()),
      "table_convolution (gradient)");
}

std::vector<Tensor> forward_cuda(at::TensorList x, double r_cut, at::TensorList tables,
                                 at::IntArrayRef /*dims*/, at::IntArrayRef /*num_paths*/,
                                 at::TensorList matrices)
{
  const TableOperands operands(x, r_cut, tables);
  const c10::DeviceGuard guard(operands.features.device());
  const bool is_single = operands.features.scalar_type() == at::kFloat;
  std::vector<Tensor> results = is_single ? forward<float>(operands) : forward<double>(operands);
  for (size_t z = 0; z < matrices.size(); ++z) results.at(z) = results.at(z).matmul(matrices[z]);
  return results;
}

std::tuple<Tensor, Tensor> backward_cuda(at::TensorList grads, at::TensorList x, double r_cut,
                                         at::TensorList tables, bool features_wanted,
                                         at::TensorList matrices)
{
  const TableOperands operands(x, r_cut, tables);
  const c10::DeviceGuard guard(operands.features.device());
  std::vector<Tensor> g;
  for (size_t z = 0; z < grads.size(); ++z)
    g.push_back((matrices.empty() ? grads[z] : grads[z].matmul(matrices[z].t())).contiguous());
  const Tensor grad_features = features_wanted ? at::zeros_like(operands.features) : Tensor();
  const Tensor grad_vectors = at::empty_like(operands.vectors);
  if (operands.features.scalar_type() == at::kFloat)
    backward<float>(g, operands, grad_features, grad_vectors);
  else
    backward<double>(g, operands, grad_features, grad_vectors);
  return {features_wanted ? grad_features : at::empty({0}, x[0].options()), grad_vectors};
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("table_convolution_forward", TORCH_FN(ictp::forward_cuda));
  library.impl("table_convolution_backward", TORCH_FN(ictp::backward_cuda));
}
