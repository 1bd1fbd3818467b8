# SPDX-License-Identifier: MIT
"""Melting points and stability runs by LAMMPS: the order parameter, phases, how a run breaks."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from pyictp.cli.main import main
from pyictp.errors import UserError
from pyictp.md.lammps import potential_folder
from toys import FragileToy, PairToy, export_toy

pytest.importorskip("phonopy", reason="phonopy is not installed: pip install '.[properties]'")
from pyictp.properties import measure, melting, stability
from pyictp.properties.dynamics import Driver, driver_of

pytestmark = [
    pytest.mark.lammps,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]
COPPER = bulk("Cu", a=3.615, cubic=True)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Run in an empty folder, one thread per process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)
    return tmp_path


def embedded_atom() -> Driver:
    """Return copper by Mishin et al., Phys. Rev. B 63, 224106 (2001)."""
    file = potential_folder() / "Cu_mishin1.eam.alloy"
    return Driver(["Cu"], None, ["pair_style eam/alloy", f"pair_coeff * * {file} Cu"])


def tungsten() -> Atoms:
    """Return a crystal of an element that the toys know."""
    return bulk("W", a=3.3, cubic=True)


def shares(log: Path) -> list[np.ndarray]:
    """Return the column of the share of crystal in each table of a log."""
    tables = re.findall(r"^ *Step .*c_crystal *\n((?: *\d.*\n)+)", log.read_text(), re.M)
    return [np.array([float(row.split()[-1]) for row in text.splitlines()]) for text in tables]


@pytest.mark.parametrize("by", ["embedded atom", "model"])
def test_a_crystal_is_crystal_and_one_phase_alone_is_no_melting_point(by, root, monkeypatch):
    """So short a run melts nothing: its last part ends at once."""
    monkeypatch.setattr(melting, "ROUNDS", 1)
    told: list[str] = []
    driver = embedded_atom()
    if by == "model":
        driver = driver_of(str(root / "models" / "cu" / "model.pt"), COPPER, Path("out"))
    with pytest.raises(UserError, match=r"melting: crystal alone was left in each of 1 runs"):
        melting.melting_point(
            COPPER, driver, 300.0, Path("out"), width=7, duration=0.02, say=told.append
        )
    assert told == [
        "melting: round 1, 64 atoms from 300 K",
        "melting: crystal alone is left of a run from 300 K",
    ]
    alone, heated, _, _, both = shares(Path("out/round_1/log.lammps"))
    assert alone[0] == 1.0
    assert len(alone) == 31
    assert len(both) < 5
    assert heated.min() > 0.9
    deck = Path("out/round_1/in.lammps").read_text()
    assert "cutoff 3.0856" in deck  # between the first and the second shell
    assert 'variable        ordered atom "c_alike > 6"' in deck


def test_a_bracket_is_told_where_no_run_keeps_both_phases(monkeypatch):
    """Crystals that freeze below 1000 K at once, and melt above."""
    started: list[float] = []

    def at_once(*words: object) -> melting.Melting:
        guess = float(words[3])
        started.append(guess)
        shares = np.array([0.5, float(guess < 1000)])
        values = {"times": shares, "temperatures": shares, "shares": shares, "seconds": 0.0}
        told = {"temperature": guess, "error": 1.0, "share": 0.5, "atoms": 64, "guess": guess}
        return melting.Melting(**told, rounds=1, bracketed=False, **values)

    monkeypatch.setattr(melting, "_coexistence", at_once)
    found = melting.melting_point(COPPER, embedded_atom(), 800.0, Path("out"))
    np.testing.assert_allclose(started, [800, 920, 1058, 989, 1023.5])
    assert found.bracketed
    assert found.temperature == pytest.approx((989 + 1023.5) / 2)
    assert found.error == pytest.approx((1023.5 - 989) / 2)
    with pytest.raises(UserError, match="melting: melt alone was left in each of 5 runs"):
        melting.melting_point(COPPER, embedded_atom(), 9000.0, Path("out"))


def test_a_melt_that_tears_is_refused_and_a_drift_is_an_error(monkeypatch):
    """Tables as LAMMPS leaves them: 216 atoms of 11.8 A^3, from 1400 K down to 1000 K."""
    steps, volume = np.arange(100.0), 216 * 3.615**3 / 4
    table = {"Step": steps, "Time": steps, "Temp": 1400.0 - 4 * steps}
    table |= {"c_crystal": np.full(100, 0.5), "Volume": volume * (1 + 0.004 * steps)}
    monkeypatch.setattr(melting, "run_deck", lambda *_, **__: (table, ""))
    monkeypatch.setattr(melting, "seconds_per_step", lambda _: 1e-3)
    found = melting.melting_point(COPPER, embedded_atom(), 1300.0, Path("out"), width=10.8)
    assert found.error == pytest.approx(100)  # between the means of the last two quarters
    table["Volume"] = volume * (1 + 0.01 * steps)
    with pytest.raises(UserError, match=r"the cell grew to 2\.0 times the crystal's volume"):
        melting.melting_point(COPPER, embedded_atom(), 1300.0, Path("out"), width=10.8)


@pytest.mark.long
def test_the_melting_point_of_a_potential_that_is_known():
    found = melting.melting_point(
        COPPER, embedded_atom(), 1330.0, Path("out"), width=10.8, duration=0.4
    )
    assert found.atoms == 216
    assert found.temperature == pytest.approx(1358, rel=0.08)  # as measured; few atoms, a short run
    assert 0 < found.error < 100
    alone, *_, both = shares(Path(f"out/round_{found.rounds}/log.lammps"))
    assert alone.min() > 0.9
    np.testing.assert_allclose(both, found.shares)


def test_a_model_held_while_it_was_heated_and_compressed(export, capsys, monkeypatch):
    for name in ("heating", "compression"):
        short = functools.partial(getattr(stability, name), duration=0.05)
        monkeypatch.setattr(stability, name, short)
    write("w.cif", tungsten())
    words = ["properties", "w.cif", "--of", "stability", "-o", "out", "--beside"]
    words.insert(1, str(export(PairToy)))
    assert main([*words, "ase.calculators.emt.EMT"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"heated to +K +3000 +- +", text)
    assert "stability" in text
    stored = json.loads(Path("out/properties.json").read_text())
    ours, theirs = stored["potentials"]
    assert ours["notes"]["heated to"] == "held to the end"
    assert ours["values"]["compressed to"] == {"value": 100.0, "unit": "GPa"}
    assert theirs["notes"] == {"stability": "none: LAMMPS runs models of this package only"}
    assert np.isfinite(ours["values"]["energy drift on the way"]["value"])
    curve = ours["curves"]["stability"]["heating"]
    assert curve["values"][0] == 300
    assert np.mean(curve["temperatures"][-10:]) > 300
    assert Path("out/stability.png").read_bytes()[:4] == b"\x89PNG"
    assert Path("out/stability/compression/in.lammps").exists()


def test_where_a_run_broke_is_told():
    model = export_toy(Path("fragile.pt"), FragileToy("raise 0"))
    ramp = stability.compression(
        tungsten(), driver_of(str(model), tungsten(), Path("out")), Path("out/run"), duration=1.0
    )
    assert "atoms closer than 0.7 A" in ramp.broke
    assert 0 < ramp.reached < 100
    assert ramp.values[-1] == ramp.reached


def test_where_atoms_left_the_data_is_told():
    toy = PairToy()
    toy.shortest_distances = [2.6] * 9
    driver = driver_of(str(export_toy(Path("close.pt"), toy)), tungsten(), Path("out"))
    ramp = stability.heating(tungsten(), driver, Path("out/run"), duration=0.2)
    assert ramp.broke == ""
    assert ramp.close is not None
    assert 300 <= ramp.close < 3000


def test_a_structure_with_other_elements_is_refused(export):
    with pytest.raises(UserError, match=r"knows Ta V W; the structure also has Cu"):
        measure.measure(COPPER, str(export(PairToy)), ("stability",))
