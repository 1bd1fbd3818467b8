// SPDX-License-Identifier: MIT
#include "ops/cuda/graph_launch.h"
#include "ops/cuda/status.h"
#include "ops/graph_operands.h"

#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>

// The graph on a GPU: tensors to the pointers that kernels take.

namespace ictp {
namespace {

using at::Tensor;

cudaStream_t stream()
{
  return c10::cuda::getCurrentCUDAStream().stream();
}

EdgeTensors edges_cuda(const Tensor &positions, at::TensorList candidates, const Tensor &shortest,
                       double r_cut)
{
  const CandidateOperands x(positions, candidates, shortest, r_cut);
  const c10::DeviceGuard guard(positions.device());
  EdgeTensors found = empty_edges(x);
  auto &[index, vectors, offsets, closest] = found;
  offsets.zero_();
  closest.fill_(std::numeric_limits<double>::infinity());
  check_started(launch_count_edges(x.pointers(), pointers(found), stream()), "edges_within");
  offsets = at::cumsum(offsets, 0);
  check_started(launch_write_edges(x.pointers(), pointers(found), stream()), "edges_within");
  return found;
}

std::tuple<Tensor, Tensor> sums_cuda(const Tensor &gradients, const Tensor &vectors,
                                     const Tensor &neighbors, const Tensor &offsets,
                                     int64_t num_nodes)
{
  const GradientOperands x("ictp::edge_sums", gradients, vectors, neighbors, offsets);
  const c10::DeviceGuard guard(gradients.device());
  Tensor forces = at::zeros({num_nodes, 3}, gradients.options());
  Tensor virial = at::zeros({3, 3}, gradients.options());
  check_started(launch_edge_sums(x.pointers(), forces.data_ptr<double>(), virial.data_ptr<double>(),
                                 stream()),
                "edge_sums");
  return {forces, virial};
}

Tensor virials_cuda(const Tensor &gradients, const Tensor &vectors, const Tensor &neighbors,
                    const Tensor &offsets, int64_t num_nodes, double center_share)
{
  const GradientOperands x("ictp::edge_virials", gradients, vectors, neighbors, offsets);
  const c10::DeviceGuard guard(gradients.device());
  Tensor virials = at::zeros({num_nodes, 9}, gradients.options());
  check_started(
      launch_edge_virials(x.pointers(), center_share, virials.data_ptr<double>(), stream()),
      "edge_virials");
  return virials;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("edges_within", TORCH_FN(ictp::edges_cuda));
  library.impl("edge_sums", TORCH_FN(ictp::sums_cuda));
  library.impl("edge_virials", TORCH_FN(ictp::virials_cuda));
}
