"""The summary of a plan: the facts, and the sentences that terminal, pages and web console share.

A face (`cli.text`, `reports.pages`, `web`, the JSON log) only lays them out. It adds what only its readers can use,
such as a command line or the name of a button.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Hours, Rule
from batchsend.campaigns.state_hours import words_of
from batchsend.campaigns.zones import state_name
from batchsend.ledger.ledger import RunRecord
from batchsend.messages.sms import non_gsm7
from batchsend.planning.remarks import named_values
from batchsend.planning.text_lint import LintFinding
from batchsend.statuses import Code, Status, Tally
from batchsend.utils.net import is_this_machine
from batchsend.utils.timestamps import for_people, from_text, to_text
from batchsend.utils.wording import duration, row_count, segment_count, text_count

#: Slower than this many texts a second, the speed is said per hour.
_SLOW = 0.5
NO_QUIET_HOURS = "No quiet hours are set: texts may go out at any hour of the day or night."


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows with the same status and codes. `rows`: their first row numbers, for `invalid` rows only."""

    status: str
    codes: str
    count: int
    rows: tuple[int, ...] = ()


class TemplateUse(NamedTuple):
    """A template file, the list's values that choose it (none for the default), and the rows that get it."""

    path: Path
    values: tuple[str, ...]
    rows: int


class ConsentValue(NamedTuple):
    """A value of the consent column, and whether it counts as an opt-in."""

    value: str
    rows: int
    is_yes: bool


class CostlyCharacter(NamedTuple):
    """A character that leaves room for 70 characters in a segment, not 160. `rows`: the first rows that have it."""

    character: str
    name: str
    texts: int
    rows: tuple[int, ...]


class DifferingDuplicate(NamedTuple):
    """A row that is skipped as a duplicate of `first`, although the two differ in `columns`."""

    row: int
    first: int
    columns: tuple[str, ...]


class FirstMessage(NamedTuple):
    """The first text to be sent. `phone`: E.164, `None` for the customer's preferred number."""

    row: int
    phone: str | None
    body: str


