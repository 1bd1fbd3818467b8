# SPDX-License-Identifier: MIT
"""The blocks of commands in README.md and docs/, and who runs each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
# README.md has the last
LANGUAGES = ("bash", "console", "python", "lammps", "yaml", "xml", "indented")
SCRIPTS = (
    "docs/tutorial.md",
    "docs/uncertainty.md",
    "docs/howto/",
)  # run from the first block to the last: test_pages.py
# blocks of any page that begin like this change the machine: never run
INSTALLS = ("make setup", "make demo", "make bench", "pip ", "PIP_", "docker ")

# page, first words of the block, and the test that runs it, or why none does
ELSEWHERE = (
    ("README.md", "pair_style ictp", "tests/lammps/test_documentation.py"),
    ("docs/developing.md", "", "tests/docs/test_developing.py"),
    ("docs/install.md", "cmake -S", "tests/cpp/test_source_tree.py"),
    ("docs/pair_style.md", "", "tests/lammps/test_documentation.py"),
    ("docs/scaling.md", "comm_style tiled", "tests/lammps/test_documentation.py"),
    ("docs/training.md", "torchrun", "tests/python/test_parallel_training.py"),
    ("docs/training.md", "# subtract_d3.py", "tests/lammps/test_dispersion.py"),
    ("docs/explore.md", "export LAMMPS_POTENTIALS", "tests/lammps/test_explore_restart.py"),
    ("docs/explore.md", "# Silicon", "tests/lammps/test_explore_restart.py"),
    ("docs/explore.md", "labeller:", "tests/python/test_explore_settings.py"),
    ("docs/pretraining.md", "# pretrain.yaml", "tests/python/test_pretrain_structures.py"),
    ("docs/pretraining.md", "labeller:", "tests/python/test_pretrain_structures.py"),
    ("docs/properties.md", "$ ase build", "tests/python/test_properties.py"),
    ("docs/engines.md", "", "tests/docs/test_engines.py"),
    ("docs/clusters.md", "restart ", "tests/docs/test_clusters.py"),
    ("docs/interop.md", "$ python docs/interop/", "tests/python/test_interop_scripts.py"),
    ("docs/interop.md", "$ ictp import ckpt_100/", "tests/python/test_upstream.py"),
)
NOT_RUN = (
    ("docs/pretraining.md", "ictp pretrain", "half an hour, by tblite, some on data not shipped"),
    ("docs/pretraining.md", "ictp evaluate", "an hour of training before"),
    ("docs/accuracy.md", "ictp train configs/acac.yaml", "an hour, on data that are not shipped"),
    ("docs/water.md", "ictp train docs/water/train.yaml", "an hour, on data that are not shipped"),
    ("docs/howto/sevennet.md", "python benchmarks/", "a benchmark of minutes, and needs sevenn"),
    ("docs/scaling.md", "python benchmarks/scaling.py", "a benchmark of several minutes"),
    ("docs/uncertainty.md", "OMP_NUM_THREADS=1 python benchmarks/", "a benchmark of many minutes"),
    (
        "docs/properties.md",
        "ictp properties",
        "minutes; tests/lammps/test_hot_properties.py runs less of it",
    ),
    ("docs/gpu.md", "", "a GPU; tests/lammps/test_gpu.py runs LAMMPS where there is one"),
    ("docs/clusters.md", "python3 -m venv", "installs: tests/python/test_packaging.py does"),
    ("docs/clusters.md", "sbatch", "tests/docs/test_clusters.py runs its script, on one node"),
    ("docs/clusters.md", "for job", "a cluster; tests/docs/test_clusters.py checks its script"),
    ("docs/clusters.md", "module purge", "modules of a cluster; .ci/own-lammps has its commands"),
)


@dataclass(frozen=True)
class Block:
    """A block of a page: where it is, its language and its text."""

    page: str  # relative to the project's folder
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Return page, line and first words: the name of a test."""
        return f"{self.page}:{self.line} {self.text.splitlines()[0][:40].strip()}"

    @property
    def owner(self) -> str | None:
        """Return the test that runs this block or the reason why none does; None: test_pages.py."""
        if self.text.startswith(INSTALLS):
            return "installs, compiles or takes a quarter of an hour"
        for page, start, owner in ELSEWHERE + NOT_RUN:
            if self.page == page and self.text.startswith(start):
                return owner
        return None


def blocks_of(path: Path) -> list[Block]:
    """Return all blocks of a page but the directives of the site."""
    page = path.relative_to(ROOT).as_posix()
    found = []
    for token in MarkdownIt("commonmark").parse(path.read_text()):
        if token.type in ("fence", "code_block") and not token.info.startswith("{"):
            language = "indented" if token.type == "code_block" else token.info.strip()
            found.append(Block(page, token.map[0] + 1, language, token.content))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [block for block in BLOCKS if block.language in LANGUAGES]


def blocks_run_by(test: str, *languages: str) -> list[str]:
    """Return the texts in some languages that a test has to run."""
    return [b.text for b in COMMANDS if b.owner == test and b.language in languages]
