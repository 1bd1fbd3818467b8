# SPDX-License-Identifier: MIT
"""Pages of the site in Chromium: drawn, whole, as wide as the window, nothing from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install .[dev]"
)
SOURCES = Path(__file__).parents[2] / "docs"
PAGES = sorted(str(page.relative_to(SOURCES).with_suffix("")) for page in SOURCES.rglob("*.md"))
# what is read as text: formulas and code have their own signs
PROSE = """() => {
  const copy = document.querySelector("article").cloneNode(true);
  copy.querySelectorAll("pre, code, math").forEach(node => node.remove());
  return copy.textContent;
}"""
FONTS = """() => document.fonts.ready.then(
  fonts => [...fonts].filter(font => font.status === "loaded").map(font => font.family))"""
FRACTIONS = """() => [...document.querySelectorAll("mfrac")].map(
  ({children}) => [...children].map(part => part.getBoundingClientRect().toJSON()))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a headless Chromium of this machine."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    program = program or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 390])
def window(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """Return an empty page of the width of a desktop and of a telephone."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.set_default_timeout(90_000)
    yield page
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, window: Any, site: Path, tmp_path: Path) -> None:
    failed, asked, messages = [], [], []
    window.on("requestfailed", lambda request: failed.append(request.url))
    window.on("request", lambda request: asked.append(request.url))
    window.on("console", lambda message: messages.append(message.text))
    window.goto((site / f"{name}.html").as_uri())
    window.evaluate(FONTS)
    assert (failed, messages) == ([], [])
    assert all(url.startswith(site.as_uri()) or url.startswith("data:") for url in asked)
    assert any(".css" in url for url in asked)

    width = window.evaluate("document.documentElement.scrollWidth")
    assert width <= window.viewport_size["width"]
    for picture in window.query_selector_all("article img"):
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    prose = window.evaluate(PROSE)
    assert len(prose) > 400
    assert "$" not in prose
    assert "\\" not in prose

    window.screenshot(path=tmp_path / "page.png")
    pixels = matplotlib.image.imread(tmp_path / "page.png")[..., :3]
    background = pixels.reshape(-1, 3)[::97].max(0)
    drawn = (np.abs(pixels - background).max(-1) > 0.4).mean()
    assert 0.01 < drawn < 0.5


def test_formulas_are_drawn(window: Any, site: Path) -> None:
    window.goto((site / "theory.html").as_uri())
    assert any("STIX Two Math" in family for family in window.evaluate(FONTS))
    formulas = window.query_selector_all("article math")
    assert len(formulas) > 80
    for formula in formulas:
        box = formula.bounding_box()
        assert box["height"] > 5
        assert box["width"] > 3
    fractions = window.evaluate(FRACTIONS)
    assert len(fractions) > 15
    for above, below in fractions:
        assert above["bottom"] <= below["top"] + 1
