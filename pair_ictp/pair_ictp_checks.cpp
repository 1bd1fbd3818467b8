// SPDX-License-Identifier: GPL-2.0-only
// A many-body model must see every neighbor within its cutoff. What can keep one from it, or tells
// that the input is not what its writer thinks, is looked at here: settings before each run, what
// may change during a run on every new neighbor list, positions on every step.
#include "pair_ictp.h"

#include "ictp_processes.h"
#include "pair_ictp_impl.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "group.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace LAMMPS_NS;

namespace {

struct CommGroup : Comm {
  /// The group of `comm_modify group`, which LAMMPS keeps to itself.
  static int of(const Comm *comm) { return comm->*(&CommGroup::bordergroup); }
};

constexpr char SEES_GROUP[] =
    "Pair style ictp: with {} the model would see only atoms of the group "
    "{}, and not their true neighbors: leave it out";
constexpr char LOST_PAIRS[] = "Pair style ictp does not see neighbors between {}: neigh_modify "
                              "exclude {} takes them out of its neighbor list";

}    // namespace

/* ----------------------------------------------------------------------
   before a run: every setting of Neighbor, Comm and our own list that can narrow what the model
   sees, with its verdict
     refused  neigh_modify include, comm_modify group
     warned   neigh_modify exclude type, group (of two groups), molecule/intra, molecule/inter;
              pairs of types that hybrid gave to another style, hybrid/molecular
     served   exclude group X all: the atom is not there (remove_excluded_atoms)
              special bonds of weight 0: refused on a list with such neighbors (check_list)
              every, delay, check no, once, and run pre no: warned when the list is too old
(check_age) neighbor nsq, bin, multi, multi/old, collections, binsize, cluster, pair_modify
neigh/trim, comm_modify mode, cutoff, vel, atom_modify first and sort: the list is the same one,
page: LAMMPS ends the run when they are too small
------------------------------------------------------------------------- */

void PairICTP::check_narrowed_lists() const
{
  if (neighbor->includegroup)
    error->all(FLERR, SEES_GROUP, "neigh_modify include", group->names[neighbor->includegroup]);
  if (const int chosen = CommGroup::of(comm))
    error->all(FLERR, SEES_GROUP, "comm_modify group", group->names[chosen]);
  if (comm->me != 0)
    return;
  for (int i = 1; list->ijskip && i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j)
      if (map[i] >= 0 && map[j] >= 0 && list->ijskip[i][j])
        error->warning(FLERR,
                       "Pair style ictp does not see neighbors between atom types {} and {}: "
                       "pair_style hybrid gave this pair to another style, use hybrid/overlay to "
                       "add them up",
                       i, j);
  if (list->molskip)
    error->warning(FLERR,
                   "Pair style ictp sees only neighbors of {}: hybrid/molecular gave the others to "
                   "another style",
                   list->molskip == 1 ? "the same molecule" : "other molecules");
  for (int m = 0; m < neighbor->nex_type; ++m) {
    const int i = neighbor->ex1_type[m], j = neighbor->ex2_type[m];
    if (map[i] >= 0 && map[j] >= 0)
      error->warning(FLERR, LOST_PAIRS, fmt::format("atom types {} and {}", i, j), "type");
  }
  for (int m = 0; m < neighbor->nex_group; ++m) {
    const int i = neighbor->ex1_group[m], j = neighbor->ex2_group[m];
    if (i != 0 && j != 0)    // 0 is the group "all"
      error->warning(FLERR, LOST_PAIRS,
                     fmt::format("groups {} and {}", group->names[i], group->names[j]), "group");
  }
  for (int m = 0; m < neighbor->nex_mol; ++m)
    error->warning(FLERR, LOST_PAIRS,
                   fmt::format("atoms of {} in group {}",
                               neighbor->ex_mol_intra[m] ? "one molecule" : "different molecules",
                               group->names[neighbor->ex_mol_group[m]]),
                   neighbor->ex_mol_intra[m] ? "molecule/intra" : "molecule/inter");
}

/* ----------------------------------------------------------------------
   a mass that is far from the element's: are the elements in the order of the types?
------------------------------------------------------------------------- */

/// What is wrong with the mass of an atom type, empty when nothing is.
static std::string describe_mass(const std::string &what, double mass, const ictp::Model &model,
                                 int species)
{
  constexpr double TOLERANCE = 0.2, TRITIUM = 3.016;
  const double right = model.masses()[species];
  const std::string &element = model.elements()[species];
  const double largest = element == "H" ? TRITIUM : right;
  if (mass >= (1.0 - TOLERANCE) * right && mass <= (1.0 + TOLERANCE) * largest)
    return "";
  return fmt::format(
      "{} has mass {:g}, but {}, its element in pair_coeff, has {:g}: are the elements "
      "in the order of the atom types?",
      what, mass, element, right);
}

