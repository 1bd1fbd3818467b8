// SPDX-License-Identifier: GPL-2.0-only
#include "pair_ictp.h"

#include "ictp_processes.h"
#include "ictp_tally.h"
#include "ictp_timer.h"
#include "pair_ictp_impl.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include <mpi.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>

using namespace LAMMPS_NS;

/* ----------------------------------------------------------------------
   one step: whatever happens to one process, all make the same calls and end with the same error
------------------------------------------------------------------------- */

void PairICTP::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  if (!impl->initialized)
    error->all(FLERR, "Pair style ictp: the model was read after the last setup, use run pre yes");

  ++impl->num_evaluations;
  const bool sampling = uncertainty_due();
  evaluate(build_graph(), impl->driver(), sampling);
  tally();
  if (sampling)
    sample_uncertainty();
}

/* ----------------------------------------------------------------------
   one model, or the mean of an ensemble, unless the graph has failed; ends with the same error on
   all processes or on none
------------------------------------------------------------------------- */

void PairICTP::evaluate(std::string failure, int member, bool graded)
{
  if (failure.empty())
    failure = run_model(member, graded);
  else
    sit_out(member);
  if (failure.empty()) {
    const ictp::ScopedTimer timer(impl->scatter_seconds);
    if (!ictp::is_finite(impl->nodes(), impl->result))
      failure = ictp::describe_non_finite(impl->nodes(), impl->graph->edges(),
                                          impl->model->node_energies(),
                                          impl->model->edge_gradients(), impl->tags.data());
  }
  impl->texts[Impl::FAILURE] = failure;
  // it waits for the slowest process
  const ictp::ScopedTimer timer(impl->model->timings().exchange);
  share_and_tell();
}

std::string PairICTP::build_graph()
{
  const ictp::ScopedTimer timer(impl->graph_seconds);
  const int num_atoms = atom->nlocal + atom->nghost;
  const bool same_list = neighbor->ago != 0 && impl->list_builds == neighbor->ncalls &&
                         impl->list_step == neighbor->lastcall;
  Change change = same_list ? change_since_list() : Change::LIST;
  // the same on all processes; none can make exchanges, which reach for ghosts that are gone
  if (change == Change::ATOMS)
    error->all(FLERR,
               "Pair style ictp, step {}: atoms were moved to other processes, added or removed "
               "since the neighbor list of step {} was made: use run pre yes",
               update->ntimestep, impl->list_step);
  if (impl->has_failed)
    change = Change::LIST;
  try {
    const std::vector<int> types = change == Change::NONE ? std::vector<int>() : current_types();
    if (change == Change::TYPES)
      check_changed_types(types);
    if (!same_list)
      remember_positions();
    if (change != Change::NONE) {
      impl->tags.assign(atom->tag, atom->tag + num_atoms);
      impl->types = types;
      impl->list_builds = neighbor->ncalls;
      impl->list_step = neighbor->lastcall;
      impl->model_types = impl->types;
      remove_excluded_atoms();
      impl->builder->rebuild(
          {atom->nlocal, atom->nghost, impl->model_types.data(), impl->tags.data()},
          {list->inum, list->ilist, list->numneigh, list->firstneigh, NEIGHMASK});
      impl->graph->rebuild(impl->nodes());
      if (comm->nprocs > 1)
        impl->halo.attach(impl->nodes(), atom->nlocal, num_atoms);
      if (change == Change::LIST)
        check_list();
      ++impl->num_lists;
      impl->has_failed = false;
    }
    check_age();
    impl->graph->update(atom->x ? atom->x[0] : nullptr, num_atoms);
    check_closest();
  } catch (const std::exception &problem) {
    return problem.what();
  }
  return "";
}

/* ----------------------------------------------------------------------
   types may change between two lists, on any process. Atoms may not: commands as displace_atoms
   send them to other processes and leave no ghosts, and run pre no keeps the old list.
------------------------------------------------------------------------- */

PairICTP::Change PairICTP::change_since_list() const
{
  const size_t num_atoms = atom->nlocal + atom->nghost;
  Change change = Change::NONE;
  if (impl->tags.size() != num_atoms ||
      !std::equal(impl->tags.begin(), impl->tags.end(), atom->tag))
    change = Change::ATOMS;
  else if (!std::equal(atom->type, atom->type + atom->nlocal, impl->types.begin()))
    change = Change::TYPES;
  int largest = static_cast<int>(change);
  if (comm->nprocs > 1)
    MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_INT, MPI_MAX, world);
  return static_cast<Change>(largest);
}

