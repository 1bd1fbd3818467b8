# SPDX-License-Identifier: MIT
"""Commands that add, remove, retype or copy atoms."""

from __future__ import annotations

from audit.entry import Entry, Verdict

WIDE = """pair_style hybrid/overlay ictp device cpu zero 6.5
pair_coeff * * ictp {model} Ta V W
pair_coeff * * zero"""  # LAMMPS makes no bonds longer than the cutoff of pairs

CHANGE = (
    Entry(
        "fix deposit",
        "fix 1 all nve\nregion above block EDGE EDGE EDGE EDGE 15 25\n"
        "fix 2 all deposit 6 2 2 823 region above near 1.0 vz -40 -30\nrun 15",
        "positions number",
        start="slab",
    ),
    Entry(
        "fix evaporate",
        "fix 1 all nve\nregion all block EDGE EDGE EDGE EDGE EDGE EDGE\n"
        "fix 2 all evaporate 3 2 all 99\nrun 12",
        "number",
    ),
    Entry(
        "fix gcmc of atoms, its trials too",
        "fix 1 all nve\nfix 2 all gcmc 2 6 4 2 4711 5000 0.0 0.5 overlap_cutoff 0.5\nrun 10",
        "number",
        start="droplet",
    ),
    Entry(
        "fix gcmc of molecules",
        "comm_modify cutoff 8\ngroup lone molecule 0\nset group lone mol 9\nfix 1 all nve\n"
        "fix 2 all gcmc 2 4 0 0 4711 5000 5.0 0.5 mol bent overlap_cutoff 0.5\nrun 10",
        "number bonds",
        start="molecules",
    ),
    Entry("fix widom", "fix 1 all nve\nfix 2 all widom 2 4 2 4711 5000\nrun 8", start="droplet"),
    Entry(
        "fix atom/swap",
        "fix 1 all nve\nfix 2 all atom/swap 2 6 33 20000 types 1 2 ke no\nrun 10",
        "types",
    ),
    Entry(
        "fix sgcmc",
        "replicate 2 2 2\nfix 1 all nve\nfix 2 all sgcmc 2 0.3 5000 0.1 0.1\nrun 4",
        "types",
        processes=(1,),
    ),
    Entry(
        "fix neighbor/swap",
        "compute v all voronoi/atom neighbors yes\nfix 1 all nve\n"
        "fix 2 all neighbor/swap 2 4 33 20000 3.2 v diff 1\nrun 8",
        "types",
    ),
    Entry(
        "fix mol/swap",
        "fix 1 all nve\nfix 2 all mol/swap 2 6 1 3 33 20000\nrun 8",
        "types",
        start="molecules",
    ),
    Entry(
        "fix charge/regulation, its trials",
        "set type 1 charge 1e-6\nset type 2 charge -1e-6\nfix 1 all nve\n"
        "fix 2 all charge/regulation 2 3 acid_type 3 pH 7 pKa 7 pIp 2 pIm 2 lunit_nm 0.1 "
        "temp 5000 nevery 3 nmc 5 seed 123\nrun 8",
        start="crystal",
        before="atom_style charge",
    ),
    Entry(
        "fix pour of molecules",
        "fix 1 all nve\nregion top block 1 8 1 8 14 26 units box\n"
        "fix 2 all pour 2 2 5 region top\nrun 3",
        start="slab",
        verdict=Verdict.LAMMPS,
        text="Fix pour requires atom attributes radius, rmass",
    ),
    Entry(
        "fix halt of a run that another follows",
        "fix 1 all nve\nvariable s equal step\nfix 2 all halt 1 v_s > 4 error continue\nrun 9\n"
        "run 9",
    ),
    Entry(
        "fix set, fix adapt of charges",
        "fix 1 all nve\nvariable t atom type\nvariable q equal 1e-7*step\n"
        "fix 3 all adapt 2 atom charge v_q\nrun 6",
        "positions charges",
        start="molecules",
    ),
    Entry(
        "fix adapt pair",
        "variable s equal 0.5\nfix 1 all nve\nfix 2 all adapt 2 pair ictp scale * * v_s\nrun 5",
        verdict=Verdict.LAMMPS,
        text="Fix adapt pair style ictp param scale not supported",
    ),
    Entry(
        "set type between runs, also without setup",
        "fix 1 all nve\nrun 3\nset atom 1*9 type 3\nrun 3\nset atom 10*19 type 1\nrun 3 pre no",
        "types",
    ),
    Entry(
        "fix set of types during a run",
        "variable t atom 1+((id+step)%3)\nfix 1 all nve\nfix 2 all set 2 1 group all type v_t\n"
        "run 8",
        "types",
    ),
    Entry(
        "delete_atoms, create_atoms, reset_atoms id",
        "fix 1 all nve\nrun 3\ndelete_atoms overlap 2.3 all all\nrun 3\nreset_atoms id\nrun 3\n"
        "create_atoms 2 random 6 77 NULL overlap 1.5 maxtry 500\nrun 3\ngroup g id 3 7 9\n"
        "delete_atoms group g\nrun 3",
        "number",
    ),
    Entry(
        "delete_atoms compress no, variable and random groups",
        "fix 1 all nve\nrun 2\nvariable far atom x>4\ngroup far dynamic all var far every 2\n"
        "fix 2 far addforce 1 0 0\nrun 6\ngroup far static\n"
        "delete_atoms random count 9 yes far NULL 5 compress no\nrun 3",
        "number",
    ),
    Entry(
        "read_data add append, group ndx",
        "write_data {folder}/a.data\nfix 1 all nve\nrun 2\n"
        "read_data {folder}/a.data add append shift 30 0 0\nrun 3",
        "number",
        start="droplet",
    ),
    Entry(
        "boundary f, lost atoms",
        "change_box all boundary p p f\ngroup top id 1:9\nvelocity top set 0 0 900\n"
        "fix 1 all nve\nthermo_modify lost ignore\nrun 15",
        "number",
        start="slab",
    ),
    Entry(
        "read_dump add, trim, replace",
        "group kept id 1:40\nwrite_dump kept custom {folder}/a.dump id type x y z\n"
        "fix 1 all nve\nrun 2\n"
        "read_dump {folder}/a.dump 0 x y z box yes trim yes replace yes add no\nrun 3",
        "number",
    ),
)
BONDS = (
    Entry("bonds, weights 1", "fix 1 all nve\nrun 10", start="molecules"),
    Entry(
        "bonds, weights 1e-50",
        "special_bonds lj/coul 1e-50 1e-50 0.5\nfix 1 all nve\nrun 10",
        start="molecules",
    ),
    Entry(
        "special_bonds 0 0 0",
        "special_bonds lj/coul 0 0 0\nfix 1 all nve\nrun 10",
        "",
        start="molecules",
        verdict=Verdict.REFUSED,
        text="needs bonded neighbors in its neighbor list: a weight of 0",
    ),
    Entry(
        "special_bonds changed between runs",
        "fix 1 all nve\nrun 3\nspecial_bonds lj/coul 1 0 1\nrun 3",
        "",
        start="molecules",
        verdict=Verdict.REFUSED,
        text="needs bonded neighbors in its neighbor list: a weight of 0",
    ),
    Entry(
        "special_bonds lj 0 0 0 coul 1 1 1",
        "special_bonds lj 0 0 0 coul 1 1 1\nfix 1 all nve\nrun 3",
        start="molecules",
    ),
    Entry(
        "fix bond/create",
        "fix 1 all nve\ncomm_modify cutoff 8\nfix 2 all bond/create 1 2 3 5.0 1\nrun 6",
        "positions bonds",
        pair=WIDE,
        start="molecules",
    ),
    Entry(
        "fix bond/create, weight 0",
        "delete_bonds all bond 1 remove special\nspecial_bonds lj/coul 0 1 1\nfix 1 all nve\n"
        "fix 2 all bond/create 2 1 2 3.0 1\nrun 6",
        "",
        start="molecules",
        verdict=Verdict.REFUSED,
        text="needs bonded neighbors in its neighbor list: a weight of 0",
    ),
    Entry(
        "fix bond/break",
        "fix 1 all nve\nfix 2 all bond/break 1 1 2.35\nrun 10",
        "positions bonds",
        start="molecules",
    ),
    Entry(
        "fix bond/swap",
        "fix 1 all nve\nfix 2 all bond/swap 2 1.0 5 77\nrun 6",
        "",
        start="molecules",
        verdict=Verdict.LAMMPS,
        text="Pair style does not support fix bond/swap",
    ),
    Entry(
        "fix bond/react",
        "molecule broken {folder}/broken.mol\ncomm_modify cutoff 8\nfix 1 all nve\n"
        "fix 2 all bond/react react r all 1 0 3 bent broken {folder}/reaction.map\nrun 6",
        "positions bonds types",
        start="molecules",
    ),
    Entry(
        "create_bonds, delete_bonds",
        "fix 1 all nve\nrun 3\nspecial_bonds lj/coul 0 1 1\ncreate_bonds many all all 2 2.5 4.0\n"
        "special_bonds lj/coul 1 1 1\n"
        "run 3\ncreate_bonds single/bond 2 1 2\nrun 3\ndelete_bonds all bond 2 remove special\n"
        "run 3",
        "bonds",
        pair=WIDE,
        start="molecules",
    ),
    Entry(
        "fix deposit of molecules",
        "fix 1 all nve\nregion m block 2 9 2 9 2 9\ncomm_modify cutoff 8\n"
        "fix 2 all deposit 2 0 2 12345 region m mol bent near 0.5\nrun 8",
        "number bonds",
        start="molecules",
    ),
    Entry(
        "fix deposit of molecules, weight 0",
        "delete_bonds all bond 1 remove special\nspecial_bonds lj/coul 0 1 1\nfix 1 all nve\n"
        "region m block 2 9 2 9 2 9\ncomm_modify cutoff 8\n"
        "fix 2 all deposit 2 0 2 12345 region m mol bent near 0.5\nrun 8",
        "",
        start="molecules",
        verdict=Verdict.REFUSED,
        text="needs bonded neighbors in its neighbor list: a weight of 0",
    ),
    Entry(
        "reset_atoms mol, image; replicate of molecules",
        "fix 1 all nve\nrun 3\nunfix 1\nreset_atoms mol all\nreset_atoms image all\n"
        "replicate 1 2 1\nfix 1 all nve\nrun 3",
        "number bonds box",
        start="molecules",
    ),
)
