# SPDX-License-Identifier: MIT
"""Options and help of the commands, apart from what they do: PyTorch takes seconds to import.

Nothing here imports numpy, ASE or PyTorch, so that --help and completion answer at once.
"""
