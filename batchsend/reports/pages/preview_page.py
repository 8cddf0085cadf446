"""The preview as a page: what one person looks at before the texts leave."""

from __future__ import annotations

from typing import Any

from batchsend.reports.pages.bar import Share, shares
from batchsend.reports.pages.html import Verdict, render
from batchsend.reports.pages.preview import Preview
from batchsend.utils.wording import row_count, text_count

TEMPLATE = "preview.html.j2"


def page(preview: Preview) -> str:
    """The page as HTML."""
    return render(TEMPLATE, **values(preview))


def values(preview: Preview) -> dict[str, Any]:
    """What the template is made of."""
    return {
        "p": preview,
        "verdict": verdict(preview),
        "bar": bar(preview),
        "lookup": {"rows": preview.rows, "reasons": preview.reasons, "complete": preview.rows_complete},
    }


def verdict(preview: Preview) -> Verdict:
    """What somebody should know if they read no further."""
    needs_you, left_out = preview.tally.needs_you, preview.tally.left_out
    out = f"{row_count(left_out)} {'is' if left_out == 1 else 'are'} left out on purpose."
    more = f"{_need(needs_you)} {out}" if needs_you else out
    if preview.refusals:
        return Verdict("look", "Nothing would leave: `send` would be refused.", more)
    if not preview.texts:
        return Verdict("look" if needs_you else "none", "Nothing would leave.", more)
    said = f"{text_count(preview.texts)} would leave."
    return Verdict("look", said, more) if needs_you else Verdict("go", said, f"No row needs you. {out}")


def bar(preview: Preview) -> list[Share]:
    """How the rows of the list divide, for the bar under the answer."""
    tally = preview.tally
    return shares(
        ("ready", "would be sent", tally.ready),
        ("taken", "taken by myKaarma before", tally.taken),
        ("out", "left out on purpose", tally.left_out),
        ("look", "need you", tally.needs_you),
        ("wait", "wait", tally.waits),
    )


def _need(count: int) -> str:
    return f"{row_count(count)} {'needs' if count == 1 else 'need'} you."
