"""Text a list of customers, each with their own message, through the myKaarma communications API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchsend.utils.version import __version__

if TYPE_CHECKING:
    from batchsend.runs.api import load_campaign, preview, send

__all__ = ["__version__", "load_campaign", "preview", "send"]


def __getattr__(name: str) -> Any:
    # The libraries behind these take a second to import; `batchsend --help` does not need them.
    if name in ("load_campaign", "preview", "send"):
        from batchsend.runs import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
