# SPDX-License-Identifier: MIT
"""Times every code on one case, in turns: round by round, ours between the peers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from cases import R_CUT, Case, as_plain, aspirin, model_config, num_neighbors
from lammps_run import LammpsError, LammpsRun
from operations import total_operations
from pyictp.config.load import to_dict
from pyictp.foreign.importer import import_model
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from workers import PeerError, Worker, peer_python

PEER_SCRIPTS = {
    "mace": "mace_worker.py",
    "flashcart": "flashcart_worker.py",
    "flashcart-compiled": "flashcart_worker.py",
    "symmetrix": "symmetrix_worker.py",
    "symmetrix-generic": "symmetrix_worker.py",
}
IMPORTED = "imported"  # pair_style ictp with the model of mace
CALCULATOR = "ictp-ase"
MIN_SECONDS = 1.0  # of each code in each round


@dataclass
class Plan:
    """How to measure."""

    codes: list[str]  # lammps, ase, imported, and names of PEER_SCRIPTS
    processes: list[int] = field(default_factory=lambda: [1])
    device: str = "cpu"
    rounds: int = 3
    peers: Path = Path("build/peers")
    folder: Path = Path()  # for temporary files


class Timed(Protocol):
    """A code that is ready to be timed."""

    def seconds(self) -> list[tuple[float, float]]:
        """Return wall and processor seconds of some steps."""
        ...

    def memory(self) -> float | None:
        """Return the peak of resident memory above the program itself [kB/atom], if known."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class TimedLammps:
    """pair_style ictp inside LAMMPS."""

    def __init__(self, run: LammpsRun, case: Case) -> None:
        self.run, self.case = run, case
        run.choose_steps(2 * MIN_SECONDS)

    def seconds(self) -> list[tuple[float, float]]:
        """Return the mean over the second of two runs."""
        return [self.run.measure()]

    def memory(self) -> float | None:
        """Return the peak less that of a tiny cell, summed over processes [kB/atom]."""
        if self.run.device != "cpu":
            return None
        return self.run.memory_per_atom(self.case.tiny(), self.case.large())

    def close(self) -> None:
        """Nothing is held."""


class TimedWorker:
    """A code in a worker process."""

    def __init__(self, worker: Worker, request: dict[str, Any]) -> None:
        self.worker = worker
        self.tiny, self.largest = request["tiny"], request["large"] or request["structures"]
        try:
            worker.ask("prepare", **request)
        except PeerError:
            worker.close()
            raise

    def seconds(self) -> list[tuple[float, float]]:
        """Return the seconds of each step."""
        return self.worker.ask("measure", repeats=2, min_seconds=MIN_SECONDS)["seconds"]

    def memory(self) -> float | None:
        """Return the peak less that after a tiny cell [kB/atom]."""
        if not self.tiny:
            return None
        memory = self.worker.ask("memory")
        atoms = len(self.largest[0]["numbers"]) - len(self.tiny[0]["numbers"])
        return (memory["peak"] - memory["empty_peak"]) / atoms

    def close(self) -> None:
        """End the process."""
        self.worker.close()


def measure_case(case: Case, plan: Plan) -> list[dict[str, Any]]:
    """Return one row per code and number of processes; one that fails says why in `absent`."""
    atoms, config = case.structure(), case.model_config()
    torch.manual_seed(0)
    model = plan.folder / "model.pt"
    export_model(ICTPModel(config), model, case.dtype)
    operations = total_operations(config, num_neighbors(atoms, case.elements, case.r_cut))
    timed: dict[tuple[str, int], Timed] = {}
    rows = []
    for code, processes in _entries(plan):
        row = {**vars(case), "atoms": len(atoms), "device": plan.device}
        rows.append(row | {"code": code, "processes": processes})
        try:
            timed[code, processes] = _start(code, processes, case, plan, model)
        except (PeerError, LammpsError) as error:
            rows[-1]["absent"] = str(error)
    results = take_turns(timed, plan.rounds)
    for row in rows:
        if "absent" not in row:
            row |= results[row["code"], row["processes"]]
        if "seconds" in row:
            _derive(row, operations)
        code = timed.get((row["code"], row["processes"]))
        if isinstance(code, TimedLammps):
            row["phases"] = code.run.phases
    return rows


def take_turns(timed: dict[tuple[str, int], Timed], rounds: int) -> dict[Any, dict[str, Any]]:
    """Return what each code took, least and median of all steps [s], and memory [kB/atom]."""
    samples: dict[Any, list[tuple[float, float]]] = {key: [] for key in timed}
    results: dict[Any, dict[str, Any]] = {key: {} for key in timed}
    for _ in range(rounds):
        for key, code in timed.items():
            if "absent" not in results[key]:
                try:
                    samples[key] += code.seconds()
                except (PeerError, LammpsError) as error:
                    results[key]["absent"] = str(error)
    for key, code in timed.items():
        if samples[key] and "absent" not in results[key]:
            results[key] = {
                "seconds": min(wall for wall, _ in samples[key]),
                "median_seconds": statistics.median(wall for wall, _ in samples[key]),
                "cpu_seconds": min(processor for _, processor in samples[key]),
                "num_samples": len(samples[key]),
                "kb_per_atom": _memory(code),
            }
        code.close()
    return results


