// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_graph.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace ictp {

GraphBuilder::GraphBuilder(std::vector<int> species_of_type, double r_cut,
                           const std::vector<double> &shortest_distances)
    : species_of_type(std::move(species_of_type))
    , r_cut_squared(r_cut * r_cut)
{
  while (num_species * num_species < shortest_distances.size()) ++num_species;
  if (std::ranges::any_of(shortest_distances, [](double distance) {
        return distance > 0.0;
      }))
    for (const double distance : shortest_distances)
      shortest_squared.push_back(distance * distance);
}

void GraphBuilder::rebuild(const AtomView &atoms, const NeighborView &list)
{
  add_local_nodes(atoms);

  std::vector<int> row_of_node(graph_.num_local, -1);
  for (int row = 0; row < list.num_centers; ++row) {
    const int64_t node = node_of_tag.at(atoms.tags[list.centers[row]]);
    if (node >= 0)
      row_of_node[node] = row;
  }

  // in the order of nodes, because a list need not name its centers in ascending order
  candidate_atoms.clear();
  candidate_nodes.clear();
  candidate_offsets.assign(1, 0);
  for (int64_t node = 0; node < graph_.num_local; ++node) {
    const int center = row_of_node[node] < 0 ? 0 : list.centers[row_of_node[node]];
    const int num_neighbors = row_of_node[node] < 0 ? 0 : list.num_neighbors[center];
    for (int k = 0; k < num_neighbors; ++k) {
      const int atom = list.neighbors[center][k] & list.mask;
      const int64_t neighbor = add_node(atom, atoms).first;
      if (neighbor < 0)
        continue;
      candidate_atoms.push_back(atom);
      candidate_nodes.push_back(neighbor);
    }
    candidate_offsets.push_back(static_cast<int64_t>(candidate_atoms.size()));
  }
  graph_.num_nodes = static_cast<int64_t>(graph_.species.size());
}

void GraphBuilder::add_local_nodes(const AtomView &atoms)
{
  node_of_tag.clear();
  graph_.species.clear();
  graph_.node_atoms.clear();
  for (int atom = 0; atom < atoms.num_local; ++atom)
    if (!add_node(atom, atoms).second)
      throw std::runtime_error("two atoms have the ID " + std::to_string(atoms.tags[atom]) +
                               ": atom IDs must be unique, use reset_atoms id");
  graph_.num_local = static_cast<int64_t>(graph_.species.size());
}

std::pair<int64_t, bool> GraphBuilder::add_node(int atom, const AtomView &atoms)
{
  const auto [entry, is_new] = node_of_tag.try_emplace(atoms.tags[atom], -1);
  const int species = is_new ? species_of_type[atoms.types[atom]] : -1;
  if (species >= 0) {
    entry->second = static_cast<int64_t>(graph_.species.size());
    graph_.species.push_back(species);
    graph_.node_atoms.push_back(atom);
  }
  return {entry->second, is_new};
}

const Graph &GraphBuilder::update(const double *positions)
{
  const size_t capacity = candidate_atoms.size();
  if (graph_.centers.size() < capacity) {
    graph_.centers.resize(capacity);
    graph_.neighbors.resize(capacity);
    graph_.edge_vectors.resize(3 * capacity);
  }

  int64_t edge = 0;
  // squared distance over the squared shortest one, which a frame of the training data itself must
  // not be below for the digits of its file
  double worst = (1.0 - 1e-6) * (1.0 - 1e-6);
  closest_ = CloseEdge();
  const bool is_watching = !shortest_squared.empty();
  for (int64_t node = 0; node < graph_.num_local; ++node) {
    const double *shortest =
        is_watching ? shortest_squared.data() + num_species * graph_.species[node] : nullptr;
    const double *center = positions + 3 * static_cast<size_t>(graph_.node_atoms[node]);
    for (int64_t k = candidate_offsets[node]; k < candidate_offsets[node + 1]; ++k) {
      const double *neighbor = positions + 3 * static_cast<size_t>(candidate_atoms[k]);
      const double dx = neighbor[0] - center[0];
      const double dy = neighbor[1] - center[1];
      const double dz = neighbor[2] - center[2];
      const double squared = dx * dx + dy * dy + dz * dz;
      if (squared >= r_cut_squared)
        continue;
      if (is_watching) {
        const double limit = shortest[graph_.species[candidate_nodes[k]]];
        if (squared < worst * limit) {
          worst = squared / limit;
          closest_ = {node, candidate_nodes[k], std::sqrt(squared), std::sqrt(limit)};
        }
      }
      graph_.centers[edge] = node;
      graph_.neighbors[edge] = candidate_nodes[k];
      double *vector = &graph_.edge_vectors[3 * edge];
      vector[0] = dx;
      vector[1] = dy;
      vector[2] = dz;
      ++edge;
    }
  }
  graph_.num_edges = edge;
  return graph_;
}

size_t GraphBuilder::memory_bytes() const
{
  return candidate_atoms.capacity() * sizeof(int) +
         (candidate_nodes.capacity() + candidate_offsets.capacity() + graph_.species.capacity() +
          graph_.centers.capacity() + graph_.neighbors.capacity()) *
             sizeof(int64_t) +
         graph_.edge_vectors.capacity() * sizeof(double) +
         graph_.node_atoms.capacity() * sizeof(int) +
         node_of_tag.size() * (sizeof(std::pair<int64_t, int64_t>) + 2 * sizeof(void *));
}

}    // namespace ictp
