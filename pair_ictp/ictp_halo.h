// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_HALO_H
#define ICTP_HALO_H

#include "ictp_graph.h"
#include "ictp_model.h"

#include "pair.h"

#include <vector>

namespace ictp {

/// Node features between processes, by LAMMPS' own forward and reverse communication of a pair
/// style, straight from and to rows in memory.
class LammpsHalo : public Halo {
 public:
  /// Doubles per atom in one message. Fixed, because pair_style hybrid sizes LAMMPS' buffers before
  /// the model file is read; wider features travel in several slices. 1 kB: 64 channels of ranks 0
  /// and 1 in float32 are one slice.
  static constexpr int COMM_WIDTH = 128;

  /// comm by reference: the command comm_style exchanges the object.
  LammpsHalo(LAMMPS_NS::Pair *pair, LAMMPS_NS::Comm *&comm)
      : pair(pair)
      , comm(comm)
  {
  }

  /// Which atoms LAMMPS sends: forget them, and learn them from a communication of anything; call
  /// when it makes new lists of them.
  void forget_lists() { is_sent.clear(); }
  void learn_list(int num, const int *atoms);

  /// The nodes and the atoms (owned and ghost) of the evaluations to come; call when either is
  /// rebuilt.
  void attach(const Candidates &nodes, int num_owned, int num_atoms);

  const std::vector<int64_t> &asked_for() const override { return asked_for_; }
  int64_t num_ghosts() const override { return num_ghosts_; }
  void forward(std::byte *rows, size_t row_bytes) override;
  void reverse(std::byte *rows, size_t row_bytes, Scalar type) override;

  // what LAMMPS' four callbacks do; they return the number of doubles
  int pack(int num, const int *atoms, double *buffer);
  void unpack(int num, int first, const double *buffer);
  int pack(int num, int first, double *buffer);
  void add(int num, const int *atoms, const double *buffer);

  size_t memory_bytes() const;

 private:
  void begin(std::byte *rows, size_t row_bytes);
  void begin_slice(size_t offset);
  void end() const;
  /// Where the current slice of an atom's features lies.
  std::byte *slice(int atom);

  LAMMPS_NS::Pair *pair;
  LAMMPS_NS::Comm *&comm;
  std::vector<char> is_sent;          // indexed by atom, as far as any are
  std::vector<int64_t> asked_for_;    // nodes
  int64_t num_ghosts_ = 0;
  std::vector<int64_t> row_of_atom;    // of `rows`, -1 - row of `spare`, or UNLISTED
  size_t num_spare = 0;
  // One slice for each atom that is sent or received and stands for no node: further images of one
  // atom, atoms the model leaves alone. What they hold may be relayed to the next process.
  std::vector<double> spare;

  // the transfer under way
  std::byte *rows = nullptr;
  size_t row_bytes = 0, offset = 0, slice_bytes = 0;
  int width = 0;               // doubles of a slice
  bool is_unlisted = false;    // LAMMPS has sent an atom that it did not send before
  Scalar scalar = Scalar::FLOAT64;
};

}    // namespace ictp

#endif
