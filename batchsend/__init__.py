"""Texts a list of customers, each with their own message, through the myKaarma communications API.

The Python API is `load_campaign`, `preview` and `send`, from `runs.api`. They are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchsend.utils.version import __version__

if TYPE_CHECKING:
    from batchsend.runs.api import load_campaign, preview, send

__all__ = ["__version__", "load_campaign", "preview", "send"]


def __getattr__(name: str) -> Any:
    # Importing their libraries takes a second, and `batchsend --help` does not need them.
    if name in ("load_campaign", "preview", "send"):
        from batchsend.runs import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
