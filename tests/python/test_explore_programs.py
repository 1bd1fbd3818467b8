# SPDX-License-Identifier: MIT
"""Labels by VASP, Quantum ESPRESSO, CP2K and ORCA: templates, input files, programs, outputs.

The programs are those of stand_ins.py, which know their formats; what comes back is compared with
EMT on the structure that was given.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stand_ins
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from pyictp.cli import explore as command
from pyictp.cli.main import main
from pyictp.explore.programs import PROGRAMS
from pyictp.explore.settings import ExploreConfig, load_settings
from pyictp.labelling.label_pool import files_of, label, label_structures, prepare, write_note
from pyictp.labelling.labellers import make_labeller
from pyictp.labelling.settings import LabellerConfig

STRESS = ("vasp", "espresso", "cp2k")


def structures(program: str) -> list[Atoms]:
    """Return two structures as the template is for, of more than one element where it may be."""
    found = []
    for seed in range(2):
        if program in ("cp2k", "orca"):
            atoms = molecule("CH3OH")
            if program == "cp2k":
                atoms.set_cell([[5.0, 0.0, 0.0], [0.5, 6.0, 0.0], [0.0, 0.3, 5.5]])
                atoms.pbc = True
        else:
            atoms = bulk("Cu", cubic=True)
            if program == "vasp":
                atoms.symbols[:] = ["Cu", "Ni", "Cu", "Ni"]  # VASP wants them sorted
            atoms.set_cell(atoms.cell @ [[1, 0.02, 0], [0, 1.01, 0], [0, 0, 1]])
        atoms.rattle(0.1, seed=seed)
        found.append(atoms)
    return found


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the empty folder of a user, with programs on the PATH, pseudopotentials beside."""
    programs = stand_ins.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VASP_PP_PATH", str(stand_ins.potentials(tmp_path, "Cu", "Ni")))
    folder = tmp_path / "user"
    (folder / "pseudo").mkdir(parents=True)
    (folder / "pseudo" / "Cu.upf").touch()
    monkeypatch.chdir(folder)
    return folder


def template(program: str, place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Write what `ictp explore --template` prints, with this machine's ORCA, and structures."""
    with pytest.raises(SystemExit) as stop:
        main(["explore", "--template", program])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    path = place / f"{program}.yaml"
    path.write_text(text.replace("/opt/orca/orca", str(place.parent / "bin" / "orca")))
    write(place / "start.extxyz", structures(program))
    return path


def labels(
    program: str, given: list[Atoms], settings: LabellerConfig
) -> tuple[list[Atoms], list[tuple[int, str]]]:
    """Label as the loop does; in this process where ASE warns of nothing, which saves seconds."""
    if program in ("espresso", "cp2k"):
        prepare(Path("labels"), settings)
        labeller = make_labeller(settings)
        for index, atoms in enumerate(given):
            target, note = files_of(Path("labels"), index)
            reason = label(labeller, atoms, target)
            if reason is not None:
                write_note(note, reason)
    return label_structures(given, replace(settings, processes=2), Path("labels"))


def test_the_command_knows_all_templates():
    assert set(command.PROGRAMS) == set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_labels_are_those_of_the_program(program, place, capsys):
    config = load_settings(template(program, place, capsys))
    given = structures(program)
    found, failed = labels(program, given, config.labeller)
    assert failed == []
    for atoms, labelled in zip(given, found, strict=True):
        atoms.calc = EMT()
        # the free energy, which VASP's energy without smearing is 0.125 eV above
        assert labelled.get_potential_energy() == pytest.approx(
            atoms.get_potential_energy(), abs=2e-7
        )
        np.testing.assert_allclose(labelled.get_forces(), atoms.get_forces(), atol=1e-6)
        assert ("stress" in labelled.calc.results) == (program in STRESS)
        if program in STRESS:
            assert np.abs(atoms.get_stress()).max() > 0.001
            np.testing.assert_allclose(labelled.get_stress(), atoms.get_stress(), atol=2e-6)
    names = {path.name for path in Path("labels").iterdir()}
    assert names == {"0000.extxyz", "0001.extxyz", "labeller.json"}
    assert {path.name for path in place.iterdir()} == {
        *(f"{program}.yaml", "labels", "pseudo", "start.extxyz")
    }


@pytest.mark.lammps
@pytest.mark.parametrize(
    "program", ["orca", *(pytest.param(p, marks=pytest.mark.long) for p in STRESS)]
)
def test_a_dry_run_of_a_template(program, place, capsys):
    path = template(program, place, capsys)
    assert main(["explore", str(path), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "start      2 frames (0 with labels)" in text
    assert "dynamics   4 runs" in text
    assert {path.name for path in place.iterdir()} == {f"{program}.yaml", "pseudo", "start.extxyz"}


FAILURES = {
    "vasp": (
        {"nelm": 1},
        "the electronic steps did not converge: more steps, or other mixing (see 'labels/",
    ),
    "espresso": (
        {"input_data": {"electrons": {"electron_maxstep": 1}}},
        "returned non-zero exit status 2. (see 'labels/0000_failed')",
    ),
    "orca": ({"orcasimpleinput": "PBE def2-SVP"}, "forces not present in this calculation (see '"),
}


@pytest.mark.parametrize("program", FAILURES)
def test_what_goes_wrong_is_one_line(program, place, capsys):
    config = load_settings(template(program, place, capsys))
    changes, told = FAILURES[program]
    settings = replace(config.labeller, arguments={**config.labeller.arguments, **changes})
    found, ((index, reason),) = labels(program, structures(program)[:1], settings)
    assert (found, index) == ([], 0)
    assert told in reason
    assert "\n" not in reason
    assert (Path("labels") / "0000_failed").is_dir()


@pytest.mark.lammps
def test_a_program_that_is_not_there_is_one_line(place, capsys):
    path = template("cp2k", place, capsys)
    path.write_text(path.read_text().replace("mpirun -n 16 cp2k_shell.psmp", "none -n 16"))
    assert main(["explore", str(path), "--dry-run"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: labeller: ase.calculators.cp2k.CP2K does not start: ")
    assert error.endswith("(no program 'none' on the PATH)\n")


def test_files_of_arguments_are_looked_up_beside_the_configuration(place, capsys, monkeypatch):
    path = template("espresso", place, capsys)
    monkeypatch.chdir(place.parent)
    profile = load_settings(path).labeller.arguments["profile"]
    assert profile == {"command": "mpirun -n 16 pw.x", "pseudo_dir": str(place / "pseudo")}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_template_is_a_whole_configuration(program, place, capsys):
    """Every key that is shown but left out is one that may be there."""
    text = template(program, place, capsys).read_text()
    lines = [
        line.replace("# ", "", 1) if line.startswith("  # ") else line for line in text.splitlines()
    ]
    (place / "job.sh").touch()
    write(place / "test.extxyz", structures(program))
    (place / "all.yaml").write_text("\n".join(lines))
    config = load_settings(place / "all.yaml")
    assert config.labeller.slurm == str(place / "job.sh")
    assert config.explore.test == (str(place / "test.extxyz"),)
    assert set(yaml.safe_load(text)) <= set(ExploreConfig.__dataclass_fields__)
