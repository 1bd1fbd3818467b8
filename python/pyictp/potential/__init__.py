# SPDX-License-Identifier: MIT
"""A trained model: loaded, exported, evaluated on structures."""
