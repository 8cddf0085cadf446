"""Words a service's state and its ledgers' figures as Prometheus metrics. docs/monitoring.md explains each one.

Labels are campaign names, hosts of APIs, statuses and codes: nothing about a person, and no path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from urllib.parse import urlsplit

from batchsend.ledger.figures import LedgerFigures, Sender
from batchsend.statuses import Status
from batchsend.utils.timestamps import from_text
from batchsend.utils.version import __version__

#: What each metric means. Every name gets the prefix `batchsend_`.
DESCRIPTIONS = {
    "build_info": "The version of batchsend and the service that answers; always 1.",
    "healthy": "1 where /health answers 200, else 0.",
    "heartbeat_timestamp_seconds": "When the service's loop last ran.",
    "texts": "Rows of all runs by status.",
    "waiting_texts": "Rows that are not sent yet, by the code that says why.",
    "oldest_waiting_seconds": "How long ago the oldest run with such waiting rows began.",
    "last_start_timestamp_seconds": "When the campaign was last started, by a person or a schedule.",
    "last_start_running": "1 until the end of the last start is recorded, then 0.",
    "last_start_exit_code": "The exit code of the last start; missing while it runs.",
    "planned_starts": "Starts of the campaign's schedule that were made (started) or missed.",
    "planned_start_timestamp_seconds": "The planned time of the schedule's last start of this outcome.",
    "next_start_timestamp_seconds": "The planned time of the schedule's next start.",
    "campaign_needs_attention": "1 where a person has to look at the campaign's last start or its problem, else 0.",
    "schedule_problems": "Campaign files that the scheduler cannot start.",
    "rate_configured": "Requests a second that the campaign allows; of open runs on PostgreSQL.",
    "rate_present": "Requests a second at present: lower after the API asked for fewer.",
    "pause_seconds": "How long the run still pauses because the API asked for it.",
    "updates_recorded": "Updates that this process has recorded.",
    "updates_waiting": "Updates that were received and are not recorded yet.",
}


class Sample(NamedTuple):
    """One value of a metric of `DESCRIPTIONS`. `labels` are pairs of a name and a value."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def exposition(samples: Iterable[Sample]) -> bytes:
    """The samples in Prometheus' text format. Those of one metric follow each other."""
    lines = []
    in_order = sorted(samples, key=attrgetter("name"))
    for name, same in groupby(in_order, key=attrgetter("name")):
        lines += [f"# HELP batchsend_{name} {DESCRIPTIONS[name]}", f"# TYPE batchsend_{name} gauge"]
        lines += map(_line, same)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _line(sample: Sample) -> str:
    labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(sample.labels))
    return f"batchsend_{sample.name}{f'{{{labels}}}' if labels else ''} {float(sample.value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def service_samples(service: str, heartbeat: float, *, healthy: bool) -> list[Sample]:
    """The samples about the service itself; `heartbeat` in seconds since 1970."""
    return [
        Sample("build_info", 1, (("version", __version__), ("service", service))),
        Sample("healthy", healthy, (("service", service),)),
        Sample("heartbeat_timestamp_seconds", heartbeat, (("service", service),)),
    ]


def ledger_samples(figures: LedgerFigures, now: float) -> list[Sample]:
    """The samples of a ledger; `now` in seconds since 1970."""
    return [*_rows(figures), *_waiting(figures, now), *_starts(figures), *_paces(figures)]


def _rows(figures: LedgerFigures) -> Iterator[Sample]:
    by_status: dict[tuple[Sender, str], int] = {}
    for group, count in figures.rows.items():
        key = (group.sender, group.status)
        by_status[key] = by_status.get(key, 0) + count
        if group.status == Status.PENDING:
            yield Sample("waiting_texts", count, (*campaign_labels(*group.sender), ("code", group.codes)))
    for (sender, status), count in by_status.items():
        yield Sample("texts", count, (*campaign_labels(*sender), ("status", status)))


def _waiting(figures: LedgerFigures, now: float) -> Iterator[Sample]:
    for group, since in figures.waiting_since.items():
        labels = (*campaign_labels(*group.sender), ("code", group.codes))
        yield Sample("oldest_waiting_seconds", max(0.0, now - _seconds(since)), labels)


def _starts(figures: LedgerFigures) -> Iterator[Sample]:
    for sender, start in figures.last_starts.items():
        labels = campaign_labels(*sender)
        yield Sample("last_start_timestamp_seconds", _seconds(start.started_at), labels)
        yield Sample("last_start_running", start.ended_at is None, labels)
        if start.exit_code is not None:
            yield Sample("last_start_exit_code", start.exit_code, labels)
    for (sender, outcome), planned in figures.planned.items():
        labels = (*campaign_labels(*sender), ("outcome", outcome))
        yield Sample("planned_starts", planned.starts, labels)
        yield Sample("planned_start_timestamp_seconds", _seconds(planned.last), labels)


def _paces(figures: LedgerFigures) -> Iterator[Sample]:
    for sender, pace in figures.paces.items():
        labels = campaign_labels(*sender)
        yield Sample("rate_configured", pace.configured, labels)
        yield Sample("rate_present", pace.present, labels)
        yield Sample("pause_seconds", pace.pause, labels)


def campaign_labels(campaign: str, base_url: str) -> tuple[tuple[str, str], ...]:
    """The labels of a campaign: its name, and the host and port of its API."""
    return (("campaign", campaign), ("api", urlsplit(base_url).netloc.rpartition("@")[2]))


def _seconds(text: str) -> float:
    return from_text(text).timestamp()
