// SPDX-License-Identifier: MIT
#include "ops/cuda/edge_tables.h"
#include "ops/cuda/status.h"
#include "ops/given_operands.h"

#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>

// edge_convolution on a GPU: tensors to the pointers that kernels take. Derivatives of any order
// are these two again (edge_convolution.cpp).

namespace ictp {
namespace {

using at::Tensor;
using at::TensorList;

constexpr auto NAME = "ictp::edge_convolution";

/// Operands in one piece.
struct Operands {
  EdgeIndices edges;
  Tensor features, harmonics, radial;

  Operands(TensorList x, TensorList tables)
      : edges(tables)
  {
    check_given(NAME, x, edges);
    check_device(NAME, {x[0], x[1], x[2], edges.neighbors, edges.offsets});
    TORCH_CHECK(edges.neighbors.size(0) <= std::numeric_limits<int32_t>::max(), NAME,
                ": expected fewer than 2^31 edges, got ", edges.neighbors.size(0));
    features = x[0].contiguous();
    harmonics = x[1].contiguous();
    radial = x[2].contiguous();
  }

  /// Calls body(tables, data) with those of the operands' type.
  template <typename Body>
  void run(Body body) const
  {
    const c10::DeviceGuard guard(features.device());
    with_type_of(features, [&](auto zero) {
      using T = decltype(zero);
      const auto tables = edge_tables<T>(NAME, edges, harmonics.size(1) + 1, features);
      DeviceGivenEdges<T> data{};
      fill(data, edges, features, *tables);
      data.harmonics = harmonics.const_data_ptr<T>();
      data.radial = radial.const_data_ptr<T>();
      body(*tables, data);
    });
  }
};

std::vector<Tensor> forward_cuda(TensorList x, TensorList tables, at::IntArrayRef /*dims*/,
                                 at::IntArrayRef /*num_paths*/)
{
  const Operands operands(x, tables);
  std::vector<Tensor> results;
  operands.run([&](const auto &known, auto &data) {
    results = edge_results(data, known, operands.features.options());
    check_started(
        launch_edge_forward(known.shape, data, c10::cuda::getCurrentCUDAStream().stream()),
        "edge_convolution");
  });
  return results;
}

std::vector<Tensor> backward_cuda(TensorList grads, TensorList x, TensorList tables, Wanted wanted)
{
  const Operands operands(x, tables);
  std::vector<Tensor> g, found = given_gradients(x, wanted);
  for (const Tensor &grad : grads) g.push_back(grad.contiguous());
  if (wanted[0])
    found[0].zero_();
  operands.run([&]<typename T>(const EdgeTables<T> &known, DeviceGivenEdges<T> &data) {
    take_grads(data, known, NAME, g);
    data.grad_features = wanted[0] ? found[0].data_ptr<T>() : nullptr;
    data.grad_harmonics = wanted[1] ? found[1].data_ptr<T>() : nullptr;
    data.grad_radial = wanted[2] ? found[2].data_ptr<T>() : nullptr;
    check_started(
        launch_edge_backward(known.shape, data, c10::cuda::getCurrentCUDAStream().stream()),
        "edge_convolution (gradient)");
  });
  return found;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("edge_convolution_forward", TORCH_FN(ictp::forward_cuda));
  library.impl("edge_convolution_backward", TORCH_FN(ictp::backward_cuda));
}
