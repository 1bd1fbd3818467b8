# SPDX-License-Identifier: MIT
"""Looking at labelled structures before training: numbers, checks, splits."""
