# SPDX-License-Identifier: MIT
"""`ictp explore`: dynamics finds structures a model is unsure of, labels and training follow."""
