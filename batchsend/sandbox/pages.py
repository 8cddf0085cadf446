"""The sandbox's page, which shows texts as a phone does, and the table of scenarios for the manual."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import islice

import jinja2

from batchsend.sandbox.request_log import ReceivedRequest, RequestLog
from batchsend.sandbox.scenarios import PREFIX, SCENARIOS, SENT_SUFFIX
from batchsend.utils.wording import text_count

#: The most texts on the page.
MAX_TEXTS = 200

#: Seconds between reloads of a page that keeps itself up to date.
RELOAD_SECONDS = 2


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["clock"] = _clock
    source = (files("batchsend.sandbox") / "templates" / "texts.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S")


def of_customer(received: Iterable[ReceivedRequest], customer: str | None) -> Iterable[ReceivedRequest]:
    """The requests for `customer`, or all of them if it is None."""
    return (one for one in received if customer is None or one.customer_uuid == customer)


def texts_page(log: RequestLog, customer: str | None, *, live: bool) -> str:
    """The page at `/`: up to `MAX_TEXTS` texts, newest first, of one customer or of all."""
    return _template().render(
        texts=list(islice(of_customer(reversed(log.texts), customer), MAX_TEXTS)),
        text_count=text_count(log.text_count),
        request_count=log.request_count,
        customer=customer,
        live=live,
        max_texts=MAX_TEXTS,
        reload_seconds=RELOAD_SECONDS,
        prefix=PREFIX,
        scenarios=SCENARIOS,
        sent_suffix=SENT_SUFFIX,
    )


def scenarios_markdown() -> str:
    """The table of scenarios, for the manual."""
    rows = ["| Customer UUID begins with | What happens |", "| --- | --- |"]
    for scenario in SCENARIOS:
        name = f"`{scenario.prefix}`"
        if scenario.outcome_unknown:
            name += f", `{scenario.prefix}{SENT_SUFFIX}`"
        rows.append(f"| {name} | {scenario.description} |")
    return "\n".join(rows) + "\n"
