#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Export a trained model for LAMMPS: `export_model.py RUN -o model.pt [--dtype float64]`.

The same as `ictp export`.
"""

import sys

from pyictp.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
