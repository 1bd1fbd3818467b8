# SPDX-License-Identifier: MIT
"""Pictures: what is drawn, not how it looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import units
from pyictp.common import drawing
from pyictp.md.pictures import draw_minimization
from pyictp.reports.parity import DENSITY_POINTS, Panel, draw_panel
from pyictp.training.curves import CURVES, draw_curve


@pytest.mark.parametrize("low", [0.03, 1.0, 400.0])
@pytest.mark.parametrize("reach", [1.05, 1.15, 1.4, 1.9, 3.0, 9.0, 80.0, 200.0])
def test_logarithmic_axes_have_a_few_numbers_that_people_write(low: float, reach: float) -> None:
    with drawing.drawing(3, 3) as (figure, (axes,)):
        axes.set(yscale="log", ylim=(low, low * reach))
        drawing.plain_log_ticks(axes.yaxis)
        drawing.FigureCanvasAgg(figure).draw()
        shown = [t.get_text() for t in axes.get_yticklabels() if low <= t.get_position()[1]]
        shown = [text for text in shown if text and float(text) <= low * reach]
    assert 2 <= len(set(shown)) <= 10
    assert not any("$" in text for text in shown)


def test_many_pairs_are_drawn_as_a_density_and_few_as_points() -> None:
    rng = np.random.default_rng(0)
    for number, dense in ((DENSITY_POINTS // 2, False), (DENSITY_POINTS, True)):
        groups = {name: rng.normal(size=(number, 2)) for name in ("H", "O")}
        panel = Panel("forces", "eV/Å", groups, "from the mean label")
        with drawing.drawing(4, 4) as (_, (axes,)):
            draw_panel(axes, panel)
            assert panel.is_dense is dense
            assert bool(axes.collections) is dense
            assert axes.get_xlabel() == "label from the mean label [eV/Å]"
        if dense:
            counts = axes.collections[0].get_array()
            assert counts is not None
            assert counts.sum() == 2 * number


def test_stress_errors_of_a_log_are_drawn_in_gpa() -> None:
    rows = [{"epoch": "1", "valid_stress_rmse": str(0.5 * units.GPa), "valid_stress_mae": ""}]
    curve = next(curve for curve in CURVES if curve[0].startswith("stress"))
    with drawing.drawing(3, 3) as (_, (axes,)):
        draw_curve(axes, rows, curve)
        assert axes.lines[0].get_ydata() == pytest.approx([0.5])


def test_forces_of_zero_do_not_take_the_logarithmic_axis_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr("pyictp.md.pictures.save", lambda figure, _: drawn.append(figure))
    thermo = {"Step": np.arange(3.0), "PotEng": np.zeros(3), "Fmax": np.array([2.0, 0.1, 0.0])}
    draw_minimization(tmp_path / "x.png", thermo, 2)
    _, force = drawn[0].axes
    assert force.get_yscale() == "log"
    assert force.lines[0].get_ydata() == pytest.approx([2.0, 0.1, np.nan], nan_ok=True)
