// SPDX-License-Identifier: GPL-2.0-only
#include "pair_ictp.h"

#include "lammpsplugin.h"

using namespace LAMMPS_NS;

static void *create_pair_ictp(void *lmp)
{
  return new PairICTP(static_cast<LAMMPS *>(lmp));
}

void lammpsplugin_init(void *lmp, void *handle, void *register_function)
{
  lammpsplugin_t plugin = {};
  plugin.version = ICTP_LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "ictp";
  plugin.info = "irreducible Cartesian tensor potentials (pair_ictp 0.1.0)";
  plugin.author = "the pair_ictp developers";
  plugin.creator.v1 = create_pair_ictp;
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_register>(register_function)(&plugin, lmp);
}
