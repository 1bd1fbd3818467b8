// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_tally.h"

#include <cmath>
#include <cstdio>
#include <limits>

namespace ictp {

// r = x_neighbor - x_center: the center feels +dE/dr, the neighbor -dE/dr; what a ghost feels goes
// home with LAMMPS' reverse communication of forces
void add_forces(const Graph &graph, const Evaluation &result, double unit, double **forces)
{
  for (int64_t edge = 0; edge < graph.num_edges; ++edge) {
    const double *gradient = result.edge_gradients + 3 * edge;
    double *f_center = forces[graph.node_atoms[graph.centers[edge]]];
    double *f_neighbor = forces[graph.node_atoms[graph.neighbors[edge]]];
    for (int k = 0; k < 3; ++k) {
      f_center[k] += unit * gradient[k];
      f_neighbor[k] -= unit * gradient[k];
    }
  }
}

void add_energies(const Graph &graph, const Evaluation &result, double unit, double *total,
                  double *per_atom)
{
  for (int64_t node = 0; node < graph.num_local; ++node) {
    const double energy = unit * result.node_energies[node];
    if (total)
      *total += energy;
    if (per_atom)
      per_atom[graph.node_atoms[node]] += energy;
  }
}

void add_virial(const Graph &graph, const Evaluation &result, double unit, double *total,
                double **vatom, double **cvatom)
{
  static constexpr int ROW[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2};
  static constexpr int COLUMN[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
  for (int64_t edge = 0; edge < graph.num_edges; ++edge) {
    const double *r = &graph.edge_vectors[3 * edge];
    const double *gradient = result.edge_gradients + 3 * edge;
    const int center = graph.node_atoms[graph.centers[edge]];
    const int neighbor = graph.node_atoms[graph.neighbors[edge]];
    for (int k = 0; k < 9; ++k) {
      const double w = -unit * r[ROW[k]] * gradient[COLUMN[k]];
      if (k < 6 && total)
        total[k] += w;
      if (k < 6 && vatom) {
        vatom[center][k] += 0.5 * w;
        vatom[neighbor][k] += 0.5 * w;
      }
      if (cvatom)
        cvatom[neighbor][k] += w;
    }
  }
}

static bool all_finite(const double *values, int64_t num)
{
  int bad = 0;    // no early exit, so that the compiler can vectorise
  for (int64_t k = 0; k < num; ++k)
    bad |= !(std::fabs(values[k]) <= std::numeric_limits<double>::max());
  return !bad;
}

std::string describe_non_finite(const Graph &graph, const Evaluation &result, const int64_t *tags)
{
  if (all_finite(result.node_energies, graph.num_local) &&
      all_finite(result.edge_gradients, 3 * graph.num_edges))
    return "";
  std::vector<char> bad(graph.num_local);
  for (int64_t node = 0; node < graph.num_local; ++node)
    bad[node] = !std::isfinite(result.node_energies[node]);
  for (int64_t k = 0; k < 3 * graph.num_edges; ++k)
    if (!std::isfinite(result.edge_gradients[k]))
      bad[graph.centers[k / 3]] = 1;

  int64_t center = -1, neighbor = -1;
  double nearest = std::numeric_limits<double>::infinity();
  for (int64_t node = graph.num_local - 1; node >= 0; --node)
    if (bad[node])
      center = node;
  for (int64_t edge = 0; edge < graph.num_edges; ++edge) {
    const double *r = &graph.edge_vectors[3 * edge];
    const double length = std::hypot(r[0], r[1], r[2]);
    if (bad[graph.centers[edge]] && length < nearest) {
      nearest = length;
      center = graph.centers[edge];
      neighbor = graph.neighbors[edge];
    }
  }
  std::string text = "energy or forces of atom " + std::to_string(tags[graph.node_atoms[center]]) +
                     " are not finite (";
  if (neighbor < 0)
    return text + "it has no neighbor)";
  char distance[32];
  std::snprintf(distance, sizeof(distance), "%.3g", nearest);
  return text + "nearest neighbor: atom " + std::to_string(tags[graph.node_atoms[neighbor]]) +
         " at " + distance + " A)";
}

}    // namespace ictp
