# SPDX-License-Identifier: MIT
"""`ictp pretrain`: structures sampled and labelled by a cheap teacher, a model trained on them."""
