# SPDX-License-Identifier: MIT
"""The site, built once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site as `make docs` builds it; a warning ends that."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install .[docs]")
    folder = tmp_path_factory.mktemp("site")
    command = ["make", "--old-file=setup", "docs", f"BIN={BIN}", f"SITE={folder}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sphinx-build" in done.stdout
    return folder
