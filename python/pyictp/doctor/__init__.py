# SPDX-License-Identifier: MIT
"""`ictp doctor`: what of this installation works, and what to mend."""