def _memory(code: Timed) -> float | None:
    try:
        return code.memory()
    except (PeerError, LammpsError) as error:
        print(f"memory is not known: {error}", flush=True)
        return None


def measure_training(l_max_hidden: int, plan: Plan, file: Path | None) -> list[dict[str, Any]]:
    """Return rows of one training step each: 5 aspirin molecules, 64 channels, two threads."""
    molecules = aspirin(5, file)
    elements = ("H", "C", "O")
    config = model_config(elements, 64, l_max_hidden, molecules)
    request = {
        "elements": elements,
        "channels": 64,
        "l_max_hidden": l_max_hidden,
        "dtype": "float32",
        "r_cut": R_CUT,
        "avg_num_neighbors": config.avg_num_neighbors,
        "model_config": to_dict(config),
        "threads": 2,
        "training": True,
        "compiled": False,
        "tiny": [],
        "large": [],
        "structures": [as_plain(molecule) for molecule in molecules],
        "warm_up": 3,
    }
    timed: dict[tuple[str, int], Timed] = {}
    rows = []
    for code in ("ictp", *(code for code in plan.codes if code == "mace")):
        rows.append({"code": code, "l_max_hidden": l_max_hidden, "channels": 64, "threads": 2})
        try:
            if code == "ictp":
                worker = Worker("ictp_worker.py", threads=2)
            else:
                worker = Worker(PEER_SCRIPTS[code], peer_python(code, plan.peers), threads=2)
            timed[code, 1] = TimedWorker(worker, request)
        except PeerError as error:
            rows[-1]["absent"] = str(error)
    results = take_turns(timed, plan.rounds)
    for row in rows:
        row |= results.get((row["code"], 1), {})
        row.pop("kb_per_atom", None)
    return rows


def _entries(plan: Plan) -> list[tuple[str, int]]:
    entries = []
    for code in plan.codes:
        name = CALCULATOR if code == "ase" else code
        counts = plan.processes if code in ("lammps", IMPORTED) else [1]
        entries += [("ictp-lammps" if code == "lammps" else name, count) for count in counts]
    return entries


def _start(code: str, processes: int, case: Case, plan: Plan, model: Path) -> Timed:
    if code == IMPORTED:
        model = _imported(case, plan)
    if code in ("ictp-lammps", IMPORTED):
        folder = plan.folder / f"{code}-{processes}"
        atoms = case.structure()
        run = LammpsRun(folder, model, case.elements, atoms, processes, plan.device)
        return TimedLammps(run, case)
    request = _request(code, case, plan) | {"model": str(model)}
    if code == CALCULATOR:
        return TimedWorker(Worker("ictp_worker.py"), request)
    if code.startswith("symmetrix"):
        request["model"] = str(_mace_file(case, plan))
    python = peer_python(code.partition("-")[0], plan.peers)
    return TimedWorker(Worker(PEER_SCRIPTS[code], python), request)


def _request(code: str, case: Case, plan: Plan) -> dict[str, Any]:
    """Return what a worker is asked to prepare."""
    compiled = code.endswith("-compiled")
    no_memory = compiled or plan.device != "cpu"  # each size is compiled for minutes
    return {
        "elements": case.elements,
        "channels": case.channels,
        "l_max_hidden": case.l_max_hidden,
        "dtype": case.dtype,
        "r_cut": case.r_cut,
        "avg_num_neighbors": case.model_config().avg_num_neighbors,
        "device": plan.device,
        "threads": 1,
        "training": False,
        "compiled": compiled,
        "generic": code.endswith("-generic"),
        "tiny": [] if no_memory else [as_plain(case.tiny())],
        "large": [as_plain(case.large())] if code == CALCULATOR and not no_memory else [],
        "structures": [as_plain(case.structure())],
        "warm_up": 2,
    }


def _mace_file(case: Case, plan: Plan) -> Path:
    """Return the file of mace's model of a case, as its training writes it."""
    path = plan.folder / f"{case.channels}-{case.l_max_hidden}-{case.dtype}-{case.r_cut:g}.model"
    if not path.exists():
        request = _request("mace", case, plan) | {"save": str(path)}
        request |= {"structures": [as_plain(case.tiny())], "warm_up": 0}
        with Worker(PEER_SCRIPTS["mace"], peer_python("mace", plan.peers)) as worker:
            worker.ask("prepare", **request)
    return path


def _imported(case: Case, plan: Plan) -> Path:
    """Return the exported file of mace's model of a case."""
    source = _mace_file(case, plan)
    path = source.with_suffix(".pt")
    if not path.exists():
        found = import_model(source)
        export_model(found.model, path, case.dtype, provenance=found.provenance)
    return path


def _derive(row: dict[str, Any], operations: float) -> None:
    """Add the numbers per atom, and for ours the speed."""
    atoms = row["atoms"]
    row["us_per_atom"] = row["seconds"] / atoms * 1e6
    row["median_us_per_atom"] = row["median_seconds"] / atoms * 1e6
    row["cpu_us_per_atom"] = row["cpu_seconds"] / atoms * 1e6
    if row["kb_per_atom"] is None:
        del row["kb_per_atom"]
    row["mflop_per_atom"] = operations / 1e6
    if row["code"].startswith(("ictp", IMPORTED)):
        row["gflops"] = operations / row["us_per_atom"] / 1e3