void PairICTP::check_masses() const
{
  if (comm->me != 0 || !atom->mass || atom->rmass)
    return;
  for (int type = 1; type <= atom->ntypes; ++type)
    if (const int species = impl->species_of_type[type]; species >= 0 && atom->mass_setflag[type]) {
      const std::string text =
          describe_mass(fmt::format("atom type {}", type), atom->mass[type], *impl->model, species);
      if (!text.empty())
        error->warning(FLERR, "Pair style ictp: {}", text);
    }
}

void PairICTP::check_atom_masses()
{
  for (int i = 0; atom->rmass && i < atom->nlocal && impl->texts[Impl::MASSES].empty(); ++i)
    if (const int species = impl->species_of_type[atom->type[i]]; species >= 0)
      impl->texts[Impl::MASSES] = describe_mass(fmt::format("atom {}", atom->tag[i]),
                                                atom->rmass[i], *impl->model, species);
}

/* ----------------------------------------------------------------------
   on every new list
------------------------------------------------------------------------- */

void PairICTP::check_list()
{
  check_special_neighbors();
  check_atom_masses();
  check_images();
}

/* ----------------------------------------------------------------------
   where atoms and box are when the list is made, for check_age()
------------------------------------------------------------------------- */

void PairICTP::remember_positions()
{
  const double *x = atom->nlocal ? atom->x[0] : nullptr;
  impl->list_positions.assign(x, x + 3 * static_cast<size_t>(atom->nlocal));
  std::copy_n(domain->boxlo, 3, impl->list_box.begin());
  std::copy_n(domain->h, 6, impl->list_box.begin() + 3);
}

/* ----------------------------------------------------------------------
   a special weight of zero takes the pair out of the neighbor list; bonds may come during a run
------------------------------------------------------------------------- */

void PairICTP::check_special_neighbors() const
{
  const int *flag = neighbor->special_flag;    // of 1-2, 1-3, 1-4; 0: out of the list
  if (atom->molecular == Atom::ATOMIC || (flag[1] && flag[2] && flag[3]))
    return;
  bool is_missing = atom->molecular == Atom::TEMPLATE;    // has them out of our sight
  for (int i = 0; atom->nspecial && i < atom->nlocal && !is_missing; ++i)
    for (int k = 0, before = 0; k < 3; before = atom->nspecial[i][k], ++k)
      is_missing = is_missing || (flag[k + 1] == 0 && atom->nspecial[i][k] > before);
  if (is_missing)
    throw std::runtime_error(
        "needs bonded neighbors in its neighbor list: a weight of 0 removes them, use "
        "special_bonds lj/coul 1 1 1 (or 1e-50 instead of 0)");
}

/* ----------------------------------------------------------------------
   a ghost stands for the atom with its ID: it must be a periodic image of it. Atoms of two
   processes with one ID would be taken for one.
------------------------------------------------------------------------- */

void PairICTP::check_images() const
{
  constexpr double TOLERANCE = 1e-3;    // cell vectors
  double **x = atom->x;
  const double *inverse = domain->h_inv;
  impl->builder->each_image([&](int image, int i) {
    const double dx = x[image][0] - x[i][0], dy = x[image][1] - x[i][1], dz = x[image][2] - x[i][2];
    const double shift[3] = {inverse[0] * dx + inverse[5] * dy + inverse[4] * dz,
                             inverse[1] * dy + inverse[3] * dz, inverse[2] * dz};
    for (const double value : shift)
      if (!(std::fabs(value - std::round(value)) < TOLERANCE))
        throw std::runtime_error("two atoms have the ID " + std::to_string(atom->tag[i]) +
                                 ": atom IDs must be unique, use reset_atoms id");
  });
}

/* ----------------------------------------------------------------------
   under hybrid the list lacks the pairs of types that other styles have: it cannot follow a change
   to a type with more of the model's pairs, or fewer of them
------------------------------------------------------------------------- */

void PairICTP::check_changed_types(const std::vector<int> &now) const
{
  if (!list->ijskip)
    return;
  const size_t num_atoms = std::min<size_t>(impl->types.size(), atom->nlocal + atom->nghost);
  for (size_t i = 0; i < num_atoms; ++i) {
    const int before = impl->types[i], after = now[i];
    if (before == after || map[after] < 0)
      continue;
    for (int other = 1; other <= atom->ntypes; ++other)
      if (map[other] >= 0 && list->ijskip[before][other] != list->ijskip[after][other])
        throw std::runtime_error(
            "atom " + std::to_string(atom->tag[i]) + " changed from type " +
            std::to_string(before) + " to " + std::to_string(after) +
            " between two neighbor lists, but the list has no pairs for that (NULL in pair_coeff, "
            "or pairs of another style): use run pre yes, or give both types an element");
  }
}

/* ----------------------------------------------------------------------
   The list has all pairs that were within r_cut + skin. Atoms may have come closer by twice the
   largest displacement, apart from that of the box, plus what the box brings. By default LAMMPS
   makes a new list before that happens.
------------------------------------------------------------------------- */

