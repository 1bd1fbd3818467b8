# SPDX-License-Identifier: MIT
"""Commands that narrow, reorder, balance or freeze what a process sees."""

from __future__ import annotations

from audit.entry import Entry, Verdict

MOVED = "atoms were moved to other processes, added or removed since the neighbor list of step 0"
OLD = "the neighbor list is older than it is good for"
HYBRID = """pair_style hybrid/overlay ictp device cpu zero 4.0
pair_coeff * * ictp {model} Ta V W
pair_coeff * * zero"""

EXCLUDE = (
    Entry(
        "neigh_modify exclude type",
        "neigh_modify exclude type 1 2\nfix 1 all nve\nrun 8",
        verdict=Verdict.WARNED,
        text="does not see neighbors between atom types 1 and 2: neigh_modify exclude type",
    ),
    Entry(
        "neigh_modify exclude group of two groups",
        "group some id 1:20\ngroup other id 21:40\nneigh_modify exclude group some other\n"
        "fix 1 all nve\nrun 8",
        verdict=Verdict.WARNED,
        text="does not see neighbors between groups some and other: neigh_modify exclude group",
    ),
    Entry(
        "neigh_modify exclude group of a frozen group with itself",
        "group solid id 1:30\nneigh_modify exclude group solid solid\nfix 1 all nve\n"
        "fix 2 solid setforce 0 0 0\nrun 8",
        verdict=Verdict.WARNED,
        text="does not see neighbors between groups solid and solid",
    ),
    Entry(
        "neigh_modify exclude group X all",
        "group gone id 3 17 40\nneigh_modify exclude group gone all\nfix 1 all nve\nrun 8\n"
        "neigh_modify exclude none\ngroup gone clear\nrun 3",
        without="gone",
    ),
    Entry(
        "neigh_modify exclude molecule/intra",
        "neigh_modify exclude molecule/intra all\nfix 1 all nve\nrun 8",
        start="molecules",
        verdict=Verdict.WARNED,
        text="does not see neighbors between atoms of one molecule in group all",
    ),
    Entry(
        "neigh_modify exclude molecule/inter",
        "neigh_modify exclude molecule/inter all\nfix 1 all nve\nrun 8",
        start="molecules",
        verdict=Verdict.WARNED,
        text="does not see neighbors between atoms of different molecules in group all",
    ),
    Entry(
        "exclusion that comes between runs",
        "fix 1 all nve\nrun 3\nneigh_modify exclude type 1 1\nrun 5",
        verdict=Verdict.WARNED,
        text="does not see neighbors between atom types 1 and 1",
    ),
    Entry(
        "neigh_modify include",
        "group mobile id 1:30\nneigh_modify include mobile\nfix 1 all nve\nrun 5",
        "",
        before="atom_modify first mobile",
        verdict=Verdict.REFUSED,
        text="the model would see only atoms of the group mobile",
    ),
    Entry(
        "comm_modify group",
        "group mobile id 1:30\ncomm_modify group mobile\nfix 1 all nve\nrun 5",
        "",
        before="atom_modify first mobile",
        verdict=Verdict.REFUSED,
        text="the model would see only atoms of the group mobile",
    ),
    Entry(
        "neigh_modify once yes",
        "neigh_modify once yes\nfix 1 all nve\nrun 20",
        verdict=Verdict.WARNED,
        text=OLD,
    ),
    Entry(
        "neigh_modify every 30 delay 30 check no",
        "neigh_modify every 30 delay 30 check no\nfix 1 all nve\nrun 20",
        verdict=Verdict.WARNED,
        text=OLD,
    ),
    Entry(
        "neigh_modify every 1 delay 0 check no",
        "neigh_modify every 1 delay 0 check no\nfix 1 all nve\nrun 10",
    ),
    Entry(
        "run pre no after displace_atoms",
        "neigh_modify delay 10\nfix 1 all nve\nrun 3\ndisplace_atoms all random 0.6 0.6 0.6 1\n"
        "run 3 pre no",
        verdict=Verdict.REFUSED,
        text=MOVED,
    ),
    Entry(
        "run pre no after delete_atoms",
        "neigh_modify delay 10\nfix 1 all nve\nrun 3\ngroup g id 3 17 40\n"
        "delete_atoms group g compress no\nrun 3 pre no",
        verdict=Verdict.REFUSED,
        text=MOVED,
    ),
    Entry(
        "run pre no after balance",
        "neigh_modify delay 10\nfix 1 all nve\nrun 3\nbalance 1.0 x 0.2 0.5\nrun 3 pre no",
        verdict=Verdict.REFUSED,
        text=MOVED,
        before="atom_modify map array\nprocessors * 1 1",
        processes=(3,),
    ),
    Entry(
        "neigh_modify one, page, binsize",
        "neigh_modify one 100 page 1000 binsize 1.7\nfix 1 all nve\nrun 8",
    ),
    Entry(
        "neigh_modify one too small",
        "neigh_modify one 10 page 1000\nfix 1 all nve\nrun 8",
        "",
        verdict=Verdict.LAMMPS,
        text="Neighbor list overflow, boost neigh_modify one",
    ),
    Entry(
        "neigh_modify cluster yes",
        "neigh_modify cluster yes\nfix 1 all nve\nrun 8",
        start="molecules",
    ),
    Entry("neighbor nsq", "neighbor 0.3 nsq\nfix 1 all nve\nrun 8"),
    Entry(
        "neighbor multi, comm_modify mode multi, collections",
        "neighbor 0.3 multi\nneigh_modify collection/type 2 1 2,3\ncomm_modify mode multi\n"
        "fix 1 all nve\nrun 8",
        pair=HYBRID,
    ),
    Entry("neighbor multi/old", "neighbor 0.3 multi/old\nfix 1 all nve\nrun 8"),
    Entry(
        "pair_modify neigh/trim no, shift, table",
        "pair_modify neigh/trim no shift yes table 0\nfix 1 all nve\nrun 5",
        pair=HYBRID,
    ),
    Entry("pair_modify compute no", "pair_modify compute no\nfix 1 all nve\nrun 3", scale=0.0),
)
ORDER = (
    Entry("atom_modify sort", "fix 1 all nve\nrun 15", before="atom_modify sort 2 2.0"),
    Entry(
        "atom_modify sort 0, map hash",
        "fix 1 all nve\nrun 15",
        before="atom_modify map hash sort 0 0",
    ),
    Entry(
        "atom_modify first",
        "group mobile id 1:30\nfix 1 all nve\nrun 8",
        before="atom_modify first mobile",
    ),
    Entry(
        "atom_modify id no",
        "fix 1 all nve\nrun 3",
        "",
        before="atom_modify id no",
        start="flat",
        verdict=Verdict.REFUSED,
        text="Pair style ictp requires atom IDs",
    ),
    Entry(
        "newton off",
        "fix 1 all nve\nrun 3",
        "",
        before="newton off",
        verdict=Verdict.REFUSED,
        text="Pair style ictp requires newton pair on",
    ),
    Entry("newton on off", "fix 1 all nve\nrun 8", before="newton on off", start="molecules"),
    Entry(
        "comm_style tiled, fix balance rcb",
        "fix 1 all nve\nfix 2 all balance 3 1.0 rcb\nrun 15",
        before="comm_style tiled",
        start="droplet",
    ),
    Entry(
        "fix balance shift",
        "fix 1 all nve\nfix 2 all balance 3 1.0 shift xyz 5 1.0\nrun 15",
        start="droplet",
    ),
    Entry(
        "balance, processors, processes without atoms",
        "balance 1.0 x uniform\nfix 1 all nve\nrun 5\nbalance 1.0 shift z 10 1.0\nrun 5",
        before="processors 1 1 *",
        start="slab",
    ),
    Entry("comm_modify cutoff, vel", "comm_modify cutoff 7 vel yes\nfix 1 all nve\nrun 8"),
    Entry(
        "comm_modify cutoff/multi",
        "neighbor 0.3 multi\ncomm_modify mode multi cutoff/multi * 6\nfix 1 all nve\nrun 8",
    ),
    Entry(
        "reset_atoms id sort, ndx2group, group2ndx",
        "group some id 5:9\nfix 1 all nve\nrun 3\ngroup2ndx {folder}/a.ndx some\n"
        "group some clear\nndx2group {folder}/a.ndx some\n"
        "reset_atoms id sort yes\nfix 2 some setforce 0 0 0\nrun 3",
    ),
)
