// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_processes.h"

#include <cstdio>
#include <cstdlib>

namespace ictp {

NodeProcess node_process(MPI_Comm world, int first_process)
{
  MPI_Comm node;
  NodeProcess process{};
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &process.index);
  MPI_Comm_size(node, &process.count);
  MPI_Comm_free(&node);
  process.index += first_process;
  for (const char *name :
       {"MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK",
        "SLURM_LOCALID", "PALS_LOCAL_RANKID", "FLUX_TASK_LOCAL_ID"})
    if (const char *value = std::getenv(name)) {
      process.index = std::atoi(value);
      break;
    }
  return process;
}

std::string common_failure(const std::string &failure, MPI_Comm world)
{
  int me, num_processes, first;
  MPI_Comm_rank(world, &me);
  MPI_Comm_size(world, &num_processes);
  const int mine = failure.empty() ? num_processes : me;
  MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, world);
  if (first == num_processes)
    return "";
  std::string text = failure;
  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, first, world);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, first, world);
  return text;
}

std::string describe_phases(const std::vector<Phase> &phases, int num_evaluations, MPI_Comm world)
{
  int num_processes;
  MPI_Comm_size(world, &num_processes);
  std::string text = "pair ictp: " + std::to_string(num_evaluations) +
                     " evaluations, ms each, mean (slowest process):";
  for (const Phase &phase : phases) {
    double sum = 0.0, slowest = 0.0;
    MPI_Reduce(&phase.seconds, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, world);
    MPI_Reduce(&phase.seconds, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, world);
    char part[96];
    std::snprintf(part, sizeof(part), " %s %.3f (%.3f)", phase.name,
                  1e3 * sum / num_processes / num_evaluations, 1e3 * slowest / num_evaluations);
    text += part;
  }
  return text;
}

}    // namespace ictp
