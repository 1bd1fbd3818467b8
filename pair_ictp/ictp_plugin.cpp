// SPDX-License-Identifier: GPL-2.0-only
#include "lammpsplugin.h"

#include "error.h"
#include "lammps.h"

#include <dlfcn.h>

#include <string>

// What LAMMPS loads at every start. The pair style is in a library beside it, which brings PyTorch,
// a third of a second, and is loaded when a deck uses it.

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

/// The function of the library beside this file that makes the pair style.
static lammpsplugin_create find_create(LAMMPS *lmp)
{
  Dl_info here = {};
  dladdr(reinterpret_cast<void *>(&check_integer_sizes), &here);
  const std::string file(here.dli_fname ? here.dli_fname : "");
  const std::string path = file.substr(0, file.rfind('/') + 1) + "libictp_pair.so";
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void *create = library ? dlsym(library, "ictp_create_pair") : nullptr;
  if (!create) {
    const char *reason = dlerror();
    lmp->error->all(FLERR,
                    "Pair style ictp does not load ({}): leave the plugin where it was installed, "
                    "and see 'ictp doctor'",
                    reason ? reason : path);
  }
  return reinterpret_cast<lammpsplugin_create>(create);
}

static void *create_pair_ictp(void *lmp)
{
  check_integer_sizes(static_cast<LAMMPS *>(lmp));
  static const lammpsplugin_create create = find_create(static_cast<LAMMPS *>(lmp));
  return create(lmp);
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