void PairICTP::check_age()
{
  const bool is_watched =
      neighbor->dist_check && neighbor->every == 1 && neighbor->delay == 0 && !neighbor->build_once;
  const std::array<double, 9> &old = impl->list_box;
  if (is_watched || neighbor->ago == 0 || impl->told[Impl::OLD_LIST] ||
      impl->list_positions.size() != 3 * static_cast<size_t>(atom->nlocal))
    return;
  // upper triangle of h h_old^-1, which takes old places relative to boxlo to new ones
  const double *h = domain->h, *lo = domain->boxlo, *h_old = &old[3];
  const double xx = h[0] / h_old[0], yy = h[1] / h_old[1], zz = h[2] / h_old[2];
  const double xy = (h[5] - xx * h_old[5]) / h_old[1], yz = (h[3] - yy * h_old[3]) / h_old[2];
  const double xz = (h[4] - xx * h_old[4] - xy * h_old[3]) / h_old[2];
  // what can bring atoms closer: compression and shear
  double strain = xy * xy + yz * yz + xz * xz;
  for (const double stretch : {xx, yy, zz}) strain += std::pow(std::max(0.0, 1.0 - stretch), 2);
  strain = std::sqrt(strain);
  double farthest = 0.0;
  int mover = 0;
  for (int i = 0; i < atom->nlocal; ++i) {
    const double *before = &impl->list_positions[3 * static_cast<size_t>(i)], *x = atom->x[i];
    const double u = before[0] - old[0], v = before[1] - old[1], w = before[2] - old[2];
    const double dx = x[0] - lo[0] - xx * u - xy * v - xz * w, dy = x[1] - lo[1] - yy * v - yz * w,
                 dz = x[2] - lo[2] - zz * w;
    if (const double moved = dx * dx + dy * dy + dz * dz; moved > farthest) {
      farthest = moved;
      mover = i;
    }
  }
  const double closer = 2.0 * std::sqrt(farthest) + strain * (impl->r_cut + neighbor->skin);
  if (closer > neighbor->skin)
    impl->texts[Impl::OLD_LIST] = fmt::format(
        "the neighbor list is older than it is good for: since step {} atom {} has moved {:.3g} A"
        "{}, and neighbors may be missing: use neigh_modify delay 0 every 1 check yes, or a larger "
        "skin than {:g} A",
        impl->list_step, atom->nlocal ? atom->tag[mover] : 0, std::sqrt(farthest),
        strain > 0.0 ? " apart from the box" : "", neighbor->skin);
}

/* ----------------------------------------------------------------------
   where no training data were, a model may attract
------------------------------------------------------------------------- */

void PairICTP::check_closest()
{
  // a frame of the training data itself may be below them by the digits of its file
  constexpr double DIGITS = 1e-6;
  const ictp::CloseEdge edge = impl->graph->closest(std::min(impl->lowest.ratio, 1.0 - DIGITS));
  if (edge.center < 0)
    return;
  const auto describe = [&](int64_t node) {
    return fmt::format("{} ({})", impl->tags[impl->nodes().node_atoms[node]],
                       impl->model->elements()[impl->nodes().species[node]]);
  };
  const std::string reference =
      edge.shortest < impl->r_cut
          ? fmt::format("closer than any such pair in the training data ({:.3g} A)", edge.shortest)
          : "but no such pair in the training data came within r_cut";
  const std::string text =
      fmt::format("atoms {} and {} are {:.3g} A apart, {}", describe(edge.center),
                  describe(edge.neighbor), edge.distance, reference);
  const std::string warning = text + ": what the model says of them is a guess";
  if (impl->closest == Impl::Closest::ERROR)
    throw std::runtime_error(warning);
  impl->lowest = {edge.distance / edge.shortest,
                  fmt::format("step {}: {}", update->ntimestep, text)};
  impl->texts[Impl::CLOSE_ATOMS] = warning;
}

/* ----------------------------------------------------------------------
   a failure of any process ends the run on all; a warning is given once per run
------------------------------------------------------------------------- */

void PairICTP::share_and_tell()
{
  for (int k = 0; k < Impl::NUM_TEXTS; ++k)
    if (impl->told[k])
      impl->texts[k].clear();
  if (comm->nprocs > 1)
    ictp::share(impl->texts, world);
  for (int k = 0; k < Impl::NUM_TEXTS; ++k) {
    const std::string text = std::exchange(impl->texts[k], "");
    if (text.empty())
      continue;
    if (k == Impl::FAILURE) {
      impl->has_failed = true;    // a program that LAMMPS is a library of may go on
      error->all(FLERR, "Pair style ictp, step {}: {}", update->ntimestep, text);
    }
    impl->told[k] = true;
    if (comm->me == 0)
      error->warning(FLERR, "Pair style ictp, step {}: {}", update->ntimestep, text);
  }
}
