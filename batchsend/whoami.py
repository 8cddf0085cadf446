"""Who runs this."""

from __future__ import annotations

import getpass


def os_user() -> str:
    """Who runs this, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
