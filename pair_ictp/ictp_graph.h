// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_GRAPH_H
#define ICTP_GRAPH_H

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ictp {

/// What the model sees of the atoms of one process (the same names as in pyictp/graph/graph.py).
struct Graph {
  int64_t num_local = 0;    ///< nodes owned by this process: the first ones
  int64_t num_nodes = 0;    ///< all nodes; the others are ghosts, owned by other processes
  int64_t num_edges = 0;
  std::vector<int64_t> species;        ///< (num_nodes), 0-based species of the model
  std::vector<int64_t> centers;        ///< (num_edges), local nodes, ascending; larger buffer
  std::vector<int64_t> neighbors;      ///< (num_edges), any node; larger buffer
  std::vector<double> edge_vectors;    ///< (num_edges, 3) r_neighbor - r_center [A]; larger buffer
  std::vector<int> node_atoms;         ///< (num_nodes), the atom a node stands for
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

/// Two nodes that are closer than they should be.
struct CloseEdge {
  int64_t center = -1, neighbor = -1;       ///< nodes; -1 where there is no such edge
  double distance = 0.0, shortest = 0.0;    ///< [A]
};

/// Turns neighbor lists into graphs. A neighbor that is a periodic image or a ghost of an atom
/// owned here is folded onto that atom, so one process has no ghost nodes; ghosts of one foreign
/// atom are one node.
class GraphBuilder {
 public:
  /// species_of_type: indexed by type (entry 0 unused), -1 for types the model leaves alone.
  /// shortest_distances: (S, S) [A]; edges below are noticed, none if it is empty.
  GraphBuilder(std::vector<int> species_of_type, double r_cut,
               const std::vector<double> &shortest_distances = {});

  /// Nodes and candidate edges; call when atoms have moved between processes, lists were rebuilt or
  /// an atom has another type. A ghost of a local atom has that atom's type, whatever it says.
  void rebuild(const AtomView &atoms, const NeighborView &list);

  /// Edges with r < r_cut at these positions (num_local+num_ghost, 3).
  const Graph &update(const double *positions);

  const Graph &graph() const { return graph_; }

  /// Calls body(image, atom) for every neighbor in the list that was folded onto another atom.
  template <typename Body>
  void each_image(Body body) const
  {
    for (size_t k = 0; k < candidate_atoms.size(); ++k)
      if (const int atom = graph_.node_atoms[candidate_nodes[k]]; atom != candidate_atoms[k])
        body(candidate_atoms[k], atom);
  }

  /// The edge of the last update that is farthest below its shortest distance, as part of it.
  const CloseEdge &closest() const { return closest_; }
  size_t memory_bytes() const;

 private:
  void add_local_nodes(const AtomView &atoms);
  /// The node of an atom's ID, -1 for none, and whether the ID was new.
  std::pair<int64_t, bool> add_node(int atom, const AtomView &atoms);

  std::vector<int> species_of_type;
  double r_cut_squared;
  std::vector<double> shortest_squared;    // (S, S); empty: nothing is noticed
  size_t num_species = 0;
  std::unordered_map<int64_t, int64_t> node_of_tag;    // -1: an atom the model leaves alone
  std::vector<int64_t> candidate_offsets;              // (num_local+1)
  std::vector<int> candidate_atoms;    // the image itself: its position gives the vector
  std::vector<int64_t> candidate_nodes;
  Graph graph_;
  CloseEdge closest_;
};

}    // namespace ictp

#endif
