// SPDX-License-Identifier: GPL-2.0-only
#ifndef LMP_PAIR_ICTP_IMPL_H
#define LMP_PAIR_ICTP_IMPL_H

#include "pair_ictp.h"

#include "ictp_device_graph.h"
#include "ictp_graph.h"
#include "ictp_halo.h"
#include "ictp_model.h"
#include "ictp_processes.h"
#include "ictp_uncertainty.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

/// What PairICTP holds; shared by its source files, unseen by LAMMPS.
struct LAMMPS_NS::PairICTP::Impl {
  Impl(Pair *pair, Comm *&comm)
      : halo(pair, comm)
  {
  }

  std::string device = "auto";
  std::unique_ptr<ictp::Model> model;
  std::unique_ptr<ictp::GraphBuilder> builder;
  std::unique_ptr<ictp::DeviceGraph> graph;
  ictp::LammpsHalo halo;
  ictp::Evaluation result;
  double r_cut = 0.0;
  double energy_unit = 1.0;            // eV in the units of the run
  std::vector<int> species_of_type;    // indexed by type, -1: none
  bool initialized = false;            // LAMMPS has set itself up for this model

  bigint list_builds = -1, list_step = -1;    // the neighbor list that the builder has read
  bool has_failed = false;    // the last step, on any process: the list is read again
  std::vector<int64_t> tags;
  std::vector<int> types;    // fix atom/swap, fix sgcmc or set may change them between two lists
  std::vector<int> model_types;    // the same, 0 for an atom that is excluded from every pair
  std::vector<int> *types_to_send = nullptr;    // while forward communication is of types
  std::vector<double> list_positions;           // (nlocal, 3) when the list was made
  std::array<double, 9> list_box = {};          // and boxlo and h

  enum class Closest { WARN, ERROR, IGNORE };
  Closest closest = Closest::WARN;
  ictp::Lowest lowest;    // distance over the shortest one of the training data, in this run
  /// What this process has to say of a step, empty when all is well: what ends the run, and
  /// warnings that are given once per run.
  enum { FAILURE, CLOSE_ATOMS, OLD_LIST, MASSES, NUM_TEXTS };
  std::array<std::string, NUM_TEXTS> texts;
  std::array<bool, NUM_TEXTS> told = {};

  bool keep_energies = false;      // someone has asked for per-atom energies
  int energy_flag = 0;             // what fix pair sets to ask for them; they are kept anyway
  std::vector<double> energies;    // (nlocal)

  bool drive_first = false;                  // or the mean of an ensemble
  bigint uncertainty_every = 0;              // steps, 0: only when fix pair asks
  bool sampled = false;                      // with this model
  bigint sampled_step = -1;                  // whose order of atoms the samples have
  int deviation_flag = 0, grade_flag = 0;    // set by fix pair for the steps that it wants
  ictp::Uncertainty uncertainty;
  std::vector<double> atom_deviations, atom_grades;    // of the last sampled step
  /// For compute pair: largest and mean force deviation, deviation of the energy per atom, largest
  /// grade, not a number what is not known; zero on all processes but the first, because compute
  /// pair adds up.
  std::array<double, 4> totals = {};

  const ictp::Candidates &nodes() const { return builder->candidates(); }

  /// The model that moves the atoms.
  int driver() const { return drive_first || model->num_models() == 1 ? 0 : ictp::Model::MEAN; }

  std::int64_t num_evaluations = 0, num_lists = 0;    // since the last end of a run
  double graph_seconds = 0.0, scatter_seconds = 0.0, uncertainty_seconds = 0.0;
};

#endif
