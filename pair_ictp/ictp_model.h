// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_MODEL_H
#define ICTP_MODEL_H

#include "ictp_device_graph.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace ictp {

/// Carries node features between processes. Rows lie one after the other: first those of the local
/// nodes that other processes ask for, then those of all ghost nodes.
class Halo {
 public:
  enum class Scalar { FLOAT32, FLOAT64 };
  virtual ~Halo() = default;
  /// Local nodes that other processes ask for, ascending.
  virtual const std::vector<int64_t> &asked_for() const = 0;
  virtual int64_t num_ghosts() const = 0;
  /// Fill the rows of ghost nodes with those of the processes that own them.
  virtual void forward(std::byte *rows, size_t row_bytes) = 0;
  /// Add the rows that other processes hold for a local node to that node's row.
  virtual void reverse(std::byte *rows, size_t row_bytes, Scalar scalar) = 0;
};

/// An evaluation failed and the exchanges that other processes wait for cannot be made any more.
class LostProcess : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One result; the arrays are the model's own and live until its next evaluation. What not every
/// step needs is fetched by methods of Model.
struct Evaluation {
  double energy = 0.0;                  ///< sum over local nodes [eV]
  std::array<double, 9> virial = {};    ///< -r (x) dE/dr, rows first [eV]
  const double *forces = nullptr;       ///< (num_nodes, 3), of ghosts what is due to them [eV/A]
  const double *grades = nullptr;       ///< (num_local) extrapolation grades, if asked for
};

/// Seconds spent since the counters were last set to zero.
struct ModelTimings {
  double forward = 0.0;     ///< without communication
  double backward = 0.0;    ///< without communication
  double exchange = 0.0;    ///< features and their gradients between processes
};

/// The bytes of a model file; throws std::runtime_error, whose text names it.
std::string read_model_file(const std::string &path);

/// An exported model (schema in export/FORMAT.md). Everything it throws is a std::runtime_error
/// whose text names the file. All TorchScript is behind this class.
class Model {
 public:
  static constexpr int SCHEMA_VERSION = 2;
  static constexpr int MEAN = -1;    ///< not one model of an ensemble but the mean of them

  /// device: "auto" (CUDA where there is one), "cpu" or "cuda"; local_process picks the GPU among
  /// those of this machine; bytes: of the file, which the path only names. Ends with the self-check
  /// on the reference structure.
  Model(const std::string &path, std::string bytes, const std::string &device,
        int local_process = 0);
  ~Model();

  const std::vector<std::string> &elements() const;
  double r_cut() const;
  int num_layers() const;
  /// More than one: an ensemble.
  int num_models() const;
  /// Whether the file knows how far an atom is from the training data of its first model.
  bool has_grades() const;
  /// Standard atomic masses of the elements [u].
  const std::vector<double> &masses() const;
  /// (S, S) the shortest distance [A] of each pair of elements in the training data, r_cut for a
  /// pair that never came within; 0: not known.
  const std::vector<double> &shortest_distances() const;
  const std::string &dtype() const;
  /// "cpu" or "cuda:1".
  const std::string &device() const;

  /// halo: null when this process owns every atom. When it throws, all exchanges have been made
  /// nevertheless, and no other process waits; unless it throws LostProcess. If memory is missing
  /// it tries how many atoms fit, and says so. graded: with the grades, which are model 0's; where
  /// there are none this changes nothing.
  Evaluation evaluate(const DeviceGraph &graph, Halo *halo = nullptr, int member = MEAN,
                      bool graded = false);

  // Of the last evaluation; the arrays live until the next call of the same method.
  const double *node_energies();     ///< (num_local) [eV]
  const double *edge_gradients();    ///< (num_edges, 3) dE/d(edge_vectors) [eV/A]
  /// (num_nodes, 9) as `virial`: `center_share` of an edge's to its center, the rest to its
  /// neighbor.
  const double *node_virials(double center_share);

  /// Take part in the exchanges of an evaluation that fails before it begins here; the halo is
  /// attached to a graph without nodes.
  void sit_out(Halo *halo, int member = MEAN);

  ModelTimings &timings();

  /// GPUs that this process sees.
  static int num_gpus();

  /// CPU threads of one evaluation; process-wide.
  static void set_num_threads(int num_threads);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

}    // namespace ictp

#endif
