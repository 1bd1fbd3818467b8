// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_uncertainty.h"

#include <cmath>

namespace ictp {

void Uncertainty::begin(const Candidates &nodes)
{
  mean.assign(3 * nodes.num_local, 0.0);
  squares.assign(nodes.num_local, 0.0);
  grades_.assign(nodes.num_local, 0.0);
  energies_.clear();
}

void Uncertainty::add(const Candidates &nodes, const Evaluation &result, Halo *halo)
{
  forces.assign(result.forces, result.forces + 3 * nodes.num_nodes);
  if (halo)
    bring_home(nodes, *halo);
  energies_.push_back(result.energy);
  if (result.grades)
    grades_.assign(result.grades, result.grades + nodes.num_local);

  // Welford's update: no model's forces need to be kept
  const double weight = 1.0 / static_cast<double>(energies_.size());
  for (int64_t node = 0; node < nodes.num_local; ++node)
    for (int64_t k = 3 * node; k < 3 * node + 3; ++k) {
      const double before = forces[k] - mean[k];
      mean[k] += weight * before;
      squares[node] += before * (forces[k] - mean[k]);
    }
}

void Uncertainty::bring_home(const Candidates &nodes, Halo &halo)
{
  const std::vector<int64_t> &asked_for = halo.asked_for();
  rows.assign(3 * asked_for.size(), 0.0);
  rows.insert(rows.end(), forces.begin() + 3 * nodes.num_local, forces.end());
  halo.reverse(reinterpret_cast<std::byte *>(rows.data()), 3 * sizeof(double),
               Halo::Scalar::FLOAT64);
  for (size_t k = 0; k < 3 * asked_for.size(); ++k) forces[3 * asked_for[k / 3] + k % 3] += rows[k];
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
  const size_t numbers = forces.capacity() + rows.capacity() + mean.capacity() +
                         squares.capacity() + grades_.capacity() + energies_.capacity();
  return numbers * sizeof(double);
}

}    // namespace ictp
