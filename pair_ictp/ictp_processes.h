// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_PROCESSES_H
#define ICTP_PROCESSES_H

#include <mpi.h>

#include <cstdint>
#include <functional>
#include <span>
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

/// Makes the texts the same on all processes: of each, that of the first process that has one.
void share(std::span<std::string> texts, MPI_Comm world);

/// A ratio and what it is of.
struct Lowest {
  double ratio = 1.0;
  std::string text;
};

/// The text of the process with the lowest ratio, on all.
std::string text_of_lowest(const Lowest &mine, MPI_Comm world);

/// The bytes that process 0 makes, on all processes; what it throws all throw as
/// std::runtime_error.
std::string from_first(const std::function<std::string()> &make, MPI_Comm world);

/// A part of a step and the time that this process spent in it.
struct Phase {
  const char *name;
  double seconds;
};

/// One line with the times per evaluation, mean over processes and slowest; every process calls,
/// process 0 gets the text.
std::string describe_phases(const std::vector<Phase> &phases, std::int64_t num_evaluations,
                            MPI_Comm world);

}    // namespace ictp

#endif
