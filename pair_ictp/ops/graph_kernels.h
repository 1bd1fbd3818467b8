// SPDX-License-Identifier: MIT
#ifndef ICTP_GRAPH_KERNELS_H
#define ICTP_GRAPH_KERNELS_H

#include <cstdint>

// The graph of one process where its model computes, and what is summed over its edges: plain
// pointers to the memory of a device, neither PyTorch nor LAMMPS.

namespace ictp {

/// Who may be whose neighbor until the next neighbor list, and where the atoms are now.
struct CandidateEdges {
  const double *positions;      ///< (atoms, 3) [A]
  const int64_t *offsets;       ///< (num_local+1) where the candidates of each center begin
  const int32_t *atoms;         ///< (M) the image itself: its position gives the vector
  const int32_t *nodes;         ///< (M) the node that it stands for
  const int32_t *node_atoms;    ///< (nodes) the atom that a node stands for
  const int64_t *species;       ///< (nodes)
  const double *shortest;       ///< (S, S) [A]; null: nobody asks who is closer
  int64_t num_local, num_species;
  double r_cut;
};

/// The candidates within r_cut, in their order; there is room for all of them.
struct FoundEdges {
  int64_t *offsets;                ///< (num_local+1)
  int64_t *centers, *neighbors;    ///< (M) nodes
  double *vectors;                 ///< (M, 3) r_neighbor - r_center
  double *closest;                 ///< (1) the least square of a distance over its shortest one
};

/// What a model says of a graph. r = x_neighbor - x_center: the center feels +dE/dr, the neighbor
/// -dE/dr.
struct EdgeGradients {
  const double *gradients, *vectors;    ///< (E, 3)
  const int64_t *neighbors;             ///< (E) nodes
  const int64_t *offsets;               ///< (num_local+1)
  int64_t num_local;
};

}    // namespace ictp

#endif
