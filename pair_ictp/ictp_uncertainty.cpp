// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_uncertainty.h"

#include <cmath>

namespace ictp {

void Uncertainty::begin(const Graph &graph)
{
  mean.assign(3 * graph.num_local, 0.0);
  squares.assign(graph.num_local, 0.0);
  grades_.assign(graph.num_local, 0.0);
  energies_.clear();
}

void Uncertainty::add(const Graph &graph, const Evaluation &result, Halo *halo)
{
  forces.assign(3 * graph.num_nodes, 0.0);
  for (int64_t edge = 0; edge < graph.num_edges; ++edge)
    for (int k = 0; k < 3; ++k) {
      const double gradient = result.edge_gradients[3 * edge + k];
      forces[3 * graph.centers[edge] + k] += gradient;
      forces[3 * graph.neighbors[edge] + k] -= gradient;
    }
  if (halo)
    halo->reverse(reinterpret_cast<std::byte *>(forces.data()), 3 * sizeof(double),
                  Halo::Scalar::FLOAT64);

  double energy = 0.0;
  for (int64_t node = 0; node < graph.num_local; ++node) energy += result.node_energies[node];
  energies_.push_back(energy);
  if (result.grades)
    grades_.assign(result.grades, result.grades + graph.num_local);

  // Welford's update: no model's forces need to be kept
  const double weight = 1.0 / static_cast<double>(energies_.size());
  for (int64_t node = 0; node < graph.num_local; ++node)
    for (int64_t k = 3 * node; k < 3 * node + 3; ++k) {
      const double before = forces[k] - mean[k];
      mean[k] += weight * before;
      squares[node] += before * (forces[k] - mean[k]);
    }
}

std::vector<double> Uncertainty::force_deviations() const
{
  std::vector<double> deviations(squares.size());
  for (size_t node = 0; node < squares.size(); ++node)
    deviations[node] = std::sqrt(squares[node] / static_cast<double>(energies_.size()));
  return deviations;
}

size_t Uncertainty::memory_bytes() const
{
  const size_t numbers = forces.capacity() + mean.capacity() + squares.capacity() +
                         grades_.capacity() + energies_.capacity();
  return numbers * sizeof(double);
}

}    // namespace ictp
