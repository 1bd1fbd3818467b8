# SPDX-License-Identifier: MIT
"""From a structure and a model to a folder of results of LAMMPS."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyictp.common.files import atomic_path, locked, writing
from pyictp.common.progress import logger
from pyictp.errors import UserError
from pyictp.md.settings import SAMPLED, Request, Settings, resolve, with_samples

if TYPE_CHECKING:
    from pyictp.md.structure import Placed

DECK, DATA, MODEL = "in.lammps", "structure.data", "model.pt"


def run_md(
    structure: str,
    model: str,
    request: Request,
    output: Path,
    *,
    overwrite: bool = False,
    processes: int = 1,
    lmp: str | None = None,
    only_write: bool = False,
    say: Callable[[str], None],
    quiet: bool = False,
) -> int:
    """Run a structure in LAMMPS with a model; return 0, 130 after Ctrl-C or 143 after SIGTERM.

    Args:
        structure: file that ASE reads, FILE@INDEX, or the folder of a run, to go on from its end.
        model: exported file, training folder or checkpoint.
        request: the run.
        output: folder of all that comes of it.
        overwrite: replace a run that is there.
        processes: of MPI.
        lmp: LAMMPS to run; None: the installed one.
        only_write: write deck, structure and model, run nothing.
        say: takes lines for people.
        quiet: say results, and no progress.

    Raises:
        UserError: request, structure and model do not go together, or LAMMPS ends with an error.
    """
    from pyictp.md.lammps import lammps_command
    from pyictp.md.structure import check_elements, end_of_run, place, read_structure

    end = end_of_run(structure)
    atoms = read_structure(end or structure)
    settings = resolve(request, atoms, continued=end is not None)
    placed = place(atoms, structure)
    command = [] if only_write else lammps_command(lmp, processes)
    described = _describe_model(model)
    settings = with_samples(settings, request, described["samples"], model)
    elements = check_elements(atoms, described["elements"], model)
    with locked(output, "another ictp md"):
        _prepare(output, overwrite)
        with writing(output):
            placed.write_data(output / DATA, elements, settings.continued)
        lines = [
            f"structure  {structure}: {_describe(placed)}",
            f"model      {place_model(model, output / MODEL)}",
            f"run        {settings.describe()}",
        ]
        if not quiet:
            say("\n".join(lines))
        if settings.pressure is not None:
            warn_of_unlearned_stress(described["provenances"])
        if placed.ignored:
            logger.warning("constraints %s are ignored: only FixAtoms is known", placed.ignored)
        _write_deck(output / DECK, settings, elements, placed, Path(structure).name)
        if only_write:
            say(f"wrote '{output / DECK}', which says how to run it")
            return 0
        if not quiet:
            say(f"LAMMPS     {' '.join([*(Path(w).name for w in command), '-in', DECK])}")
        status = _run_lammps(command, output, settings, quiet)
        if status:
            say("interrupted: LAMMPS is ended, looking at what is there")
        asked = {"structure": structure, "model": model}
        result = _conclude(output, asked, settings, placed, status != 0, processes)
        say("\n".join(_lines(result)))
        made = sorted(path.name for path in output.glob("*.png"))
        say(f"wrote '{output}': summary.json, {', '.join([*made, 'final.extxyz'])}")
        return status


def _write_deck(
    path: Path, settings: Settings, elements: Sequence[str], placed: Placed, name: str
) -> None:
    from pyictp.md.deck import render

    text = render(settings, elements, placed.boundary, name, np.flatnonzero(placed.fixed))
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def warn_of_unlearned_stress(provenances: Sequence[Mapping[str, Any]]) -> None:
    """Warn of a pressure from models that were trained, but not on stresses.

    Args:
        provenances: of all models of a file; those that do not say pass.
    """
    known = [one["trained_on"] for one in provenances if one.get("trained_on") is not None]
    for labels in known:
        if "stress" not in labels:
            logger.warning(
                "constant pressure: expected a model that was trained on stresses, this one was on "
                "%s alone: its pressure may be off by GPa; train with training.stress_weight above "
                "0, or keep the cell (nvt)",
                " and ".join(labels),
            )
            return


def _describe_model(model: str) -> dict[str, Any]:
    """Return the elements of a model, and what its exported file can say of its uncertainty."""
    from pyictp.potential.checkpoint import is_exported, load_checkpoint, resolve_path
    from pyictp.potential.describe import describe
    from pyictp.potential.extrapolation import grade_of

    described, path = describe(model), resolve_path(model)
    if is_exported(path):
        there = (described["num_models"] > 1, described["has_grade"])
    else:
        there = (False, grade_of(load_checkpoint(path)) is not None)
    samples = [name for name, given in zip(SAMPLED, there, strict=True) if given]
    provenances = [described, *described.get("other_models", ())]
    return {
        "elements": described["elements"],
        "samples": samples,
        "provenances": [one.get("provenance", {}) for one in provenances],
    }


def place_model(model: str, target: Path) -> str:
    """Put the exported file into a folder; return where it came from."""
    from pyictp.potential.checkpoint import is_exported, load_checkpoint, resolve_path
    from pyictp.potential.runs import export_runs

    source = resolve_path(model)
    if not is_exported(source):
        export_runs([load_checkpoint(source)], target)
        return f"{source}, exported to '{target}' (float32)"
    if not (target.exists() and target.samefile(source)):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return f"{source}, copied to '{target}'"


def _describe(placed: Placed) -> str:
    atoms = placed.original
    lengths = " x ".join(f"{length:.2f}" for length in atoms.cell.lengths())
    cell = f", cell {lengths} A" if atoms.pbc.any() else ""
    held = f", {placed.fixed.sum()} of them fixed" if placed.fixed.any() else ""
    return (
        f"{len(atoms)} atoms {atoms.get_chemical_formula()}{cell}, boundary {placed.boundary}{held}"
    )


def _prepare(folder: Path, overwrite: bool) -> None:
    from pyictp.md.results import OUTPUTS

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        there = [folder / name for name in (DECK, DATA, *OUTPUTS) if (folder / name).exists()]
        if there and not overwrite:
            raise UserError(
                f"'{there[0]}' exists already: choose another folder with -o, or --overwrite"
            )
        for path in there:
            path.unlink()


def _run_lammps(command: list[str], folder: Path, settings: Settings, quiet: bool) -> int:
    """Run the deck with a progress bar; return 0, 130 if Ctrl-C ended it, 143 if SIGTERM did."""
    from pyictp.common.progress import Counter
    from pyictp.md.lammps import deck_words, watch

    bar = Counter(settings.steps, "iterations" if settings.minimizes else "steps")
    progress = None if quiet else bar.advance
    try:
        watch(deck_words(command, DECK), folder, "LAMMPS", len(settings.columns.split()), progress)
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        bar.close()
    return 0


def _conclude(
    folder: Path,
    asked: Mapping[str, str],
    settings: Settings,
    placed: Placed,
    interrupted: bool,
    processes: int,
) -> dict[str, Any]:
    """Write summary.json and pictures; return the numbers."""
    from pyictp import __version__
    from pyictp.md.lammps import closest_atoms, warnings
    from pyictp.md.results import analyse

    log = folder / "log.lammps"
    for text in warnings(log):
        logger.warning("LAMMPS: %s", text)
    try:
        numbers = analyse(folder, settings, placed)
    except UserError as error:
        if interrupted:
            raise UserError(f"no step was done (deck and log in '{folder}')") from error
        raise
    result = {
        **asked,
        "ensemble": settings.ensemble,
        "temperature_target_K": None if settings.minimizes else settings.temperature,
        "pressure_target_bar": settings.pressure,
        "timestep_fs": None if settings.minimizes else 1000 * settings.timestep,
        "steps": settings.steps,
        "equilibration_steps": settings.equilibration,
        "uncertainty_every": settings.uncertainty or None,
        "fixed_atoms": int(placed.fixed.sum()) * math.prod(settings.repeat),
        "interrupted": interrupted,
        "processes": processes,
        **numbers,
        "closer_than_training_data": closest_atoms(log),
        "pyictp": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    with atomic_path(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    return result


CELL = ("cell_a_A", "cell_b_A", "cell_c_A")


def _lines(result: dict[str, Any]) -> list[str]:
    """Return the numbers for a person."""
    lines = []
    averages = {"temperature_K": ".1f", "pressure_bar": ".0f", "total_energy_eV": ".4f"}
    averages["density_g_per_cm3"] = ".4f"
    if result["pressure_target_bar"] is not None:
        averages |= {"volume_A3": ".2f", **dict.fromkeys(CELL, ".4f")}
    for key, digits in averages.items():
        if key in result:
            mean, error = result[key]["mean"], result[key]["error"]
            spread = " (too short for an error)" if error is None else f" +- {error:{digits}}"
            lines.append(f"{key:<34} {mean:{digits}}{spread}")
    plain = (
        *("energy_drift_meV_per_atom_per_ps", "energy_start_eV", "energy_end_eV"),
        *("max_force_component_eV_per_A", "stopped_by", "us_per_atom_and_step", "ns_per_day"),
    )
    for key in plain:
        value = result.get(key)
        if value is not None:
            lines.append(f"{key:<34} {value if isinstance(value, str) else format(value, '.6g')}")
    for name in SAMPLED:
        found = result.get(f"largest_{name}")
        if found is not None:
            edge = ", 1: edge of the training data" if name == "grade" else ""
            shown = f"{found['value']:.3g} at step {found['step']}{edge}"
            lines.append(f"{'largest_' + name:<34} {shown}")
    for element, found in result.get("diffusion", {}).items():
        value = found["cm2_per_s"]
        shown = f"none: {found['why']}" if value is None else f"{value:.2e} cm2/s"
        lines.append(f"{'diffusion of ' + element:<34} {shown}")
    return lines
