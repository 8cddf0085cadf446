"""Judges a story by rules of its own: who got a text twice, at night, or against their wish, and who got none."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from soaking.api import MAY_HAVE_SENT
from soaking.dealership import Campaign, Listing, Person
from soaking.machine import utc
from soaking.story import Start, Story

_REFERENCE = re.compile(r"\((\w+)/([^)]*)\)")
#: A pause of one process longer than this is a wait, after which opt-outs are looked at again (seconds).
_ONE_BURST = 300.0
_UNSENT = frozenset({"busy", "unavailable", "unauthorized"})


@dataclass(frozen=True)
class Text:
    """A request that the server received. `key`: campaign, customer and visit."""

    elapsed: float
    wall: datetime
    start: Start
    key: tuple[str, str, str]
    customer: str
    phone: str | None
    kind: str

    @property
    def may_be_sent(self) -> bool:
        return self.kind in MAY_HAVE_SENT


@dataclass
class Verdict:
    """What is wrong, by kind; all lists are empty if nothing is."""

    twice: list[str] = field(default_factory=list)
    closed_hour: list[str] = field(default_factory=list)
    opted_out: list[str] = field(default_factory=list)
    wrong_text: list[str] = field(default_factory=list)
    starved: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    def problems(self) -> dict[str, list[str]]:
        return {kind: found for kind, found in vars(self).items() if found}


class Oracle:
    """Compares what the server received with what the lists, the clock and the opt-outs allow."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.verdict = Verdict(crashes=list(story.crashes))
        self.texts = self._read_texts()
        self._by_key: dict[tuple[str, str, str], list[Text]] = defaultdict(list)
        self._by_start: dict[int, list[Text]] = defaultdict(list)
        for text in self.texts:
            self._by_key[text.key].append(text)
            self._by_start[text.start.number].append(text)
        self._opted_out: dict[str, float] = {}
        for opt_out in story.opt_outs:
            self._opted_out.setdefault(opt_out.person.uuid, opt_out.elapsed)
        for text in self.texts:
            if text.kind == "opted_out":
                before = self._opted_out.get(text.customer, float("inf"))
                self._opted_out[text.customer] = min(before, text.elapsed)

    def _read_texts(self) -> list[Text]:
        found = []
        for line in self.story.record.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            start = self.story.starts[entry["start"]]
            reference = _REFERENCE.search(entry["body"])
            assert reference, entry
            key = (start.campaign.stem, reference[1], reference[2])
            found.append(
                Text(
                    entry["elapsed"],
                    utc(entry["wall"]),
                    start,
                    key,
                    entry["customer"],
                    entry["phone"],
                    entry["kind"],
                )
            )
        return sorted(found, key=lambda text: text.elapsed)

    def judge(self) -> Verdict:
        self._twice()
        for text in self.texts:
            self._closed_hour(text)
            self._right_person(text)
            self._after_opt_out(text)
        for start in self.story.starts:
            self._exit(start)
            self._results(start)
        for campaign in self.story.campaigns:
            self._planned_times(campaign)
        self._cut_short()
        self._fairness()
        return self.verdict

    # Texts

    def _twice(self) -> None:
        for key, texts in self._by_key.items():
            sent = [text for text in texts if text.may_be_sent]
            for first, second in itertools.pairwise(sent):
                if not self._may_repeat(first, second):
                    self.verdict.twice.append(
                        f"{key}: {first.wall} (start {first.start.number}, {first.kind}) and "
                        f"{second.wall} (start {second.start.number}, {second.kind})"
                    )

    def _may_repeat(self, first: Text, second: Text) -> bool:
        campaign = first.start.campaign
        if campaign.repeat_days is None:
            return False
        zone = ZoneInfo(campaign.zone)
        days = (second.wall.astimezone(zone).date() - first.wall.astimezone(zone).date()).days
        return abs(days) >= campaign.repeat_days

    def _closed_hour(self, text: Text) -> None:
        campaign = text.start.campaign
        person = self._person(campaign, text)
        if person is None or campaign.closes is None:
            return
        for zone in person.zones(campaign.zone):
            if closed(campaign.closes, text.wall, zone):
                self.verdict.closed_hour.append(
                    f"{text.key} {person.phone} at {text.wall.astimezone(ZoneInfo(zone))} {zone}"
                )

    def _person(self, campaign: Campaign, text: Text) -> Person | None:
        for listing in reversed(campaign.exports):
            for person, visit in listing.rows:
                if (person.uuid, visit) == text.key[1:]:
                    return person
        return None

    def _right_person(self, text: Text) -> None:
        person = self._person(text.start.campaign, text)
        if person is None:
            if not self._said_that_the_list_was_cut(text.start):
                self.verdict.wrong_text.append(f"{text.key}: it is on no list")
        elif (text.customer, text.phone or "") != (person.uuid, person.e164):
            self.verdict.wrong_text.append(f"{text.key} went to {text.customer} {text.phone}")

    @staticmethod
    def _said_that_the_list_was_cut(start: Start) -> bool:
        """Without `list_settle`, a list that an exporter still writes is used, and its last line is said."""
        listing = start.campaign.listing(start.began)
        return (
            listing is not None and listing.fault == "half written" and "no line end" in start.process.text()
        )

    def _after_opt_out(self, text: Text) -> None:
        opted_out = self._opted_out.get(text.customer)
        if opted_out is None or text.elapsed <= opted_out:
            return
        burst = self._burst(text)
        if burst > opted_out:
            self.verdict.opted_out.append(
                f"{text.key} at {text.wall} (start {text.start.number}), opted out "
                f"{(text.elapsed - opted_out) / 60:.0f} minutes before"
            )

    def _burst(self, text: Text) -> float:
        """When the process of this text last had reason to look at the opt-outs."""
        before = text.start.began
        burst = before
        for other in self._by_start[text.start.number]:
            if other.elapsed > text.elapsed:
                break
            if other.elapsed - before > _ONE_BURST:
                burst = other.elapsed
            before = other.elapsed
        return burst

    # Starts

    def _exit(self, start: Start) -> None:
        code, texts = start.code, self._by_start[start.number]
        if code is None:
            self.verdict.silent.append(f"{self._of(start)} never ended")
            return
        if code in (2, 4) and any(text.kind not in _UNSENT for text in texts):
            self.verdict.untrue.append(f"{self._of(start)} ended with {code} after {len(texts)} requests")
        if code == 130 and not start.asked_to_stop:
            self.verdict.untrue.append(f"{self._of(start)} ended with 130, though nothing stopped it")
        if code not in (-9, 0, 1, 2, 3, 4, 5, 130):
            self.verdict.untrue.append(f"{self._of(start)} ended with {code}: {start.process.text()[-3000:]}")
        if code != -9 and "This is a bug" in start.process.text():
            self.verdict.untrue.append(f"{self._of(start)}: {start.process.text()[-3000:]}")

    def _of(self, start: Start) -> str:
        return f"start {start.number} of {start.campaign.stem}, planned {start.planned}, at {start.wall}"

    def _results(self, start: Start) -> None:
        listing = start.campaign.listing(start.began)
        if start.code is None or start.code < 0 or start.results is None or listing is None:
            if start.code in (0, 1, 5) and listing is not None:
                self.verdict.untrue.append(f"{self._of(start)} ended with {start.code} without results")
            return
        statuses = {(row["status"], row["errorCodes"]) for row in start.results.values()}
        self._exit_tells(start, statuses)
        if not listing.sound:
            return
        if sorted(start.results) != list(range(2, len(listing.rows) + 2)):
            self.verdict.untrue.append(f"{self._of(start)}: rows {sorted(start.results)} in the results")
            return
        for number, row in start.results.items():
            self._row(start, listing, number, row)

    def _exit_tells(self, start: Start, statuses: set[tuple[str, str]]) -> None:
        attention = {"failed", "undelivered", "unconfirmed", "invalid"}
        needs = any(status in attention for status, _ in statuses)
        waits = any(code in ("QUIET_HOURS", "DAILY_CAP") for _, code in statuses)
        open_rows = any(status == "pending" and code == "STOPPED" for status, code in statuses)
        expected = {130, 3} if open_rows else {1} if needs else {5} if waits else {0}
        if start.code not in expected | {3, 130}:
            self.verdict.untrue.append(f"{self._of(start)} ended with {start.code}, with {sorted(statuses)}")

    def _row(self, start: Start, listing: Listing, number: int, row: dict[str, Any]) -> None:
        person, visit = listing.rows[number - 2]
        key = (start.campaign.stem, person.uuid, visit)
        until = start.ended or float("inf")
        texts = [text for text in self._by_key[key] if text.elapsed <= until]
        status, codes = row["status"], row["errorCodes"]
        if not self._is_true(start, person, texts, status, codes):
            self.verdict.starved.append(
                f"{self._of(start)} (exit {start.code}): row {number} {person.phone} {key} is {status} {codes}, "
                f"with requests {[(str(text.wall), text.kind, text.start.number) for text in texts]}"
            )

    def _is_true(self, start: Start, person: Person, texts: list[Text], status: str, codes: str) -> bool:
        kinds = {text.kind for text in texts}
        opted_out = self._opted_out.get(person.uuid, float("inf")) <= (start.ended or float("inf"))
        match status, codes:
            case "accepted", _:
                return "success" in kinds
            case "unconfirmed", "INTERRUPTED":
                # The process died before it had recorded an answer, whatever that was.
                return not kinds or bool(kinds - _UNSENT)
            case "unconfirmed", _:
                return bool(kinds & (MAY_HAVE_SENT - {"success"}))
            case "failed", _:
                return "opted_out" in kinds
            case "skipped", "SUPPRESSED":
                return opted_out
            case "skipped", "ALREADY_SENT":
                return "success" in kinds
            case "skipped", "ALREADY_TRIED":
                return bool(kinds & MAY_HAVE_SENT) or self._died_with(start, person)
            case "pending", "QUIET_HOURS":
                return self._closed_soon(start, person)
            case "pending", "DAILY_CAP":
                return self._capped(start)
            case "pending", "STOPPED":
                return start.code in (3, 130)
        return False

    def _died_with(self, start: Start, person: Person) -> bool:
        """Whether an earlier process with this person on its list died: it may have been about to text them."""
        return any(
            other.code in (-9, 3)
            and (listing := other.campaign.listing(other.began)) is not None
            and any(one.uuid == person.uuid for one, _ in listing.rows)
            for other in self.story.starts[: start.number]
            if other.campaign is start.campaign
        )

    def _closed_soon(self, start: Start, person: Person) -> bool:
        """Whether it is a quiet hour for this person at some moment of the start, or two minutes after it."""
        closes, ended = start.campaign.closes, self.story.machine.true(start.ended or start.began)
        if closes is None:
            return False
        ended += start.wall - self.story.machine.true(start.began)
        return any(
            closed(closes, moment + timedelta(seconds=lead), zone)
            for zone in person.zones(start.campaign.zone)
            for moment in (start.wall, ended)
            for lead in (0, 60, 120)
        )

    def _capped(self, start: Start) -> bool:
        """Whether as many texts as the daily cap allows were sent on that day, or were going to be."""
        if start.code in (3, 130):
            return start.campaign.per_day is not None
        campaign, zone = start.campaign, ZoneInfo(start.campaign.zone)
        today = {start.wall.astimezone(zone).date()}
        sent = [
            text
            for text in self.texts
            if text.key[0] == campaign.stem
            and text.kind not in _UNSENT
            and text.wall.astimezone(zone).date() in today
            and text.elapsed <= (start.ended or float("inf"))
        ]
        return campaign.per_day is not None and len(sent) >= campaign.per_day - 1

    # Times

    def _planned_times(self, campaign: Campaign) -> None:
        if any(edited is campaign for edited, _ in self.story.edits):
            return  # a person was there
        zone = ZoneInfo(campaign.zone)
        covered = self._covered(campaign)
        first = self.story.machine.begin.astimezone(zone).date()
        for day in (first + timedelta(days=n) for n in range(self.story.days + 1)):
            for planned in campaign.planned(day):
                self._planned_time(campaign, planned, covered)

    def _planned_time(
        self, campaign: Campaign, planned: datetime, covered: list[tuple[float, Any, Any]]
    ) -> None:
        elapsed = (planned - self.story.machine.begin).total_seconds()
        if not 60 < elapsed < self.story.end - 12 * 3600 or self._excused(campaign, elapsed):
            return
        if not any(at >= elapsed - 60 and begin <= planned <= end for at, begin, end in covered):
            self.verdict.silent.append(f"{campaign.stem}: nothing is said of {planned}")

    def _excused(self, campaign: Campaign, elapsed: float) -> bool:
        """Whether the clock was wrong at that time, or the file broken (which was said)."""
        wrong = any(begin - 120 <= elapsed <= end + 120 for begin, end in self.story.wrong_clock)
        broken = any(
            one is campaign and begin - 120 <= elapsed <= end + 120
            for one, begin, end in self.story.broken_files
        )
        return wrong or broken

    def _covered(self, campaign: Campaign) -> list[tuple[float, datetime, datetime]]:
        found = []
        for entry in self.story.events:
            if entry.get("campaign") == campaign.name and entry["event"] in (
                "started",
                "goes_on",
                "missed",
                "already",
            ):
                planned = utc(entry["planned"])
                found.append((entry["elapsed"], utc(entry.get("first") or entry["planned"]), planned))
        return found

    def _cut_short(self) -> None:
        """A start that did not come to its end is taken up, or reported, by the scheduler."""
        latest: dict[tuple[str, str], Start] = {}
        for start in self.story.starts:
            latest[start.campaign.stem, start.planned] = start
        for start in latest.values():
            if start.code not in (-9, 3, None) or (start.ended or 0) > self.story.end - 12 * 3600:
                continue
            said = [
                entry
                for entry in self.story.events
                if entry.get("campaign") == start.campaign.name
                and entry["elapsed"] >= (start.ended or start.began)
                and entry.get("planned") is not None
                and utc(entry["planned"]) == utc(start.planned)
                and entry["event"] in ("finished", "missed", "retry", "goes_on")
            ]
            if not said:
                self.verdict.silent.append(f"{self._of(start)} ended with {start.code}, and nothing was said")

    # Fairness

    def _fairness(self) -> None:
        """Under a daily cap, nobody waits much longer than everybody must."""
        for campaign in self.story.campaigns:
            if campaign.per_day is None or not campaign.exports:
                continue
            people = {person.uuid: person for person, _ in campaign.exports[0].rows}
            days = len({text.wall.date() for text in self.texts if text.key[0] == campaign.stem})
            sent = {uuid: self._count(campaign, uuid) for uuid in people if uuid not in self._opted_out}
            fair = days * campaign.per_day / len(people)
            for uuid, count in sent.items():
                if count < fair / 2 - 1:
                    self.verdict.starved.append(
                        f"{campaign.stem}: {people[uuid].phone} was texted {count} times, the others {fair:.1f}"
                    )

    def _count(self, campaign: Campaign, uuid: str) -> int:
        return sum(text.customer == uuid and text.key[0] == campaign.stem for text in self.texts)


def closed(hours: tuple[time, time], moment: datetime, zone: str) -> bool:
    """Whether it is a quiet hour in this zone; they go over midnight."""
    local = moment.astimezone(ZoneInfo(zone)).time()
    return local >= hours[0] or local < hours[1]
