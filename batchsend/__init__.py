"""Texts a list of customers, each with their own message, through the myKaarma communications API.

The Python API is `load_campaign`, `preview` and `send`, from `runs.api`, and the types of what other packages add.
They are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchsend.utils.version import __version__

if TYPE_CHECKING:
    from batchsend.lists.source import ListSource
    from batchsend.messages.lint import LintContext, LintRule
    from batchsend.messages.package_filters import TextFilter
    from batchsend.runs.api import load_campaign, preview, send
    from batchsend.runs.notify import Notice, Notifier

__all__ = [
    "LintContext",
    "LintRule",
    "ListSource",
    "Notice",
    "Notifier",
    "TextFilter",
    "__version__",
    "load_campaign",
    "preview",
    "send",
]

#: Where the names come from.
_HOMES = {
    **dict.fromkeys(("load_campaign", "preview", "send"), "batchsend.runs.api"),
    **dict.fromkeys(("LintContext", "LintRule"), "batchsend.messages.lint"),
    **dict.fromkeys(("Notice", "Notifier"), "batchsend.runs.notify"),
    "ListSource": "batchsend.lists.source",
    "TextFilter": "batchsend.messages.package_filters",
}


def __getattr__(name: str) -> Any:
    # Importing their libraries takes a second, and `batchsend --help` does not need them.
    if (home := _HOMES.get(name)) is not None:
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
