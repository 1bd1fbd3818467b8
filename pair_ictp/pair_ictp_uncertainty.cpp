// SPDX-License-Identifier: GPL-2.0-only
#include "pair_ictp.h"

#include "ictp_timer.h"
#include "pair_ictp_impl.h"

#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "error.h"
#include "fix.h"
#include "modify.h"
#include "update.h"

#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

using namespace LAMMPS_NS;

/* ----------------------------------------------------------------------
   every N steps as pair_style says, at the first step, and when fix pair has asked
------------------------------------------------------------------------- */

bool PairICTP::uncertainty_due() const
{
  if (impl->deviation_flag || impl->grade_flag)
    return true;
  if (impl->uncertainty_every == 0)
    return false;
  return !impl->sampled || update->ntimestep % impl->uncertainty_every == 0;
}

/// A file that cannot say what is asked for.
void PairICTP::check_uncertainty(bool deviations, bool grades) const
{
  if (deviations && impl->model->num_models() < 2)
    error->all(FLERR,
               "Pair style ictp: a force deviation needs the models of several trainings in one "
               "file: ictp export run1 run2 ... -o ensemble.pt");
  if (grades && !impl->model->has_grades())
    error->all(FLERR,
               "Pair style ictp: the model file has no extrapolation grade: export it again, from "
               "a training that ended or with --training-data");
}

/* ----------------------------------------------------------------------
   a limit on what is never sampled would never be reached
------------------------------------------------------------------------- */

void PairICTP::warn_of_missing_samples()
{
  if (comm->me != 0 || impl->uncertainty_every > 0 || !modify->get_fix_by_style("^pair$").empty())
    return;
  for (const Compute *compute : modify->get_compute_list())
    if (strcmp(compute->style, "pair") == 0 && compute->size_vector == nextra)
      error->warning(FLERR,
                     "Pair style ictp: the values of compute {} are nan, as nothing is sampled: "
                     "give pair_style ictp uncertainty N",
                     compute->id);
}

/* ----------------------------------------------------------------------
   all models on the graph of this step; what drives the run has been evaluated, with grades if it
   is the first model
------------------------------------------------------------------------- */

void PairICTP::sample_uncertainty()
{
  const ictp::ScopedTimer timer(impl->uncertainty_seconds);
  const ictp::ModelTimings timings = impl->model->timings();
  const double scatter_seconds = impl->scatter_seconds;
  ictp::Halo *halo = comm->nprocs > 1 ? &impl->halo : nullptr;
  impl->uncertainty.begin(impl->nodes());
  for (int member = 0; member < impl->model->num_models(); ++member) {
    if (member != impl->driver())
      evaluate("", member, true);
    impl->uncertainty.add(impl->nodes(), impl->result, halo);
  }
  reduce_uncertainty();
  impl->sampled = true;
  impl->sampled_step = update->ntimestep;
  impl->model->timings() = timings;
  impl->scatter_seconds = scatter_seconds;
}

/// Per atom to arrays in LAMMPS' order, over all atoms to the vector of compute pair.
void PairICTP::reduce_uncertainty()
{
  const ictp::Candidates &nodes = impl->nodes();
  const double unit = impl->energy_unit;
  const std::vector<double> deviations = impl->uncertainty.force_deviations();
  const std::vector<double> &grades = impl->uncertainty.grades();
  impl->atom_deviations.assign(atom->nmax, 0.0);
  impl->atom_grades.assign(atom->nmax, 0.0);

  double largest[2] = {0.0, 0.0};                                            // deviation, grade
  std::vector<double> sums = {0.0, static_cast<double>(nodes.num_local)};    // deviations, atoms
  for (int64_t node = 0; node < nodes.num_local; ++node) {
    const double deviation = unit * deviations[node];
    impl->atom_deviations[nodes.node_atoms[node]] = deviation;
    impl->atom_grades[nodes.node_atoms[node]] = grades[node];
    largest[0] = std::max(largest[0], deviation);
    largest[1] = std::max(largest[1], grades[node]);
    sums[0] += deviation;
  }
  sums.insert(sums.end(), impl->uncertainty.energies().begin(), impl->uncertainty.energies().end());
  MPI_Allreduce(MPI_IN_PLACE, largest, 2, MPI_DOUBLE, MPI_MAX, world);
  MPI_Allreduce(MPI_IN_PLACE, sums.data(), static_cast<int>(sums.size()), MPI_DOUBLE, MPI_SUM,
                world);

  const double num_atoms = std::max(sums[1], 1.0);
  double mean = 0.0, squares = 0.0;
  for (size_t k = 2; k < sums.size(); ++k) mean += sums[k] / static_cast<double>(sums.size() - 2);
  for (size_t k = 2; k < sums.size(); ++k) squares += (sums[k] - mean) * (sums[k] - mean);
  const double spread = std::sqrt(squares / static_cast<double>(sums.size() - 2));

  impl->totals = {largest[0], sums[0] / num_atoms, unit * spread / num_atoms, largest[1]};
  if (impl->model->num_models() < 2)
    std::fill_n(impl->totals.begin(), 3, std::nan(""));
  if (!impl->model->has_grades())
    impl->totals[3] = std::nan("");
  if (comm->me != 0)
    impl->totals.fill(0.0);    // compute pair adds up over processes
}
