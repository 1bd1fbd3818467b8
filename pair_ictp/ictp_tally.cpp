// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_tally.h"

#include <cmath>
#include <cstdio>
#include <limits>

namespace ictp {

// components of LAMMPS' arrays in a matrix, rows first
static constexpr int PLACE[9] = {0, 4, 8, 1, 2, 5, 3, 6, 7};

void add_forces(const Candidates &nodes, const Evaluation &result, double unit, double **forces)
{
  for (int64_t node = 0; node < nodes.num_nodes; ++node) {
    double *force = forces[nodes.node_atoms[node]];
    for (int k = 0; k < 3; ++k) force[k] += unit * result.forces[3 * node + k];
  }
}

void add_energies(const Candidates &nodes, const double *node_energies, double unit,
                  double *per_atom)
{
  for (int64_t node = 0; node < nodes.num_local; ++node)
    per_atom[nodes.node_atoms[node]] += unit * node_energies[node];
}

void add_virial(const Evaluation &result, double unit, double *total)
{
  for (int k = 0; k < 6; ++k) total[k] += unit * result.virial[PLACE[k]];
}

void add_virials(const Candidates &nodes, const double *node_virials, double unit,
                 int num_components, double **per_atom)
{
  for (int64_t node = 0; node < nodes.num_nodes; ++node) {
    double *virial = per_atom[nodes.node_atoms[node]];
    for (int k = 0; k < num_components; ++k) virial[k] += unit * node_virials[9 * node + PLACE[k]];
  }
}

bool is_finite(const Candidates &nodes, const Evaluation &result)
{
  bool good = std::isfinite(result.energy);    // no early exit: the compiler can vectorise
  for (int64_t k = 0; k < 3 * nodes.num_nodes; ++k)
    good &= std::fabs(result.forces[k]) <= std::numeric_limits<double>::max();
  return good;
}

std::string describe_non_finite(const Candidates &nodes, const EdgeList &edges,
                                const double *node_energies, const double *edge_gradients,
                                const int64_t *tags)
{
  std::vector<char> bad(nodes.num_local);
  int64_t center = -1, neighbor = -1;
  for (int64_t node = 0; node < nodes.num_local; ++node)
    bad[node] = !std::isfinite(node_energies[node]);
  for (size_t k = 0; k < edges.vectors.size(); ++k)
    if (!std::isfinite(edge_gradients[k]))
      bad[edges.centers[k / 3]] = 1;
  for (int64_t node = nodes.num_local - 1; node >= 0; --node)
    if (bad[node])
      center = node;
  if (center < 0)
    return "energies or forces are too large to be added up";

  double nearest = std::numeric_limits<double>::infinity();
  for (size_t edge = 0; edge < edges.centers.size(); ++edge) {
    const double *r = &edges.vectors[3 * edge];
    const double length = std::hypot(r[0], r[1], r[2]);
    if (bad[edges.centers[edge]] && length < nearest) {
      nearest = length;
      center = edges.centers[edge];
      neighbor = edges.neighbors[edge];
    }
  }
  std::string text = "energy or forces of atom " + std::to_string(tags[nodes.node_atoms[center]]) +
                     " are not finite (";
  if (neighbor < 0)
    return text + "it has no neighbor)";
  char distance[32];
  std::snprintf(distance, sizeof(distance), "%.3g", nearest);
  return text + "nearest neighbor: atom " + std::to_string(tags[nodes.node_atoms[neighbor]]) +
         " at " + distance + " A)";
}

}    // namespace ictp
