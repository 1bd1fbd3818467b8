# SPDX-License-Identifier: MIT
"""Everything of a training but the model: loop, optimisers, batches, run folder."""
