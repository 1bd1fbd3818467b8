// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_MODEL_IMPL_H
#define ICTP_MODEL_IMPL_H

#include "ictp_messages.h"
#include "ictp_model.h"
#include "ictp_tensors.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace ictp {

/// What Model holds; shared by its source files, the only ones that see TorchScript.
struct Model::Impl {
  std::string path;
  torch::jit::Module module;
  at::Device device{at::kCPU};
  std::string device_name;
  std::vector<std::string> elements;
  double r_cut = 0.0;
  int num_layers = 0;
  int num_models = 1;
  bool has_grades = false;
  std::string dtype;
  std::vector<double> masses, shortest_distances;
  std::string metadata;                          // the text of metadata.json
  std::vector<std::vector<Message>> messages;    // the exchanges of one evaluation, by member + 1
  ModelTimings timings;
  // of the last evaluation
  int64_t num_nodes = 0;
  at::Tensor node_energies, edge_gradients;    // float64; where edges are summed up, as the next
  at::Tensor edge_vectors, neighbors, offsets;
  at::Tensor forces, totals, grades;    // on the CPU; totals: virial and energy
  at::Tensor fetched_energies, fetched_gradients, fetched_virials;    // what was asked for last

  void load(std::string bytes);
  void read_attributes();
  void check_attributes() const;
  void check_reference() const;
  void self_check();
  void record_messages();
  at::Tensor energies(int member, bool graded, std::vector<c10::IValue> graph);
  void evaluate(const GraphTensors &graph, ExchangeHandler *handler, int member = MEAN,
                bool graded = false);
  int64_t num_atoms_that_fit(const GraphTensors &graph, int member, bool graded);
  template <typename Make>
  const double *fetch(at::Tensor &place, Make make) const;
  GraphTensors reference() const;
};

}    // namespace ictp

#endif
