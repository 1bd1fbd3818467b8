// SPDX-License-Identifier: GPL-2.0-only
#include "pair_ictp.h"

#include "ictp_processes.h"
#include "pair_ictp_impl.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "universe.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

using namespace LAMMPS_NS;

PairICTP::PairICTP(LAMMPS *lmp)
    : Pair(lmp)
    , impl(std::make_unique<Impl>(this, comm))
{
  manybody_flag = 1;
  one_coeff = 1;
  single_enable = 0;
  restartinfo = 0;
  writedata = 0;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_AVAIL;
  comm_forward = ictp::LammpsHalo::COMM_WIDTH;
  comm_reverse = ictp::LammpsHalo::COMM_WIDTH;
  nextra = static_cast<int>(impl->totals.size());
  pvector = impl->totals.data();
}

PairICTP::~PairICTP()
{
  if (copymode || !allocated)
    return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
}

void PairICTP::allocate()
{
  const int size = atom->ntypes + 1;
  memory->create(setflag, size, size, "pair:setflag");
  memory->create(cutsq, size, size, "pair:cutsq");
  map = new int[size];
  allocated = 1;
}

void PairICTP::settings(int narg, char **arg)
{
  impl->device = "auto";
  impl->drive_first = false;
  impl->uncertainty_every = 0;
  impl->closest = Impl::Closest::WARN;
  for (int iarg = 0; iarg < narg; iarg += 2) {
    const std::string keyword = arg[iarg];
    if (keyword != "closest" && keyword != "device" && keyword != "drive" &&
        keyword != "uncertainty")
      error->all(FLERR,
                 "Unknown pair_style ictp keyword: {} (expected closest, device, drive or "
                 "uncertainty)",
                 keyword);
    if (iarg + 1 == narg)
      utils::missing_cmd_args(FLERR, "pair_style ictp " + keyword, error);
    const std::string value = arg[iarg + 1];
    if (keyword == "device") {
      impl->device = value;
      if (value != "auto" && value != "cpu" && value != "cuda")
        error->all(FLERR, "pair_style ictp device: expected auto, cpu or cuda, got {}", value);
    } else if (keyword == "closest") {
      if (value != "warn" && value != "error" && value != "ignore")
        error->all(FLERR, "pair_style ictp closest: expected warn, error or ignore, got {}", value);
      impl->closest = value == "warn"    ? Impl::Closest::WARN
                      : value == "error" ? Impl::Closest::ERROR
                                         : Impl::Closest::IGNORE;
    } else if (keyword == "drive") {
      impl->drive_first = value == "first";
      if (value != "mean" && value != "first")
        error->all(FLERR, "pair_style ictp drive: expected mean or first, got {}", value);
    } else {
      impl->uncertainty_every = utils::bnumeric(FLERR, value, false, lmp);
      if (impl->uncertainty_every < 0)
        error->all(FLERR, "pair_style ictp uncertainty: expected a number of steps, got {}", value);
    }
  }
}

void PairICTP::coeff(int narg, char **arg)
{
  if (narg < 3)
    error->all(FLERR,
               "pair_coeff for pair_style ictp: expected * * model.pt and an element (or NULL) "
               "for each atom type");
  if (narg - 3 != atom->ntypes)
    error->all(FLERR,
               "pair_coeff for pair_style ictp: expected {} elements (or NULL), one for each "
               "atom type, got {}",
               atom->ntypes, narg - 3);
  if (!allocated)
    allocate();
  ictp::Model::set_num_threads(comm->nthreads);    // OMP_NUM_THREADS or package omp, else 1
  load_model(arg[2]);
  map_types(narg - 3, arg + 3);
}

/* ----------------------------------------------------------------------
   one process reads the file, because a node may have a stale copy under the same name; a failure
   on any of them is the same error on all
------------------------------------------------------------------------- */

