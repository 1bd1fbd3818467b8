# SPDX-License-Identifier: MIT
"""Tables of a scaling measurement on the screen."""

from __future__ import annotations

from typing import Any


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows for people."""
    lines = [
        "series proc   atoms ghosts/proc  us/atom  effic. (cpu)   graph exchange  forward backward "
        "scatter LAMMPS  outside"
    ]
    for row in rows:
        phases = {name: 1e6 * value / row["num_local"] for name, value in row["phases"].items()}
        lammps = 1e6 * sum(row["sections"].values()) / row["num_local"]
        lines.append(
            f"{row['series']:<6} {row['processes']:>4} {row['atoms']:>7} {row['num_ghost']:>11.0f} "
            f"{row['us_per_atom']:>8.2f} {row['efficiency']:>7.2f} {row['cpu_efficiency']:>5.2f} "
            f"{phases['graph']:>8.2f} {phases['exchange']:>8.2f} {phases['forward']:>8.2f} "
            f"{phases['backward']:>8.2f} {phases['scatter']:>7.2f} {lammps:>6.2f} "
            f"{100 * row['outside']:>7.1f}%"
        )
    return "\n".join(lines) + "\n(phases: us per local atom)\n"


def memory_table(rows: list[dict[str, float]]) -> str:
    """Return peaks of memory for people."""
    lines = [
        f"{row['atoms']:>9} atoms, one process: {row['peak_mb']:>8.0f} MB"
        + (f", {row['kb_per_atom']:.1f} kB/atom" if "kb_per_atom" in row else "")
        for row in rows
    ]
    return "".join(f"{line}\n" for line in lines)


def prediction_table(data: dict[str, Any]) -> str:
    """Return cost model and predictions for people."""
    a, b, c = (1e6 * data["cost_model"][name] for name in ("per_local", "per_ghost", "constant"))
    lines = [
        f"\ncost model [us]: {a:.2f} N_local + {b:.3f} N_ghost + {c:.0f}",
        "predicted, not measured:",
        "     atoms processes atoms/process ghosts/process     s/step efficiency",
    ]
    lines += [
        f"{row['atoms']:>10.0e} {row['processes']:>9} {row['num_local']:>13.0f} "
        f"{row['num_ghost']:>14.0f} {row['seconds']:>10.4f} {row['efficiency']:>10.2f}"
        for row in data["predictions"]
    ]
    return "\n".join(lines)
