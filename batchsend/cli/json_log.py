"""The JSON log of an unattended start: one object per line while it runs, and one at the end.

Lines on standard error have `time` (UTC), `event` and, if known, `campaign`, `file`, `run` and counts:

- `planned`: `texts`, `segments`, `rows` (status -> rows), `goes_on` (the resumed run, else null), `unusual`;
  `unknown_zones`, `without_zone`, `without_hours` (rows); `list`, `list_saved_at`, `list_notes`, `list_cut_at` (the
  last row, if the list looks cut off, else null); `ledger`, `known_since` (null: the ledger does not know the
  campaign), `last_run`, `unknown_runs` (a sentence if the results folder has later runs than the ledger, else null)
- `progress`: `done`, `of`, `rows` (status -> rows so far), every ten seconds
- `waiting`: `seconds`, `reason`
- `refused`, `stopped`, `interrupted`: `message`
- `ended`: `exit`

They contain no phone numbers, no texts and no cells of the list; messages can quote its headers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from batchsend.errors import BatchsendError
from batchsend.exits import Exit
from batchsend.utils.signals import was_interrupted
from batchsend.utils.timestamps import now, to_text

if TYPE_CHECKING:
    from batchsend.cli.progress import OutcomeCounts
    from batchsend.planning.plan import Plan
    from batchsend.runs.report import Report
    from batchsend.runs.start import Start
    from batchsend.sending.pacing import Pause
    from batchsend.sending.sender import Event

Write = Callable[[str], None]

INTERRUPTED = "interrupted before the first text"


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether these arguments ask for the JSON log, also if other arguments are wrong."""
    return "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)


def log_line(line: str) -> None:
    """Writes a line to standard error."""
    click.echo(line, err=True)


def run_as_job(
    prepare: Callable[[], Start],
    action: Callable[..., Report],
    log: Write = log_line,
    summary: Write = click.echo,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Runs one unattended start and returns its exit code. `log` gets each event, `summary` one object at the end."""
    job = _JsonLog(log, summary, clock)
    try:
        start = prepare()
        listener = job.begin(start)
        # `--yes` was the confirmation.
        report = action(start, confirm=lambda _plan: True, announce=job.announce, listener=listener)
    except BatchsendError as error:
        if was_interrupted():
            return job.end_early(Exit.INTERRUPTED, INTERRUPTED)
        return job.end_early(error.exit_code, error.with_notes)
    except KeyboardInterrupt:
        return job.end_early(Exit.INTERRUPTED, INTERRUPTED)
    from batchsend.runs.report import summary_of

    outcome = summary_of(report)
    if report.exit in _EARLY_ENDS:
        job.say_why(report.exit, outcome["message"])
    return job.end(report.exit, outcome)


def end_job(exit_code: int, message: str) -> int:
    """Logs the end of a start that could not begin, such as one with a wrong option. Returns `exit_code`."""
    return _JsonLog(log_line, click.echo, time.monotonic).end_early(exit_code, message)


#: The events of starts that ended before all was sent.
_EARLY_ENDS = {Exit.STOPPED: "stopped", Exit.INTERRUPTED: "interrupted"}


class _JsonLog:
    """Turns events into lines."""

    def __init__(self, log: Write, summary: Write, clock: Callable[[], float]) -> None:
        self._log = log
        self._summary = summary
        self._clock = clock
        self._known: dict[str, Any] = {}
        self._ledger: str | None = None
        self._total = 0

    def begin(self, start: Start) -> Callable[[Event], None]:
        """Returns the listener for the start's events."""
        from batchsend.cli.progress import every_ten_seconds
        from batchsend.ledger.opening import ledger_name

        self._known = {"campaign": start.campaign.name, "file": str(start.campaign.path)}
        self._ledger = ledger_name(start.ledger_url)
        return every_ten_seconds(self._waiting, self._progress, self._clock)

    def announce(self, plan: Plan) -> None:
        """Logs the plan."""
        from batchsend.planning.summarizer import summarize

        self._total = plan.texts
        self._event("planned", **summarize(plan).as_json(), ledger=self._ledger)

    def _waiting(self, event: Pause) -> None:
        self._event("waiting", seconds=round(event.seconds, 1), reason=event.reason)

    def _progress(self, counts: OutcomeCounts, _now: float) -> None:
        self._event("progress", done=counts.done, of=self._total, rows=dict(counts.statuses))

    def end_early(self, exit_code: int, message: str) -> int:
        """Logs why there is no report."""
        self.say_why(exit_code, message)
        return self.end(exit_code, {"message": message})

    def say_why(self, exit_code: int, message: str) -> None:
        """Logs why a start did not send all."""
        self._event(_EARLY_ENDS.get(Exit(exit_code), "refused"), message=message)

    def end(self, exit_code: int, outcome: Mapping[str, Any]) -> int:
        """Logs the end, and writes the summary."""
        self._event("ended", exit=int(exit_code))
        self._summary(_json({"time": to_text(now()), **self._known, "exit": int(exit_code), **outcome}))
        return int(exit_code)

    def _event(self, event: str, **facts: Any) -> None:
        self._log(_json({"time": to_text(now()), "event": event, **self._known, **facts}))


def _json(facts: Mapping[str, Any]) -> str:
    # ASCII is the same in each encoding that a system gives to a file, and JSON in UTF-8 everywhere.
    return json.dumps(facts)
