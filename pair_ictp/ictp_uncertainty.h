// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_UNCERTAINTY_H
#define ICTP_UNCERTAINTY_H

#include "ictp_graph.h"
#include "ictp_model.h"

#include <cstddef>
#include <vector>

namespace ictp {

/// How far the models of an ensemble are apart on the atoms of one process, and how far these atoms
/// are from the training data.
class Uncertainty {
 public:
  void begin(const Candidates &nodes);

  /// Take what the next model says. Forces on ghosts go home through the halo, which is null when
  /// this process owns every atom; all processes call.
  void add(const Candidates &nodes, const Evaluation &result, Halo *halo);

  /// (num_local) sqrt(mean over models |F - <F>|^2) [eV/A].
  std::vector<double> force_deviations() const;
  /// (num_local), 1: the edge of the training data; zero where no model came with grades.
  const std::vector<double> &grades() const { return grades_; }
  /// Per model, the sum over nodes of this process [eV].
  const std::vector<double> &energies() const { return energies_; }

  size_t memory_bytes() const;

 private:
  /// Adds what other processes say of the local nodes.
  void bring_home(const Candidates &nodes, Halo &halo);

  std::vector<double> forces;     // (num_nodes, 3) of the model that is added [eV/A]
  std::vector<double> rows;       // of them, those that go between processes
  std::vector<double> mean;       // (num_local, 3) [eV/A]
  std::vector<double> squares;    // (num_local) sum over models |F - <F>|^2
  std::vector<double> grades_;
  std::vector<double> energies_;
};

}    // namespace ictp

#endif
