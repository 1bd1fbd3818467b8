# SPDX-License-Identifier: MIT
"""The one exception for mistakes a user can mend."""


class UserError(ValueError):
    """Bad input; the message says what was expected, what came and what to do, in one line."""
