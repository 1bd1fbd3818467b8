# SPDX-License-Identifier: MIT
"""Kinds of runs, partitions, other styles beside the model, atom styles."""

from __future__ import annotations

from audit.entry import Entry, Verdict
from audit.lists import HYBRID

NULL = """pair_style hybrid/overlay ictp device cpu lj/cut 5.0
pair_coeff * * ictp {model} Ta NULL W
pair_coeff 1 2 lj/cut 0.01 2.5
pair_coeff 2 2 lj/cut 0.01 2.5
pair_coeff 2 3 lj/cut 0.01 2.5"""
THREE = {"processes": (3,), "arguments": ("-partition", "3x1")}

RUN = (
    Entry(
        "run every, upto, pre no post no, start stop",
        'fix 1 all nve\nrun 6 every 2 "print hello"\nrun 9 upto\nrun 3 pre no post no\n'
        "run 3 start 0 stop 20",
    ),
    Entry(
        "run_style respa",
        "run_style respa 2 2 bond 1 pair 1\nfix 1 all nve\nrun 2\nrun 2\nrun 2",
        each_run=True,
    ),
    Entry(
        "run_style respa inner outer",
        "run_style respa 2 2 inner 1 2.0 3.0 outer 2\nfix 1 all nve\nrun 2",
        "",
        verdict=Verdict.LAMMPS,
        text="Pair style does not support rRESPA inner/middle/outer",
    ),
    Entry(
        "rerun",
        "dump 1 all custom 2 {folder}/a.dump id type x y z\ndump_modify 1 format float %.17g\n"
        "fix 1 all nve\nrun 8\n"
        "undump 1\nunfix 1\nrerun {folder}/a.dump dump x y z",
    ),
    Entry(
        "rerun of a dump with scaled positions, other types, box",
        "dump 1 all custom 2 {folder}/a.dump id type xs ys zs\nfix 1 all nve\n"
        "fix 2 all deform 1 x erate 5\nrun 8\n"
        "undump 1\nunfix 1\nunfix 2\nset group all type 2\n"
        "rerun {folder}/a.dump first 2 dump x y z box yes scaled yes",
        "positions box types",
    ),
    Entry(
        "write_restart, read_restart",
        "fix 1 all nve\nrun 4\nwrite_restart {folder}/a.restart\nclear\nplugin load {plugin}\n"
        "read_restart {folder}/a.restart\n" + "{pair}\nneighbor 0.2 bin\nfix 1 all nve\nrun 4",
    ),
    Entry("minimize cg", "minimize 0 1e-6 8 40"),
    Entry(
        "minimize fire, quickmin, sd, hftn",
        "min_style fire\nminimize 0 1e-6 5 10\nmin_style quickmin\nminimize 0 1e-6 5 10\n"
        "min_style sd\nminimize 0 1e-6 3 10\n"
        "min_style hftn\nminimize 0 1e-6 3 20",
    ),
    Entry(
        "dynamical_matrix",
        "group some id 1:2\ndynamical_matrix some regular 1e-4 file {folder}/d.dat",
        "",
    ),
    Entry(
        "compute group/group, rdf, coord/atom beside it",
        "group some id 1:9\ncompute r all rdf 10 cutoff 3\ncompute c all coord/atom cutoff 3\n"
        "compute m all reduce max c_c\n"
        "fix 2 all ave/time 1 2 2 c_r[*] mode vector\nfix 3 all ave/atom 1 2 2 c_c\n"
        "fix 1 all nve\nrun 8",
        pair=HYBRID,
    ),
    Entry(
        "compute group/group",
        "group some id 1:9\ncompute g some group/group all\nfix 2 all ave/time 1 1 1 c_g\n"
        "fix 1 all nve\nrun 3",
        "",
        verdict=Verdict.LAMMPS,
        text="Pair style does not support compute group/group",
    ),
    Entry(
        "neb",
        "fix 1 all neb 1.0\nmin_style quickmin\nneb 0 0.01 4 4 2 final {folder}/final.txt",
        **THREE,
    ),
    Entry(
        "temper",
        "variable t world 3000 4000 5000\nfix 1 all nvt temp $t $t 0.1\ntemper 8 4 $t 1 3 5",
        **THREE,
    ),
    Entry(
        "prd",
        "compute e all event/displace 0.5\nfix 1 all nve\nmin_style cg\n"
        "prd 6 2 1 2 2 e 4711 temp 3000 min 1e-3 1e-3 5 10",
        **THREE,
        before="atom_modify map array sort 0 0",
    ),
    Entry(
        "tad",
        "compute e all event/displace 0.5\nfix 1 all nve\nfix 2 all langevin 3000 3000 0.05 7\n"
        "tad 4 2 300 3000 0.01 0.1 e min 1e-3 1e-3 5 10 neb 0 0.01 4 4 2 neb_style quickmin",
        **THREE,
        before="atom_modify map array sort 0 0",
    ),
    Entry(
        "hyper",
        "compute e all event/displace 0.5\nfix 1 all nve\n"
        "fix 2 all hyper/global 3.2 0.1 0.1 500\nhyper 4 2 2 e min 1e-3 1e-3 5 10",
        has_pure_forces=False,
    ),
    Entry(
        "-suffix omp",
        "fix 1 all nve\nrun 8",
        arguments=("-sf", "omp", "-pk", "omp", "1"),
        pair=HYBRID,
    ),
    Entry(
        "package omp 2",
        "fix 1 all nvt temp 5000 5000 0.1\nrun 8",
        arguments=("-sf", "omp", "-pk", "omp", "2"),
        processes=(1,),
    ),
    Entry("-suffix opt", "fix 1 all nve\nrun 5", arguments=("-sf", "opt")),
    Entry(
        "timestep, reset_timestep, fix dt/reset",
        "fix 1 all nve\nrun 3\nreset_timestep 100\nfix 2 all dt/reset 1 1e-4 1e-2 0.02\nrun 6",
    ),
)
BESIDE = (
    Entry(
        "hybrid/overlay with lj/cut, NULL types",
        "fix 1 all nve\nrun 10",
        pair=NULL,
        lennard_jones=((1, 2), (2, 2), (2, 3)),
    ),
    Entry(
        "hybrid/overlay, NULL becomes an element between two lists",
        "fix 1 all nve\nrun 3\nset type 2 type 1\nrun 2 pre no",
        "",
        pair=NULL,
        lennard_jones=((1, 2), (2, 2), (2, 3)),
        verdict=Verdict.REFUSED,
        text="changed from type 2 to 1 between two neighbor lists",
    ),
    Entry(
        "hybrid/overlay, fix atom/swap of NULL and an element",
        "fix 1 all nve\nfix 2 all atom/swap 2 6 33 20000 types 1 2 ke no\nrun 8",
        "",
        pair=NULL,
        verdict=Verdict.LAMMPS,
        text="substyles for atom types 1 and 2 are not compatible",
    ),
    Entry(
        "hybrid, pairs given to another style",
        "fix 1 all nve\nrun 5",
        pair=(
            "pair_style hybrid ictp device cpu lj/cut 5.0\npair_coeff * * ictp {model} Ta V W\n"
            "pair_coeff 1 2 lj/cut 0.01 2.5"
        ),
        verdict=Verdict.WARNED,
        text="does not see neighbors between atom types 1 and 2: pair_style hybrid",
    ),
    Entry(
        "hybrid/scaled",
        "fix 1 all nve\nrun 5",
        scale=0.5,
        pair=(
            "pair_style hybrid/scaled 0.5 ictp device cpu 1.0 zero 4.0\n"
            "pair_coeff * * ictp {model} Ta V W\npair_coeff * * zero"
        ),
    ),
    Entry(
        "hybrid/molecular",
        "fix 1 all nve\nrun 5",
        start="molecules",
        pair=(
            "pair_style hybrid/molecular ictp device cpu zero 4.0\n"
            "pair_coeff * * ictp {model} Ta V W\npair_coeff * * zero"
        ),
        verdict=Verdict.LAMMPS,
        text="hybrid/molecular is not compatible with manybody potentials",
    ),
    Entry(
        "kspace_style pppm",
        "set type 1 charge 1e-6\nset type 2 charge -1e-6\nkspace_style pppm 1e-4\nfix 1 all nve\n"
        "run 5",
        start="molecules",
        pair=(
            "pair_style hybrid/overlay ictp device cpu coul/long 5.0\n"
            "pair_coeff * * ictp {model} Ta V W\npair_coeff * * coul/long"
        ),
    ),
    Entry(
        "fix qeq/point, charges",
        "set type 1 charge 1e-7\nfix 1 all nve\n"
        "fix 2 all qeq/point 1 5 1e-6 50 {folder}/qeq.txt\nrun 5",
        "positions charges",
        start="molecules",
    ),
    Entry(
        "types of one element",
        "fix 1 all nve\nrun 5",
        pair="pair_style ictp device cpu\npair_coeff * * {model} Ta Ta W",
        text="atom type 2 has mass 50.94, but Ta",
    ),
    Entry(
        "elements in the wrong order",
        "fix 1 all nve\nrun 5",
        pair="pair_style ictp device cpu\npair_coeff * * {model} V Ta W",
        text="its element in pair_coeff",
    ),
)
