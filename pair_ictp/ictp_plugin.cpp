// SPDX-License-Identifier: GPL-2.0-only
#include "pair_ictp.h"

#include "lammpsplugin.h"

#include "error.h"
#include "lammps.h"

#include <dlfcn.h>

using namespace LAMMPS_NS;

/// LAMMPS' objects are laid out by its size of an atom ID: with another one nothing here would
/// work. Asked of its C library by name, because an executable need not contain that.
static void check_integer_sizes(LAMMPS *lmp)
{
  using ExtractSetting = int (*)(void *, const char *);
  void *function = dlsym(RTLD_DEFAULT, "lammps_extract_setting");
  if (!function)
    return;
  const int size = reinterpret_cast<ExtractSetting>(function)(lmp, "tagint");
  if (size != sizeof(tagint))
    lmp->error->all(FLERR,
                    "Pair style ictp was built for atom IDs of {} bytes, this LAMMPS has {}: build "
                    "it with -D ICTP_LAMMPS_SIZES={}",
                    sizeof(tagint), size, size == 8 ? "bigbig" : "smallbig");
}

static void *create_pair_ictp(void *lmp)
{
  check_integer_sizes(static_cast<LAMMPS *>(lmp));
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
