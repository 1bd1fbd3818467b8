// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_PROCESSES_H
#define ICTP_PROCESSES_H

#include <mpi.h>

#include <string>
#include <vector>

namespace ictp {

/// Rank of this process among those on the same machine: which GPU is ours. From the launchers'
/// variables, as LAMMPS' KOKKOS package reads them, else from a split of `uworld` (not of `world`,
/// or all replicas would take the first GPU).
int node_local_process(MPI_Comm uworld);

/// The failure of the first process that has one, the same text on all; empty when there is none.
std::string common_failure(const std::string &failure, MPI_Comm world);

/// A part of a step and the time that this process spent in it.
struct Phase {
  const char *name;
  double seconds;
};

/// One line with the times per evaluation, mean over processes and slowest; every process calls,
/// process 0 gets the text.
std::string describe_phases(const std::vector<Phase> &phases, int num_evaluations, MPI_Comm world);

}    // namespace ictp

#endif