/* ----------------------------------------------------------------------
   types of all atoms: LAMMPS sends those of ghosts when it makes them, and not when they change.
   The halo learns which atoms are sent.
------------------------------------------------------------------------- */

std::vector<int> PairICTP::current_types()
{
  std::vector<int> types(atom->type, atom->type + atom->nlocal + atom->nghost);
  if (comm->nprocs > 1) {
    impl->types_to_send = &types;
    impl->halo.forget_lists();
    comm->forward_comm(this, 1);
    impl->types_to_send = nullptr;
  }
  return types;
}

/* ----------------------------------------------------------------------
   neigh_modify exclude group X all takes an atom out of every pair: it is not there and has no
   energy. Fix gcmc counts on this when it tries how the system is without an atom.
------------------------------------------------------------------------- */

void PairICTP::remove_excluded_atoms()
{
  for (int m = 0; m < neighbor->nex_group; ++m) {
    int bits = 0;
    if (neighbor->ex2_group[m] == 0)    // 0 is the group "all"
      bits |= neighbor->ex1_bit[m];
    if (neighbor->ex1_group[m] == 0)
      bits |= neighbor->ex2_bit[m];
    if (bits)
      for (size_t i = 0; i < impl->model_types.size(); ++i)
        if (atom->mask[i] & bits)
          impl->model_types[i] = 0;
  }
}

std::string PairICTP::run_model(int member, bool graded)
{
  ictp::Halo *halo = comm->nprocs > 1 ? &impl->halo : nullptr;
  try {
    impl->result = impl->model->evaluate(*impl->graph, halo, member, graded);
  } catch (const ictp::LostProcess &problem) {
    error->one(FLERR, "Pair style ictp, step {}: {}", update->ntimestep, problem.what());
  } catch (const std::exception &problem) {
    return problem.what();
  }
  return "";
}

/* ----------------------------------------------------------------------
   no graph here: let the other processes reach the end of the step
------------------------------------------------------------------------- */

void PairICTP::sit_out(int member)
{
  static const ictp::Candidates NOTHING;
  if (comm->nprocs == 1)
    return;
  impl->halo.attach(NOTHING, atom->nlocal, atom->nlocal + atom->nghost);
  try {
    impl->model->sit_out(&impl->halo, member);
  } catch (const std::exception &problem) {
    error->one(FLERR, "Pair style ictp, step {}: {}", update->ntimestep, problem.what());
  }
}

void PairICTP::tally()
{
  const ictp::ScopedTimer timer(impl->scatter_seconds);
  const ictp::Candidates &nodes = impl->nodes();
  const double unit = impl->energy_unit;
  ictp::add_forces(nodes, impl->result, unit, atom->f);
  if (eflag_global)
    eng_vdwl += unit * impl->result.energy;
  if (vflag_global)
    ictp::add_virial(impl->result, unit, virial);
  try {
    if (eflag_atom)
      ictp::add_energies(nodes, impl->model->node_energies(), unit, eatom);
    if (vflag_atom)
      ictp::add_virials(nodes, impl->model->node_virials(0.5), unit, 6, vatom);
    if (cvflag_atom)
      ictp::add_virials(nodes, impl->model->node_virials(0.0), unit, 9, cvatom);
    if (impl->keep_energies) {
      impl->energies.assign(atom->nlocal, 0.0);
      ictp::add_energies(nodes, impl->model->node_energies(), unit, impl->energies.data());
    }
  } catch (const std::exception &problem) {    // memory; the others are past asking
    error->one(FLERR, "Pair style ictp, step {}: {}", update->ntimestep, problem.what());
  }
}

/* ----------------------------------------------------------------------
   features between processes: LAMMPS asks, the halo answers; or types, one number per atom
------------------------------------------------------------------------- */

int PairICTP::pack_forward_comm(int n, int *atoms, double *buf, int /*pbc_flag*/, int * /*pbc*/)
{
  if (!impl->types_to_send)
    return impl->halo.pack(n, atoms, buf);
  impl->halo.learn_list(n, atoms);
  for (int i = 0; i < n; ++i) buf[i] = (*impl->types_to_send)[atoms[i]];
  return n;
}

void PairICTP::unpack_forward_comm(int n, int first, double *buf)
{
  if (!impl->types_to_send)
    impl->halo.unpack(n, first, buf);
  else
    std::copy_n(buf, n, impl->types_to_send->begin() + first);
}

int PairICTP::pack_reverse_comm(int n, int first, double *buf)
{
  return impl->halo.pack(n, first, buf);
}

void PairICTP::unpack_reverse_comm(int n, int *atoms, double *buf)
{
  impl->halo.add(n, atoms, buf);
}
