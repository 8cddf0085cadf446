"""The JSON log of an unattended start: one object per line while it runs, and one at the end.

Lines on standard error have `time` (UTC), `event` and, if known, `campaign`, `run` and counts:

- `planned`: `texts`, `segments`, `rows` (status -> rows), `goes_on` (the resumed run, else null), `unusual`
- `progress`: `done`, `of`, `rows` (status -> rows so far), every ten seconds
- `waiting`: `seconds`, `reason`
- `refused`, `stopped`, `interrupted`: `message`
- `ended`: `exit`

They contain no phone numbers and no texts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.cli.progress import LINE_EVERY, Clock, OutcomeCounts
from batchsend.errors import BatchsendError
from batchsend.exits import Exit
from batchsend.planning.plan import Plan
from batchsend.planning.summary import summarize
from batchsend.runs.report import Report, summary_of
from batchsend.runs.start import Start
from batchsend.sending.sender import Event, Waiting
from batchsend.utils.timestamps import now, to_text

Write = Callable[[str], None]


def run_as_job(
    prepare: Callable[[], Start],
    action: Callable[..., Report],
    log: Write,
    summary: Write,
    clock: Clock = time.monotonic,
) -> int:
    """Runs one unattended start and returns its exit code. `log` gets each event, `summary` one object at the end."""
    job = _JsonLog(log, clock)
    try:
        start = prepare()
        job.set_campaign(start.campaign)
        report = action(start, confirm=job.confirm, listener=job.listen)
    except BatchsendError as error:
        exit_code = int(error.exit_code)
        job.event("stopped" if exit_code == Exit.STOPPED else "refused", message=str(error))
        outcome: Mapping[str, Any] = {"message": str(error)}
    except KeyboardInterrupt:
        exit_code = int(Exit.INTERRUPTED)
        job.event("interrupted", message="interrupted before the first text")
        outcome = {"message": "interrupted before the first text"}
    else:
        exit_code = int(report.exit)
        outcome = summary_of(report)
    job.event("ended", exit=exit_code)
    summary(_json({"time": to_text(now()), **job.known, "exit": exit_code, **outcome}))
    return exit_code


class _JsonLog:
    """Turns events into lines."""

    def __init__(self, log: Write, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._total = 0
        self._logged_at = clock()
        self._counts = OutcomeCounts(self._logged_at)
        self.known: dict[str, Any] = {}

    def set_campaign(self, campaign: Campaign) -> None:
        self.known = {"campaign": campaign.name, "file": str(campaign.path)}

    def event(self, event: str, **facts: Any) -> None:
        self._log(_json({"time": to_text(now()), "event": event, **self.known, **facts}))

    def confirm(self, plan: Plan) -> bool:
        """Logs the plan. `--yes` was the confirmation."""
        self._total = plan.texts
        self.event("planned", **summarize(plan).as_json())
        return True

    def listen(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self.event("waiting", seconds=round(event.seconds, 1), reason=event.reason)
            return
        moment = self._clock()
        self._counts.add(event, moment)
        if moment - self._logged_at >= LINE_EVERY:
            self._logged_at = moment
            self.event("progress", done=self._counts.done, of=self._total, rows=dict(self._counts.statuses))


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False)
