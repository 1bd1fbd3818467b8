// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_HALO_H
#define ICTP_HALO_H

#include "ictp_graph.h"
#include "ictp_model.h"

#include "pair.h"

#include <vector>

namespace ictp {

/// Node features between processes, by LAMMPS' own forward and reverse communication of a pair
/// style.
class LammpsHalo : public Halo {
 public:
  /// Doubles per atom in one message. Fixed, because pair_style hybrid sizes LAMMPS' buffers before
  /// the model file is read; wider features travel in several slices.
  static constexpr int COMM_WIDTH = 64;

  /// comm by reference: the command comm_style exchanges the object.
  LammpsHalo(LAMMPS_NS::Pair *pair, LAMMPS_NS::Comm *&comm)
      : pair(pair)
      , comm(comm)
  {
  }

  /// The graph and the atoms (owned and ghost) of the evaluation to come.
  void attach(const Graph &current, int num_atoms);

  void forward(std::byte *rows, size_t row_bytes) override;
  void reverse(std::byte *rows, size_t row_bytes, Scalar type) override;

  // what LAMMPS' four callbacks do; they return the number of doubles
  int pack(int num, const int *atoms, double *buffer) const;
  void unpack(int num, int first, const double *buffer);
  int pack(int num, int first, double *buffer) const;
  void add(int num, const int *atoms, const double *buffer);

  size_t memory_bytes() const { return slots.capacity() * sizeof(double); }

 private:
  size_t begin_slice(size_t offset, size_t row_bytes);
  double *slot(int atom) { return slots.data() + static_cast<size_t>(atom) * width; }
  const double *slot(int atom) const { return slots.data() + static_cast<size_t>(atom) * width; }

  LAMMPS_NS::Pair *pair;
  LAMMPS_NS::Comm *&comm;
  const Graph *graph = nullptr;
  int num_atoms = 0;
  Scalar scalar = Scalar::FLOAT64;
  int width = 0;    // doubles of a row in the current slice
  // One slice of features, a row for each of LAMMPS' atoms, owned or ghost, node or not: a ghost
  // may be relayed to the next process.
  std::vector<double> slots;
};

}    // namespace ictp

#endif
