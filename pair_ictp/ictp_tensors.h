// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_TENSORS_H
#define ICTP_TENSORS_H

#include "ictp_device_graph.h"

#include <ATen/ATen.h>

#include <exception>
#include <string>
#include <vector>

namespace ictp {

/// A tensor in the memory of this process, in one piece; from a GPU through pinned memory.
inline at::Tensor to_host(const at::Tensor &tensor)
{
  if (tensor.is_cpu())
    return tensor.contiguous();
  return at::empty(tensor.sizes(), at::dtype(tensor.scalar_type()).pinned_memory(true))
      .copy_(tensor);
}

/// A tensor on a device that does not see what happens to `values` later.
template <typename T>
at::Tensor to_device(const std::vector<T> &values, const at::Device &device)
{
  const auto type = at::dtype(c10::CppTypeToScalarType<T>::value);
  const auto size = static_cast<int64_t>(values.size());
  return at::from_blob(const_cast<T *>(values.data()), {size}, type).to(device, false, true);
}

/// The line of an exception's text that says why.
std::string reason(const std::exception &error);

/// Whether memory was missing. By the text: TorchScript's interpreter does not keep types.
bool is_out_of_memory(const std::exception &error);

/// What a model is called with, on its device.
struct GraphTensors {
  at::Tensor species, edge_index, edge_vectors;
  at::Tensor offsets;    ///< (num_local+1) where the edges of each center begin
  int64_t num_local = 0;
};

struct DeviceGraph::Impl {
  at::Device device{at::kCPU};    // the model's
  at::Device place{at::kCPU};     // where edges are found: there, if there are kernels for it
  double r_cut = 0.0;
  std::vector<double> shortest_distances;    // (S, S) or empty
  at::Tensor shortest;                       // the same there
  std::vector<at::Tensor> candidates;        // offsets, atoms, nodes, node_atoms, species
  at::Tensor positions;                      // pinned, if there is a GPU; it only grows
  double closest = 0.0;                      // the least distance over its shortest one
  GraphTensors graph;
};

}    // namespace ictp

#endif