void PairICTP::load_model(const char *file)
{
  impl->builder.reset();
  impl->graph.reset();
  impl->model.reset();
  impl->initialized = impl->sampled = false;
  impl->totals.fill(comm->me == 0 ? std::nan("") : 0.0);
  const ictp::NodeProcess process =
      ictp::node_process(world, universe->root_proc[universe->iworld]);
  std::string path = utils::get_potential_file_path(file);
  if (path.empty())
    path = file;
  std::string failure;
  try {
    std::string bytes = ictp::from_first(
        [&] {
          return ictp::read_model_file(path);
        },
        world);
    impl->model =
        std::make_unique<ictp::Model>(path, std::move(bytes), impl->device, process.index);
  } catch (const std::exception &problem) {
    failure = problem.what();
  }
  ictp::share({&failure, 1}, world);
  if (!failure.empty())
    error->all(FLERR, failure);
  impl->r_cut = impl->model->r_cut();
  const int num_gpus = ictp::Model::num_gpus();
  if (comm->me == 0 && impl->model->device() != "cpu" && process.count > num_gpus)
    error->warning(FLERR, "Pair style ictp: {} processes of a node share {} GPU(s)", process.count,
                   num_gpus);
}

void PairICTP::map_types(int num_names, char **names)
{
  const std::vector<std::string> &known = impl->model->elements();
  std::vector<int> &species_of_type = impl->species_of_type;
  species_of_type.assign(atom->ntypes + 1, -1);
  for (int i = 0; i < num_names; ++i) {
    if (strcmp(names[i], "NULL") == 0)
      continue;
    const auto found = std::find(known.begin(), known.end(), names[i]);
    if (found == known.end()) {
      std::string list;
      for (const std::string &name : known) list += " " + name;
      error->all(FLERR,
                 "pair_coeff for pair_style ictp: element {} of atom type {} is not in the model, "
                 "which knows{}",
                 names[i], i + 1, list);
    }
    species_of_type[i + 1] = static_cast<int>(found - known.begin());
  }
  map_element2type(num_names, names);
  impl->builder = std::make_unique<ictp::GraphBuilder>(species_of_type);
  impl->graph = std::make_unique<ictp::DeviceGraph>(impl->model->device(), impl->r_cut,
                                                    impl->closest == Impl::Closest::IGNORE
                                                        ? std::vector<double>()
                                                        : impl->model->shortest_distances());
  impl->list_builds = -1;
  const int num_models = impl->model->num_models();
  const std::string ensemble = num_models == 1
                                   ? ""
                                   : std::to_string(num_models) + " models, driven by the " +
                                         (impl->drive_first ? "first, " : "mean, ");
  if (comm->me == 0)
    utils::logmesg(lmp, "pair ictp: {}{} layers, r_cut {:g} A, {}, device {}\n", ensemble,
                   impl->model->num_layers(), impl->r_cut, impl->model->dtype(),
                   impl->model->device());
}

void PairICTP::init_style()
{
  if (strcmp(update->unit_style, "metal") == 0)
    impl->energy_unit = 1.0;
  else if (strcmp(update->unit_style, "real") == 0)
    impl->energy_unit = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  else
    error->all(FLERR, "Pair style ictp requires units metal or real, got {}", update->unit_style);
  if (!atom->tag_enable)
    error->all(FLERR, "Pair style ictp requires atom IDs");
  if (!force->newton_pair)
    error->all(FLERR, "Pair style ictp requires newton pair on");

  if (impl->uncertainty_every > 0 && impl->model->num_models() < 2)
    check_uncertainty(false, true);

  neighbor->add_request(this, NeighConst::REQ_FULL);
  impl->told.fill(false);
  impl->lowest = ictp::Lowest();
  impl->initialized = true;
}

double PairICTP::init_one(int i, int j)
{
  if (setflag[i][j] == 0)
    error->all(FLERR, "All pair coeffs are not set");
  return impl->r_cut;
}

void PairICTP::setup()
{
  check_narrowed_lists();
  check_masses();
  warn_of_missing_samples();
}

