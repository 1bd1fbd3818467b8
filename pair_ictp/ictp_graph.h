// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_GRAPH_H
#define ICTP_GRAPH_H

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ictp {

/// What a neighbor list says until the next one: the nodes of one process, and who may be within
/// the cutoff of whom (the same names as in pyictp/graph/graph.py).
struct Candidates {
  int64_t num_local = 0;           ///< nodes owned by this process: the first ones
  int64_t num_nodes = 0;           ///< all nodes; the others are ghosts, owned by other processes
  std::vector<int64_t> species;    ///< (num_nodes), 0-based species of the model
  std::vector<int> node_atoms;     ///< (num_nodes), the atom a node stands for
  std::vector<int64_t> offsets = {0};    ///< (num_local+1) where those of each center begin
  std::vector<int> atoms;    ///< the image itself: its position gives the vector to the neighbor
  std::vector<int> nodes;    ///< the node that it stands for
};

/// The atoms of one process, its own ones first, then ghosts (LAMMPS' order).
struct AtomView {
  int num_local = 0;
  int num_ghost = 0;
  const int *types = nullptr;       ///< 1-based
  const int64_t *tags = nullptr;    ///< unique per atom, shared by its images and ghosts
};

/// A full neighbor list: who may be within the cutoff until the next rebuild.
struct NeighborView {
  int num_centers = 0;
  const int *centers = nullptr;          ///< (num_centers) local atoms
  const int *num_neighbors = nullptr;    ///< indexed by atom
  int *const *neighbors = nullptr;       ///< indexed by atom; entries may carry flag bits
  int mask = -1;                         ///< bits of an entry that are the index of an atom
};

/// Turns neighbor lists into nodes and candidates. A neighbor that is a periodic image or a ghost
/// of an atom owned here is folded onto that atom, so one process has no ghost nodes; ghosts of one
/// foreign atom are one node.
class GraphBuilder {
 public:
  /// species_of_type: indexed by type (entry 0 unused), -1 for types the model leaves alone.
  explicit GraphBuilder(std::vector<int> species_of_type);

  /// Call when atoms have moved between processes, lists were rebuilt or an atom has another type.
  /// A ghost of a local atom has that atom's type, whatever it says.
  void rebuild(const AtomView &atoms, const NeighborView &list);

  const Candidates &candidates() const { return found; }

  /// Calls body(image, atom) for every neighbor in the list that was folded onto another atom.
  template <typename Body>
  void each_image(Body body) const
  {
    for (size_t k = 0; k < found.atoms.size(); ++k)
      if (const int atom = found.node_atoms[found.nodes[k]]; atom != found.atoms[k])
        body(found.atoms[k], atom);
  }

  size_t memory_bytes() const;

 private:
  void add_local_nodes(const AtomView &atoms);
  /// The node of an atom's ID, -1 for none, and whether the ID was new.
  std::pair<int, bool> add_node(int atom, const AtomView &atoms);

  std::vector<int> species_of_type;
  std::unordered_map<int64_t, int> node_of_tag;    // -1: an atom the model leaves alone
  Candidates found;
};

}    // namespace ictp

#endif
