# SPDX-License-Identifier: MIT
"""The `ictp` command: the only place that parses arguments."""
