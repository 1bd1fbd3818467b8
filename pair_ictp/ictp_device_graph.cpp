// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_device_graph.h"

#include "ictp_tensors.h"
#include "ops/operator.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>

namespace ictp {

using at::Tensor;
using EdgesWithin = std::tuple<Tensor, Tensor, Tensor, Tensor>(const Tensor &, at::TensorList,
                                                               const Tensor &, double);
static const Operator<EdgesWithin> EDGES_WITHIN("ictp::edges_within");

static constexpr double INFINITE = std::numeric_limits<double>::infinity();

DeviceGraph::DeviceGraph(const std::string &device, double r_cut,
                         const std::vector<double> &shortest_distances)
    : impl(std::make_unique<Impl>())
{
  impl->device = at::Device(device);
  impl->place = EDGES_WITHIN.nearest(impl->device);
  impl->r_cut = r_cut;
  if (std::ranges::any_of(shortest_distances, [](double distance) {
        return distance > 0.0;
      }))
    impl->shortest_distances = shortest_distances;
  const auto num_species =
      static_cast<int64_t>(std::lround(std::sqrt(impl->shortest_distances.size())));
  const c10::DeviceGuard guard(impl->device);
  impl->shortest =
      to_device(impl->shortest_distances, impl->place).view({num_species, num_species});
  rebuild(Candidates());
  update(nullptr, 0);
}

DeviceGraph::~DeviceGraph() = default;

/// What PyTorch throws, as one line.
template <typename Body>
static void on_device(const at::Device &device, int64_t num_atoms, Body body)
{
  const c10::DeviceGuard guard(device);
  try {
    body();
  } catch (const std::exception &error) {
    throw std::runtime_error(is_out_of_memory(error)
                                 ? "not enough memory on " + device.str() +
                                       " for the neighbors of " + std::to_string(num_atoms) +
                                       " atoms and ghosts of this process: take more GPUs"
                                 : reason(error));
  }
}

void DeviceGraph::rebuild(const Candidates &candidates)
{
  on_device(impl->device, candidates.num_nodes, [&] {
    impl->candidates = {
        to_device(candidates.offsets, impl->place), to_device(candidates.atoms, impl->place),
        to_device(candidates.nodes, impl->place), to_device(candidates.node_atoms, impl->place),
        to_device(candidates.species, impl->place)};
    impl->graph.species = impl->candidates.back().to(impl->device);
    impl->graph.num_local = candidates.num_local;
  });
}

/// Positions where edges are found; to a GPU from pinned memory, which is read before the number of
/// edges comes back.
static Tensor upload(const double *positions, int64_t num_atoms, const at::Device &device,
                     Tensor &pinned)
{
  const Tensor view = at::from_blob(const_cast<double *>(positions), {num_atoms, 3}, at::kDouble);
  if (device.is_cpu())
    return view;
  if (!pinned.defined() || pinned.size(0) < num_atoms)
    pinned = at::empty({num_atoms + num_atoms / 8, 3}, at::dtype(at::kDouble).pinned_memory(true));
  return pinned.narrow(0, 0, num_atoms).copy_(view).to(device, /*non_blocking=*/true);
}

void DeviceGraph::update(const double *positions, int num_atoms)
{
  on_device(impl->device, num_atoms, [&] {
    const Tensor x = upload(positions, num_atoms, impl->place, impl->positions);
    const auto [index, vectors, offsets, closest] =
        EDGES_WITHIN.below_autograd(x, impl->candidates, impl->shortest, impl->r_cut);
    // both in one transfer; float64 holds any number of edges
    const Tensor found = to_host(at::cat({closest, offsets.slice(0, -1).to(at::kDouble)}));
    const auto num_edges = static_cast<int64_t>(found.const_data_ptr<double>()[1]);
    impl->closest = std::sqrt(found.const_data_ptr<double>()[0]);
    impl->graph.edge_index = index.narrow(1, 0, num_edges).to(impl->device);
    impl->graph.edge_vectors = vectors.narrow(0, 0, num_edges).to(impl->device);
    impl->graph.offsets = offsets.to(impl->device);
  });
}

void DeviceGraph::assign(int64_t num_local, const std::vector<int64_t> &species,
                         const EdgeList &edges)
{
  const c10::DeviceGuard guard(impl->device);
  const Tensor centers = to_device(edges.centers, impl->device);
  impl->graph = {.species = to_device(species, impl->device),
                 .edge_index = at::stack({centers, to_device(edges.neighbors, impl->device)}),
                 .edge_vectors = to_device(edges.vectors, impl->device).view({-1, 3}),
                 .offsets = at::searchsorted(centers, at::arange(num_local + 1, centers.options())),
                 .num_local = num_local};
}

EdgeList DeviceGraph::edges() const
{
  const Tensor index = to_host(impl->graph.edge_index);
  const Tensor vectors = to_host(impl->graph.edge_vectors);
  const auto *centers = index.const_data_ptr<int64_t>();
  const auto *components = vectors.const_data_ptr<double>();
  const int64_t num_edges = index.size(1);
  return {{centers, centers + num_edges},
          {centers + num_edges, centers + 2 * num_edges},
          {components, components + 3 * num_edges}};
}

CloseEdge DeviceGraph::closest(double ratio) const
{
  CloseEdge found;
  if (impl->shortest_distances.empty() || !(impl->closest < ratio))
    return found;
  const EdgeList list = edges();
  const Tensor species = to_host(impl->graph.species);
  const auto *species_of = species.const_data_ptr<int64_t>();
  const int64_t num_species = impl->shortest.size(0);
  double worst = INFINITE;
  for (size_t k = 0; k < list.centers.size(); ++k) {
    const int64_t center = list.centers[k], neighbor = list.neighbors[k];
    const double *r = &list.vectors[3 * k];
    const double squared = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
    const double shortest =
        impl->shortest_distances[num_species * species_of[center] + species_of[neighbor]];
    if (squared < worst * (shortest * shortest)) {
      worst = squared / (shortest * shortest);
      found = {center, neighbor, std::sqrt(squared), shortest};
    }
  }
  return found;
}

size_t DeviceGraph::memory_bytes() const
{
  size_t bytes = impl->positions.defined() ? impl->positions.nbytes() : 0;
  if (impl->place.is_cpu())
    for (const Tensor &tensor :
         {impl->candidates[0], impl->candidates[1], impl->candidates[2], impl->candidates[3],
          impl->candidates[4], impl->graph.edge_index, impl->graph.edge_vectors})
      bytes += tensor.defined() ? tensor.storage().nbytes() : 0;
  return bytes;
}

}    // namespace ictp
