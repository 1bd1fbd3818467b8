// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_PROCESSES_H
#define ICTP_PROCESSES_H

#include <mpi.h>

#include <string>
#include <vector>

namespace ictp {

/// This process among those on the same machine.
struct NodeProcess {
  int index;    ///< which GPU is ours, modulo their number
  int count;    ///< processes of `world` there
};

/// The index is from the launchers' variables, as LAMMPS' KOKKOS package reads them, else that in
/// `world` after `first_process`, its first process in the universe: replicas start at different
/// GPUs. Collective in `world` only, because `partition` may keep other replicas from calling.
NodeProcess node_process(MPI_Comm world, int first_process);

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
