# SPDX-License-Identifier: MIT
"""Commands that drive heat, momentum or chemistry through atoms, and kinds of atoms."""

from __future__ import annotations

from audit.entry import Entry, Verdict

FLOW = (
    Entry("fix nvk", "fix 1 all nvk\nrun 10"),
    Entry("fix gjf", "fix 1 all nve\nfix 2 all gjf 5000 5000 0.1 48\nrun 10"),
    Entry(
        "fix temp/csld, heat, ehex",
        "group hot id 1:9\nfix 1 all nve\nfix 2 all temp/csld 5000 4000 0.05 48\n"
        "fix 3 hot heat 1 1.0\nrun 6\nunfix 3\nfix 3 hot ehex 1 1.0\nrun 6",
    ),
    Entry(
        "fix thermal/conductivity, viscosity",
        "fix 1 all nve\nfix 2 all thermal/conductivity 2 z 6 swap 2\nrun 6\nunfix 2\n"
        "fix 2 all viscosity 2 x z 6 swap 2\nrun 6",
    ),
    Entry(
        "fix wall/region, wall/morse, wall/harmonic, wall/lj126",
        "region inside block -20 20 -20 20 1 29 units box\nfix 1 all nve\n"
        "fix 2 all wall/region inside harmonic 5 1 1.5\nfix 3 all wall/harmonic zhi 9 5 1 1.5\n"
        "fix 4 all wall/morse zlo 1 0.1 1.5 2 3\nfix 5 all wall/lj126 zhi 12 0.01 1 2.5\nrun 15",
        start="slab",
    ),
    Entry(
        "fix addtorque, oneway, spring/rg, store/state, store/force",
        "group a id 1:10\nregion half block EDGE 3 EDGE EDGE EDGE EDGE\nfix 1 all nve\n"
        "fix 2 a addtorque 1 0 0\nfix 3 a oneway 1 half x\nfix 4 a spring/rg 5 3\n"
        "fix 5 all store/state 1 xu yu zu\nfix 6 all store/force\nrun 12",
    ),
    Entry(
        "fix rigid/npt, rigid/nvt/small of molecules",
        "comm_modify cutoff 8\nfix 1 all rigid/nvt/small molecule temp 5000 5000 0.1\nrun 6\n"
        "unfix 1\nfix 1 all rigid/npt molecule temp 5000 5000 0.1 iso 0 0 0.1\nrun 6",
        "positions box",
        start="molecules",
    ),
    Entry(
        "fix npt/cauchy",
        "fix 1 all npt/cauchy temp 5000 5000 0.1 x 0 0 10 alpha 1e-5\nrun 8",
        "positions box",
        start="triclinic",
    ),
    Entry("fix nphug", "fix 1 all nphug temp 1 1 0.1 z 1e5 1e5 0.1\nrun 8", "positions box"),
    Entry("fix flow/gauss", "fix 1 all nve\nfix 2 all flow/gauss 1 0 0\nrun 8"),
    Entry(
        "fix propel/self",
        "fix 1 all nve\nfix 2 all propel/self velocity 0.5\nrun 8",
    ),
)
MASSES = "set type 1 mass 180.95\nset type 2 mass 50.94\nset type 3 mass 183.84\n"
KINDS = (
    Entry(
        "atom_style full, fix efield",
        "set type 1 charge 0.1\nfix 1 all nve\nfix 2 all efield 0.1 0 0\nrun 8",
        start="molecules",
    ),
    Entry(
        "atom_style molecular",
        "fix 1 all nve\nrun 8",
        start="molecules",
        before="atom_style molecular",
    ),
    Entry(
        "atom_style template",
        "bond_style zero\nbond_coeff *\nfix 1 all nve\nrun 8",
        start="molecules",
        before="molecule bent {folder}/template.mol\natom_style template bent",
        has_bonds=False,
    ),
    Entry(
        "atom_style template, special_bonds 0 0 0",
        "special_bonds lj/coul 0 0 0\nfix 1 all nve\nrun 8",
        "",
        start="molecules",
        before="molecule bent {folder}/template.mol\natom_style template bent",
        has_bonds=False,
        verdict=Verdict.REFUSED,
        text="needs bonded neighbors in its neighbor list: a weight of 0",
    ),
    Entry(
        "atom_style sphere, fix nve/sphere",
        MASSES + "fix 1 all nve/sphere\nrun 8",
        start="crystal",
        before="atom_style hybrid charge sphere\natom_modify map array",
    ),
    Entry(
        "atom_style sphere, masses of other atoms",
        "fix 1 all nve/sphere\nrun 5",
        start="crystal",
        before="atom_style hybrid charge sphere\natom_modify map array",
        text="its element in pair_coeff",
    ),
    Entry(
        "atom_style spin, dipole",
        "fix 1 all nve\nrun 5",
        start="crystal",
        before="atom_style hybrid spin dipole\natom_modify map array",
    ),
    Entry(
        "units real",
        "fix 1 all nvt temp 5000 5000 100\nrun 8",
        units="real",
        scale=23.060549,  # kcal/mol per eV, of LAMMPS
    ),
    Entry(
        "units lj",
        "fix 1 all nve\nrun 5",
        "",
        before="units lj",
        verdict=Verdict.REFUSED,
        text="Pair style ictp requires units metal or real, got lj",
    ),
    Entry(
        "isotopes: another mass of one element",
        "mass 1 170\nfix 1 all nve\nrun 5",
    ),
)
