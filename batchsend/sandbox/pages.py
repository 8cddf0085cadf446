"""What the sandbox shows to people: the texts as phone bubbles, and the table of customers for the manual."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import islice

import jinja2

from batchsend.sandbox.answers import PREFIX, PROVOCATIONS, SENT
from batchsend.sandbox.record import ReceivedText, Record

#: Texts on the page at most.
SHOWN = 200

#: Seconds between the reloads of a page that is kept up to date.
RELOAD = 2


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["clock"] = _clock
    source = (files("batchsend.sandbox") / "templates" / "texts.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S")


def newest(received: Iterable[ReceivedText], customer: str | None) -> Iterable[ReceivedText]:
    """Those of `customer`, or of everybody where it is None."""
    return (one for one in received if customer is None or one.customer_uuid == customer)


def texts_page(record: Record, customer: str | None, *, live: bool) -> str:
    """The page at `/`: the newest texts first, at most `SHOWN`, of one customer or of everybody."""
    return _template().render(
        texts=list(islice(newest(reversed(record.texts), customer), SHOWN)),
        text_count=record.text_count,
        request_count=record.request_count,
        customer=customer,
        live=live,
        shown=SHOWN,
        reload=RELOAD,
        prefix=PREFIX,
        provocations=PROVOCATIONS,
        sent=SENT,
    )


def provocations_markdown() -> str:
    """The table of customers and their answers, for the manual."""
    rows = ["| Customer UUID begins with | What happens |", "| --- | --- |"]
    for provocation in PROVOCATIONS:
        name = f"`{provocation.prefix}`"
        if provocation.outcome_is_open:
            name += f", `{provocation.prefix}{SENT}`"
        rows.append(f"| {name} | {provocation.sentence} |")
    return "\n".join(rows) + "\n"