@dataclass(frozen=True)
class PlanSummary:
    """The summary of a plan. Times are UTC; counts are rows unless their name says otherwise.

    `department`, `user`: who sends, in words; `cut_row`: the last row, if the list looks cut off; `counts`: status ->
    rows; `groups`: the largest first; `wait`: this start waits for quiet hours to end; `waiting_until`: when the
    first row that waits may be sent; `run`: the run that continues; `is_known`: the campaign is in the ledger,
    `known_since`: when its first run there began (UTC text); `again`: texts that `resend` sends again;
    `approval`: a sentence, with the guard `approval`;
    `unknown_zones`: values of rows that are no zone, ZIP code or state; `without_zone`: rows for which the campaign's
    zone decides; `without_hours`: rows that no hour suits; `remarks`: sentences; `lint`: what is wrong with the texts
    of the run, also those that wait.
    """

    campaign: str
    department: str
    user: str
    base_url: str
    started_by: str
    made_at: datetime
    zone: ZoneInfo
    list_file: Path
    list_saved_at: datetime
    list_notes: tuple[str, ...]
    cut_row: int | None
    template_by: str | None
    templates: tuple[TemplateUse, ...]
    texts: int
    segments: int
    cost: str | None
    rate: float
    limit: int | None
    counts: Mapping[str, int]
    groups: tuple[RowGroup, ...]
    quiet_hours: Hours | None
    #: The campaign's own hours of states, which `quiet_hours` has, too.
    own_hours: tuple[tuple[str, Rule], ...]
    wait: bool
    waiting_until: datetime | None
    run: RunRecord | None
    known_since: str | None
    last_run: RunRecord | None
    is_known: bool
    resend: str | None
    again: int
    again_unconfirmed: int
    consent_column: str | None
    consent: tuple[ConsentValue, ...]
    opt_out_line: str | None
    costly: tuple[CostlyCharacter, ...]
    key: tuple[str, ...]
    differing: tuple[DifferingDuplicate, ...]
    differing_rows: int
    first_message: FirstMessage | None
    unusual: str | None
    unknown_runs: str | None
    approval: str | None
    unknown_zones: int
    without_zone: int
    without_hours: int
    remarks: tuple[str, ...]
    lint: tuple[LintFinding, ...]

    @cached_property
    def tally(self) -> Tally:
        """The rows by outcome; texts to send count as ready, not as waiting."""
        counts = {**self.counts, Status.READY: self.texts}
        counts[Status.PENDING] = counts.get(Status.PENDING, 0) - self.texts
        return Tally.of(counts)

    @cached_property
    def is_local(self) -> bool:
        """Whether the texts go to a stand-in on this computer, not to myKaarma."""
        host = urlsplit(self.base_url).hostname
        return host is not None and is_this_machine(host)

    @property
    def size(self) -> str:
        """`239 texts, 240 segments ($1.90), about 12 seconds at 20 a second`."""
        segments = (
            f"{segment_count(self.segments)} ({self.cost})" if self.cost else segment_count(self.segments)
        )
        return f"{text_count(self.texts)}, {segments}, {self.duration} at {self.speed}"

    @property
    def speed(self) -> str:
        """The rate in words."""
        return f"{self.rate:g} a second" if self.rate >= _SLOW else f"{self.rate * 3600:g} an hour"

    @property
    def duration(self) -> str:
        """How long sending takes, in words."""
        return duration(self.texts / self.rate)

    @property
    def list_saved(self) -> str:
        """When the list was saved, in the campaign's zone."""
        return for_people(self.list_saved_at, self.zone)

    @property
    def hours(self) -> str:
        """When texts may go out."""
        hours = self.quiet_hours
        none = NO_QUIET_HOURS.removesuffix(".")
        if hours is None:
            return NO_QUIET_HOURS
        clock = "each recipient's time" if hours.fixed is None else hours.fixed
        window = hours.window
        daily = f"No texts from {window.begins:%H:%M} to {window.ends:%H:%M}, {clock}" if window else none
        is_by_law = len(hours.states) > len(self.own_hours)
        states = ", and in the stricter quiet hours of the recipient's state" if is_by_law else ""
        if window is None and self.own_hours:
            states = ", except as follows"
        days_off = f" No texts on these days: {', '.join(hours.days_off)}." if hours.days_off else ""
        return f"{daily}{states}.{days_off}{self._own_hours}"

    @property
    def _own_hours(self) -> str:
        """When texts may go out by the campaign's own hours of states."""
        if not self.own_hours:
            return ""
        states = (
            f"{state_name(state)}: {', '.join(f'{days} {hours}' for days, hours in words_of(rule))}"
            for state, rule in self.own_hours
        )
        return f" By the campaign's own hours, texts may go out only at these times: {'; '.join(states)}."

    @property
    def first_wait(self) -> str | None:
        """Until when the first of the waiting rows has to wait; `None` if no row waits for a time."""
        if self.waiting_until is None:
            return None
        moment = for_people(self.waiting_until, self.zone)
        return f"Some rows have to wait, the first until {moment} ({self.zone.key})."

    @property
    def history(self) -> str:
        """What has been sent before."""
        if self.run is not None:
            began = for_people(from_text(self.run.created_at), self.zone)
            return f"Run {self.run.id} of {began} continues: the list is the same."
        if self.is_known:
            codes = (Code.ALREADY_SENT, Code.ALREADY_TRIED)
            before = sum(group.count for group in self.groups if group.codes in codes)
            texted = (
                f"{row_count(before)} skipped because an earlier run texted them."
                if before
                else "No earlier run texted any of its rows."
            )
            return f"A new run: this list differs from the last one. {texted}"
        return "This campaign has never been sent."

    @property
    def consent_counts(self) -> list[str]:
        """How many rows agreed to texts, and how many did not, with their values."""
        if self.consent_column is None:
            return []
        yes = {one.value: one.rows for one in self.consent if one.is_yes}
        no = {one.value: one.rows for one in self.consent if not one.is_yes}
        agreed, others = sum(yes.values()), sum(no.values())
        if not agreed:
            return [f'No row says yes in "{self.consent_column}": {named_values(no)}.']
        says, does = "says" if agreed == 1 else "say", "does" if others == 1 else "do"
        lines = [f'{row_count(agreed)} {says} yes in "{self.consent_column}": {named_values(yes)}.']
        return [*lines, f"{row_count(others)} {does} not: {named_values(no)}."] if others else lines

    def groups_of(self, *statuses: str) -> list[RowGroup]:
        """The groups with one of these statuses, the rows that are ready to send aside."""
        return [group for group in self.groups if group.status in statuses and group.codes != Code.STOPPED]

    def as_json(self) -> dict[str, Any]:
        """What the JSON log says of a plan. Remarks are left out, because they can quote cells of the list."""
        last = self.last_run
        return {
            "texts": self.texts,
            "segments": self.segments,
            "rows": dict(self.counts),
            "goes_on": self.run.id if self.run is not None else None,
            "unusual": self.unusual,
            "unknown_runs": self.unknown_runs,
            "unknown_zones": self.unknown_zones,
            "without_zone": self.without_zone,
            "without_hours": self.without_hours,
            "list": str(self.list_file),
            "list_saved_at": to_text(self.list_saved_at),
            "list_notes": list(self.list_notes),
            "list_cut_at": self.cut_row,
            # Not their sentences, which can quote cells, too.
            "lint": [{"rule": one.rule, "texts": one.texts} for one in self.lint],
            "known_since": self.known_since,
            "last_run": {"run": last.id, "began": last.created_at} if last is not None else None,
        }

    @property
    def costly_in_opt_out_line(self) -> list[str]:
        """The characters of the opt-out line that make every text cost more."""
        return list(non_gsm7(self.opt_out_line)) if self.opt_out_line else []


def department_of(campaign: Campaign) -> str:
    """The department that texts come from, in words."""
    return campaign.department_label or campaign.department_uuid or "the departments in the list"


def user_of(campaign: Campaign) -> str:
    """The user that texts come from, in words."""
    return f"user {campaign.user_uuid}" if campaign.user_uuid else "the users in the list"
