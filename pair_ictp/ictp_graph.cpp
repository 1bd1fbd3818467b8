// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_graph.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace ictp {

GraphBuilder::GraphBuilder(std::vector<int> species_of_type)
    : species_of_type(std::move(species_of_type))
{
}

void GraphBuilder::rebuild(const AtomView &atoms, const NeighborView &list)
{
  add_local_nodes(atoms);

  std::vector<int> row_of_node(found.num_local, -1);
  for (int row = 0; row < list.num_centers; ++row) {
    const int node = node_of_tag.at(atoms.tags[list.centers[row]]);
    if (node >= 0)
      row_of_node[node] = row;
  }

  // in the order of nodes, because a list need not name its centers in ascending order
  found.atoms.clear();
  found.nodes.clear();
  found.offsets.assign(1, 0);
  for (int64_t node = 0; node < found.num_local; ++node) {
    const int center = row_of_node[node] < 0 ? 0 : list.centers[row_of_node[node]];
    const int num_neighbors = row_of_node[node] < 0 ? 0 : list.num_neighbors[center];
    for (int k = 0; k < num_neighbors; ++k) {
      const int atom = list.neighbors[center][k] & list.mask;
      const int neighbor = add_node(atom, atoms).first;
      if (neighbor < 0)
        continue;
      found.atoms.push_back(atom);
      found.nodes.push_back(neighbor);
    }
    found.offsets.push_back(static_cast<int64_t>(found.atoms.size()));
  }
  found.num_nodes = static_cast<int64_t>(found.species.size());
}

void GraphBuilder::add_local_nodes(const AtomView &atoms)
{
  node_of_tag.clear();
  found.species.clear();
  found.node_atoms.clear();
  for (int atom = 0; atom < atoms.num_local; ++atom)
    if (!add_node(atom, atoms).second)
      throw std::runtime_error("two atoms have the ID " + std::to_string(atoms.tags[atom]) +
                               ": atom IDs must be unique, use reset_atoms id");
  found.num_local = static_cast<int64_t>(found.species.size());
}

std::pair<int, bool> GraphBuilder::add_node(int atom, const AtomView &atoms)
{
  const auto [entry, is_new] = node_of_tag.try_emplace(atoms.tags[atom], -1);
  const int species = is_new ? species_of_type[atoms.types[atom]] : -1;
  if (species >= 0) {
    entry->second = static_cast<int>(found.species.size());
    found.species.push_back(species);
    found.node_atoms.push_back(atom);
  }
  return {entry->second, is_new};
}

size_t GraphBuilder::memory_bytes() const
{
  return (found.atoms.capacity() + found.nodes.capacity() + found.node_atoms.capacity()) *
             sizeof(int) +
         (found.offsets.capacity() + found.species.capacity()) * sizeof(int64_t) +
         node_of_tag.size() * (sizeof(std::pair<int64_t, int>) + 2 * sizeof(void *));
}

}    // namespace ictp
