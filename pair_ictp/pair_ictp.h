// SPDX-License-Identifier: GPL-2.0-only
#ifndef LMP_PAIR_ICTP_H
#define LMP_PAIR_ICTP_H

#include "pair.h"

#include <memory>
#include <string>
#include <vector>

namespace LAMMPS_NS {

/// pair_style ictp: an exported ICTP model, message passing over any number of processes.
class PairICTP : public Pair {
 public:
  explicit PairICTP(class LAMMPS *);
  ~PairICTP() override;

  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void setup() override;
  void compute(int, int) override;
  void finish() override;
  double memory_usage() override;
  void *extract(const char *, int &) override;
  void *extract_peratom(const char *, int &) override;

  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;

 private:
  struct Impl;    // keeps torch out of LAMMPS' style headers
  std::unique_ptr<Impl> impl;

  void allocate();
  void load_model(const char *);
  void map_types(int, char **);
  void check_narrowed_lists() const;
  void check_masses() const;
  void warn_of_missing_samples();
  // on every new neighbor list; they throw what ends the run, and note what is worth a warning
  void check_list();
  void remember_positions();
  void check_special_neighbors() const;
  void check_atom_masses();
  void check_images() const;
  void check_changed_types(const std::vector<int> &now) const;
  // on every step
  void check_age();
  void check_closest();
  void share_and_tell();
  // a step; what fails on this process is returned as text, empty when all is well
  std::string build_graph();
  void evaluate(std::string failure, int member, bool graded);
  std::string run_model(int member, bool graded);
  void sit_out(int member);
  void tally();
  bool uncertainty_due() const;
  void check_uncertainty(bool deviations, bool grades) const;
  void sample_uncertainty();
  void reduce_uncertainty();
  enum class Change { NONE, TYPES, ATOMS, LIST };    // since the list was read; the largest counts
  Change change_since_list() const;
  std::vector<int> current_types();
  void remove_excluded_atoms();
};

}    // namespace LAMMPS_NS

#endif
