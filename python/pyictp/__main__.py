# SPDX-License-Identifier: MIT
"""`python -m pyictp` is the `ictp` command: what torchrun starts."""

import sys

from pyictp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
