// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_tables.h"
#include "ops/cuda/status.h"
#include "ops/table_operands.h"

#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

// table_convolution on a GPU: tensors to the pointers that kernels take.

namespace ictp {
namespace {

using at::Tensor;

constexpr auto NAME = "ictp::table_convolution";
constexpr int64_t NUM_LEAVES = 4;    // direction and 1

template <typename T>
DeviceTabulatedEdges<T> data_of(const TableOperands &x, const EdgeTables<T> &tables)
{
  DeviceTabulatedEdges<T> data{};
  fill(data, x.edges, x.features, tables);
  data.table_channels = static_cast<int32_t>(x.table.size(4));
  data.vectors = x.vectors.const_data_ptr<double>();
  data.table = x.radial_table<T>();
  return data;
}

template <typename T>
std::vector<Tensor> forward(const TableOperands &x)
{
  const auto tables = edge_tables<T>(NAME, x.edges, NUM_LEAVES, x.features);
  DeviceTabulatedEdges<T> data = data_of(x, *tables);
  const std::vector<Tensor> results = edge_results(data, *tables, x.features.options());
  check_started(
      launch_edge_forward(tables->shape, data, c10::cuda::getCurrentCUDAStream().stream()),
      "table_convolution");
  return results;
}

template <typename T>
void backward(const std::vector<Tensor> &grads, const TableOperands &x, const Tensor &grad_features,
              const Tensor &grad_vectors)
{
  const auto tables = edge_tables<T>(NAME, x.edges, NUM_LEAVES, x.features);
  DeviceTabulatedEdges<T> data = data_of(x, *tables);
  take_grads(data, *tables, NAME, grads);
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
