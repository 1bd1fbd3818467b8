// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_TALLY_H
#define ICTP_TALLY_H

#include "ictp_device_graph.h"
#include "ictp_model.h"

#include <string>

namespace ictp {

/// Add what one evaluation gave to LAMMPS' arrays, which are indexed by atom; `unit` is eV in the
/// units of the run.

/// What a ghost feels goes home with LAMMPS' reverse communication of forces.
void add_forces(const Candidates &nodes, const Evaluation &result, double unit, double **forces);

/// node_energies: (num_local).
void add_energies(const Candidates &nodes, const double *node_energies, double unit,
                  double *per_atom);

/// The sum over edges of W = -r (x) dE/dr: xx yy zz xy xz yz.
void add_virial(const Evaluation &result, double unit, double *total);

/// The same per atom, of which the first six or all nine: xx yy zz xy xz yz yx zx zy. vatom wants
/// half of an edge's for its center and half for its neighbor; cvatom all for the neighbor, so that
/// sum_i cvatom_i v_i is the potential part of the heat flux, sum_ij r_ij (dE_j/dr_ji . v_i),
/// exactly for one layer.
void add_virials(const Candidates &nodes, const double *node_virials, double unit,
                 int num_components, double **per_atom);

/// Whether the sums are: a number that is not finite makes each sum so that it is part of.
bool is_finite(const Candidates &nodes, const Evaluation &result);

/// Which atom has an energy or gradients that are not finite, and its nearest neighbor; of several
/// the one with the nearest. tags: IDs, indexed by atom.
std::string describe_non_finite(const Candidates &nodes, const EdgeList &edges,
                                const double *node_energies, const double *edge_gradients,
                                const int64_t *tags);

}    // namespace ictp

#endif
