# SPDX-License-Identifier: MIT
"""What decks begin with: units, box, atoms with the masses of their elements."""

from __future__ import annotations

from pathlib import Path

from deck import write_data
from structures import STRUCTURES, lattice, sheared

from audit.entry import Entry

MASSES = "mass 1 180.95\nmass 2 50.94\nmass 3 183.84"
MOLECULE = """# three atoms, two bonds

3 atoms
2 bonds

Coords

1 2.2 0.1 0
2 0 0 0
3 -0.7 2.1 0.1

Types

1 1
2 2
3 3

Bonds

1 1 1 2
2 1 2 3
"""
BROKEN = MOLECULE.replace("2 bonds", "1 bonds").replace("1 1 1 2\n2 1 2 3", "1 1 2 3")
BROKEN = BROKEN.replace("Types\n\n1 1", "Types\n\n1 3")  # and another type
REACTION = """# a bond breaks

3 equivalences

InitiatorIDs

1
2

Equivalences

1 1
2 2
3 3
"""
TEMPLATE = (
    MOLECULE
    + """
Special Bond Counts

1 1 1 0
2 2 0 0
3 1 1 0

Special Bonds

1 2 3
2 1 3
3 2 1
"""
)
FILES = {
    "bent.mol": MOLECULE,
    "template.mol": TEMPLATE,
    "broken.mol": BROKEN,
    "reaction.map": REACTION,
    "qeq.txt": "1 0.1 10 0 0 0\n2 -0.1 10 0 0 0\n3 0.05 10 0 0 0\n",
    "final.txt": "1\n1 1.4 1.2 1.6\n",
}
READ = {
    "bulk": STRUCTURES["bulk"],
    "triclinic": sheared(lattice((3, 3, 3), 2.9, seed=1)),
    "small cell": STRUCTURES["cell below the cutoff"],
    "slab": STRUCTURES["slab"],
    "droplet": STRUCTURES["droplet"],
}
FLAT = f"""dimension 2
boundary p p p
atom_style atomic
lattice sq 2.7
region box block 0 6 0 6 -0.2 0.2
create_box 3 box
create_atoms 1 box
set group all type/ratio 2 0.4 77
set type 1 type/ratio 3 0.5 78
displace_atoms all random 0.1 0.1 0 5
{MASSES}"""
CRYSTAL = f"""boundary p p p
lattice bcc 2.9
region box block 0 3 0 3 0 3
create_box 3 box
create_atoms 1 box
set group all type/ratio 2 0.4 77
set type 1 type/ratio 3 0.5 78
displace_atoms all random 0.1 0.1 0.1 5
{MASSES}"""
CENTERS = [(a, b, c) for a in (2.5, 8.0) for b in (2.5, 8.0) for c in (2.5, 8.0)]
MOLECULES = "\n".join(
    [
        "boundary p p p",
        "atom_style full",
        "region box block 0 11 0 11 0 11",
        "create_box 3 box bond/types 2 extra/bond/per/atom 6 extra/special/per/atom 40",
        MASSES,
        "molecule bent {folder}/bent.mol",
        *(
            f"create_atoms 0 single {a} {b} {c} mol bent {k + 7} rotate {37 * k} 1 {k} 2"
            for k, (a, b, c) in enumerate(CENTERS)
        ),
        *(f"create_atoms 3 single {0.95 * a + 3} {b + 2.7} {c + 2.5}" for a, b, c in CENTERS[::2]),
        "bond_style harmonic",
        "bond_coeff * 2.0 2.2",
        "special_bonds lj/coul 1 1 1",
    ]
)
TEXTS = {"flat": FLAT, "crystal": CRYSTAL, "molecules": MOLECULES}


def start_lines(entry: Entry, folder: Path) -> list[str]:
    """Return the lines of an entry's start; writes the files that they read."""
    for file, text in FILES.items():
        (folder / file).write_text(text)
    before = [f"units {entry.units}", *entry.before.splitlines()]
    if entry.start in TEXTS:
        given = {line.split()[0] for line in before}
        return [*before, *(t for t in TEXTS[entry.start].splitlines() if t.split()[0] not in given)]
    structure = READ[entry.start]
    write_data(folder / "start.data", structure)
    boundary = " ".join("p" if periodic else "f" for periodic in structure.pbc)
    read = f"read_data {folder / 'start.data'}"
    return [f"boundary {boundary}", *before, read, *MASSES.splitlines()]
