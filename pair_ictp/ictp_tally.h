// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_TALLY_H
#define ICTP_TALLY_H

#include "ictp_graph.h"
#include "ictp_model.h"

#include <string>

namespace ictp {

/// Add what one evaluation gave to LAMMPS' arrays, which are indexed by atom; `unit` is eV in the
/// units of the run. An array that is not asked for is null.

void add_forces(const Graph &graph, const Evaluation &result, double unit, double **forces);

void add_energies(const Graph &graph, const Evaluation &result, double unit, double *total,
                  double *per_atom);

/// W = -r (x) dE/dr, summed over edges: xx yy zz xy xz yz, for cvatom also yx zx zy. Per atom:
/// vatom gives half of an edge to its center and half to its neighbor; cvatom gives all to the
/// neighbor, so that sum_i cvatom_i v_i is the potential part of the heat flux, sum_ij r_ij
/// (dE_j/dr_ji . v_i), exactly for one layer.
void add_virial(const Graph &graph, const Evaluation &result, double unit, double *total,
                double **vatom, double **cvatom);

/// Which atom has an energy or gradients that are not finite, and its nearest neighbor; of several
/// the one with the nearest. Empty when there is none. tags: IDs, indexed by atom.
std::string describe_non_finite(const Graph &graph, const Evaluation &result, const int64_t *tags);

}    // namespace ictp

#endif
