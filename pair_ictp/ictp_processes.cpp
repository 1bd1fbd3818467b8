// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_processes.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>

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

static void broadcast(std::string &bytes, int sender, MPI_Comm world)
{
  constexpr size_t PIECE = 1 << 30;    // MPI counts in 31 bits
  auto size = static_cast<int64_t>(bytes.size());
  MPI_Bcast(&size, 1, MPI_INT64_T, sender, world);
  bytes.resize(size);
  for (size_t start = 0; start < bytes.size(); start += PIECE)
    MPI_Bcast(bytes.data() + start, static_cast<int>(std::min(PIECE, bytes.size() - start)),
              MPI_CHAR, sender, world);
}

void share(std::span<std::string> texts, MPI_Comm world)
{
  int me, num_processes;
  MPI_Comm_rank(world, &me);
  MPI_Comm_size(world, &num_processes);
  std::vector<int> first;
  for (const std::string &text : texts) first.push_back(text.empty() ? num_processes : me);
  MPI_Allreduce(MPI_IN_PLACE, first.data(), static_cast<int>(first.size()), MPI_INT, MPI_MIN,
                world);
  for (size_t k = 0; k < texts.size(); ++k)
    if (first[k] < num_processes)
      broadcast(texts[k], first[k], world);
}

std::string text_of_lowest(const Lowest &mine, MPI_Comm world)
{
  struct {
    double ratio;
    int process;
  } lowest{mine.ratio, 0};
  MPI_Comm_rank(world, &lowest.process);
  MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_DOUBLE_INT, MPI_MINLOC, world);
  std::string text = mine.text;
  broadcast(text, lowest.process, world);
  return text;
}

std::string from_first(const std::function<std::string()> &make, MPI_Comm world)
{
  int me;
  MPI_Comm_rank(world, &me);
  std::string bytes, failure;
  if (me == 0)
    try {
      bytes = make();
    } catch (const std::exception &problem) {
      failure = problem.what();
    }
  share({&failure, 1}, world);
  if (!failure.empty())
    throw std::runtime_error(failure);
  broadcast(bytes, 0, world);
  return bytes;
}

std::string describe_phases(const std::vector<Phase> &phases, std::int64_t num_evaluations,
                            MPI_Comm world)
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