/* ----------------------------------------------------------------------
   at the end of a run: where the time went, per evaluation, mean and slowest process
------------------------------------------------------------------------- */

void PairICTP::finish()
{
  if (!impl->model || impl->num_evaluations == 0)
    return;
  const ictp::ModelTimings &model = impl->model->timings();
  std::vector<ictp::Phase> phases = {{"graph", impl->graph_seconds},
                                     {"forward", model.forward},
                                     {"backward", model.backward},
                                     {"exchange", model.exchange},
                                     {"scatter", impl->scatter_seconds}};
  if (impl->sampled)
    phases.push_back({"uncertainty", impl->uncertainty_seconds});
  const std::string text = ictp::describe_phases(phases, impl->num_evaluations, world);
  if (comm->me == 0)
    utils::logmesg(lmp, "{}, neighbor lists read {}\n", text, impl->num_lists);
  const std::string lowest = ictp::text_of_lowest(impl->lowest, world);
  if (comm->me == 0 && !lowest.empty())
    utils::logmesg(lmp, "pair ictp: farthest below the training data, {}\n", lowest);
  impl->num_evaluations = impl->num_lists = 0;
  impl->graph_seconds = impl->scatter_seconds = impl->uncertainty_seconds = 0.0;
  impl->model->timings() = ictp::ModelTimings();
}

/* ----------------------------------------------------------------------
   for fix pair, library interfaces and other styles
------------------------------------------------------------------------- */

void *PairICTP::extract(const char *name, int &dim)
{
  dim = 0;
  if (strcmp(name, "r_cut") == 0)
    return &impl->r_cut;
  if (strcmp(name, "energy_flag") == 0)
    return &impl->energy_flag;
  if (strcmp(name, "deviation_flag") == 0)
    return &impl->deviation_flag;
  if (strcmp(name, "grade_flag") == 0)
    return &impl->grade_flag;
  return nullptr;
}

/// "energy": those of the last step, from the first step after somebody has asked; "deviation" and
/// "grade": those of the last sampled step, in a run only if it is the present one, since atoms
/// change their places
void *PairICTP::extract_peratom(const char *name, int &num_columns)
{
  num_columns = 0;
  const bool deviation = strcmp(name, "deviation") == 0;
  if (deviation || strcmp(name, "grade") == 0) {
    if (impl->model)
      check_uncertainty(deviation, !deviation);
    if (update->whichflag != 0 && impl->sampled_step != update->ntimestep)
      error->all(FLERR,
                 "Pair style ictp has not sampled {} at step {}: give fix pair '{} 1', which asks "
                 "for it, or let it read on steps of pair_style ictp uncertainty N only",
                 name, update->ntimestep, name);
    return deviation ? impl->atom_deviations.data() : impl->atom_grades.data();
  }
  if (strcmp(name, "energy") != 0)
    return nullptr;
  impl->keep_energies = true;
  return impl->energies.data();
}

double PairICTP::memory_usage()
{
  double bytes = Pair::memory_usage();
  if (impl->builder)
    bytes += static_cast<double>(impl->builder->memory_bytes() + impl->graph->memory_bytes());
  bytes += static_cast<double>(impl->halo.memory_bytes());
  bytes += static_cast<double>(impl->tags.capacity() * sizeof(int64_t));
  bytes += static_cast<double>(impl->types.capacity() * sizeof(int));
  bytes += static_cast<double>(impl->model_types.capacity() * sizeof(int));
  bytes += static_cast<double>(impl->energies.capacity() * sizeof(double));
  bytes += static_cast<double>(impl->atom_deviations.capacity() * sizeof(double));
  bytes += static_cast<double>(impl->atom_grades.capacity() * sizeof(double));
  bytes += static_cast<double>(impl->uncertainty.memory_bytes());
  return bytes;
}

/// What the plugin asks for by this name.
extern "C" void *ictp_create_pair(void *lmp)
{
  return static_cast<Pair *>(new PairICTP(static_cast<LAMMPS *>(lmp)));
}
