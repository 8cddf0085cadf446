"""Plays weeks of a dealership whose campaigns nobody watches, with a seed that decides what goes wrong and when."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from batchsend.services.schedule_files import CampaignFiles
from batchsend.services.scheduler import Service
from soaking.api import Api, Weather
from soaking.dealership import EXPORT_FAULTS, Campaign, Exporter, Person, campaigns
from soaking.machine import Machine, Process

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_TEMPLATE = "Hi {{ first_name }}, your visit is soon. ({{ customer_uuid }}/{{ visit }})"


@dataclass
class Start:
    """A process of `send` that the scheduler started. `planned`: as the scheduler's log says."""

    number: int
    campaign: Campaign
    process: Process
    planned: str
    began: float
    wall: datetime
    kill_at: int | None = None
    reboots: bool = False
    file_limit: int | None = None
    cold: bool = False
    ended: float | None = None
    asked_to_stop: bool = False
    results: dict[int, dict[str, Any]] | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int | None:
        return self.process.code


@dataclass
class OptOut:
    """Someone opted out at this time (true seconds)."""

    person: Person
    elapsed: float


class Story:
    """One dealership from its first day to its last. `play` does everything; then the fields say what happened."""

    def __init__(self, folder: Path, begin: datetime, days: int, seed: int, dealership: int) -> None:
        self.random = random.Random(f"{seed} {dealership}")
        self.seed, self.days = seed, days
        self.end = days * _DAY
        self.place = folder / "dealership"
        self.place.mkdir(parents=True)
        (folder / "tmp").mkdir()
        self.record = folder / "requests.jsonl"
        self.record.touch()
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "MYKAARMA_BASE_URL": "http://127.0.0.1:9",
            "MYKAARMA_USERNAME": "service-subscriber-4711",
            "MYKAARMA_PASSWORD": "correct horse battery staple",
        }
        self.machine = Machine(folder, begin, environment)
        self.campaigns = campaigns(begin.date(), days, dealership)
        self.exporter = Exporter(self.place, self.random)
        self.events: list[dict[str, Any]] = []
        self.starts: list[Start] = []
        self.opt_outs: list[OptOut] = []
        self.suppressed: list[Person] = []
        self.faults: Counter[str] = Counter()
        #: Spans (true seconds) in which the clock was wrong, no scheduler ran, or a campaign file was broken.
        self.wrong_clock: list[tuple[float, float]] = []
        self.edits: list[tuple[Campaign, float]] = []
        self.broken_files: list[tuple[Campaign, float, float]] = []
        self.weather: list[Weather] = []
        self.schedulers: list[tuple[float, float]] = []
        self.service: Service | None = None
        self._since = self._trouble = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.crashes: list[str] = []

    # The agenda

    def at(self, elapsed: float, action: Callable[[], None]) -> None:
        if elapsed < self.end:
            heapq.heappush(self._agenda, (elapsed, next(self._order), action))

    def _often(self, per_day: float, action: Callable[[], None]) -> None:
        """Puts an action on the agenda at random times, so often on average."""
        elapsed = 0.0
        while (elapsed := elapsed + self.random.expovariate(per_day / _DAY)) < self.end:
            self.at(elapsed, action)

    def _elapsed(self, moment: datetime) -> float:
        return (moment - self.machine.begin).total_seconds()

    def prepare(self) -> None:
        """Writes the files and plans what happens when."""
        (self.place / "message.txt.j2").write_text(_TEMPLATE, encoding="utf-8")
        self._write_suppressed()
        for campaign in self.campaigns:
            self._plan_file(campaign)
            self._plan_exports(campaign)
        self._plan_weather()
        self.at(0.0, self._start_scheduler)
        self._often(1 / 3, self._power_cut)
        self._often(1 / 3, self._kill_scheduler)
        self._often(1 / 5, self._restart_scheduler)
        self._often(3.0, self._opt_out)
        self._often(1 / 3, self._stop_something)
        self._often(1 / 8, self._edit)
        self._often(1 / 10, self._break_file)
        self._often(1 / 12, self._clock_ahead)
        self._often(1 / 12, self._clock_back)
        for day in range(15, self.days, 15):
            self.at(day * _DAY + 12 * _HOUR, self._purge)

    def _plan_file(self, campaign: Campaign) -> None:
        """A campaign with a single start is written the day before, and deleted two days later."""
        if campaign.at is None:
            self._write(campaign)
            return
        start = self._elapsed(campaign.at.replace(tzinfo=ZoneInfo(campaign.zone)))
        file = self.place / f"{campaign.stem}.toml"
        self.at(max(0.0, start - _DAY), lambda: self._write(campaign))
        self.at(start + 2 * _DAY, lambda: file.unlink(missing_ok=True))

    def play(self) -> None:
        # The scheduler runs in this process.
        with patch.dict(os.environ, self.machine.environment):
            self._play()

    def _play(self) -> None:
        self.prepare()
        machine = self.machine
        try:
            while machine.elapsed < self.end:
                if self._do_what_is_due():
                    self._turn()
                machine.settle()
                self._notice_ends()
                machine.pass_time(min(self._next_step(), self.end))
            self._finish()
        finally:
            machine.close()

    def _do_what_is_due(self) -> bool:
        """Returns whether the scheduler should look; it need not each time a list is exported."""
        quiet = False
        while self._agenda and self._agenda[0][0] <= self.machine.elapsed:
            action = heapq.heappop(self._agenda)[2]
            action()
            quiet = action.__name__ == "export"
        return not quiet

    def _next_step(self) -> float:
        """The next moment to look at: all planned times are at full or half hours."""
        now = self.machine.elapsed
        step = 30 * _MINUTE
        ages = [now - one.began for one in self.starts[-40:] if one.ended is None]
        if ages and min(ages) < 5 * _MINUTE:
            step = 10.0 if min(ages) < _MINUTE else _MINUTE
        elif self._trouble and now - self._trouble < 5 * _MINUTE:
            step = _MINUTE
        following = (now // step + 1) * step
        return min(following, self._agenda[0][0]) if self._agenda else following

    def _finish(self) -> None:
        """Lets what still runs come to its end, within a day."""
        machine = self.machine
        until = self.end + _DAY
        while machine.processes and machine.elapsed < until:
            machine.pass_time(machine.elapsed + _MINUTE)
            self._notice_ends()
        self._drop_scheduler()

    # The scheduler

    def _start_scheduler(self) -> None:
        if self.service is not None:
            return
        self.service = Service(
            CampaignFiles([], [self.place]), None, self._log, self._launch, lambda: self.machine.wall
        )
        self._since = self.machine.elapsed

    def _drop_scheduler(self) -> None:
        if self.service is None:
            return
        release = getattr(self.service, "release", None)
        if release is not None:
            release()
        self.service = None
        self.schedulers.append((self._since, self.machine.elapsed))

    def _turn(self) -> None:
        if self.service is None:
            return
        try:
            self.service.turn()
        except Exception as error:  # noqa: BLE001 - the scheduler may not crash, so this is a finding
            self.crashes.append(f"{self.machine.wall}: the scheduler crashed: {error!r}")
            self._drop_scheduler()
            self._start_scheduler()

    def _log(self, line: str) -> None:
        entry = json.loads(line)
        entry["elapsed"] = self.machine.elapsed
        self.events.append(entry)

    def _launch(self, arguments: Sequence[str]) -> Process:
        stem = Path(arguments[1]).stem
        campaign = next(one for one in self.campaigns if one.stem == stem)
        number = len(self.starts)
        chance = self.random.random()
        kill_at = self.random.randint(1, 12) if chance < 0.06 else None
        limit = (
            self.random.choice([0, 40_000, 250_000, 400_000, 1_000_000]) if 0.06 <= chance < 0.09 else None
        )
        if limit is not None:
            self.faults["full disk"] += 1
        machine = self.machine
        api = Api(
            self.record,
            number,
            f"{self.seed} {campaign.stem} {number}",
            self.weather,
            kill_at,
            kill_before_answer=self.random.random() < 0.5,
        )
        extra = ["--wait"] if campaign.stem == "night" and not campaign.schedule else []
        process = machine.start([*arguments, *extra], api, limit)
        planned = str(self.events[-1].get("planned"))
        start = Start(number, campaign, process, planned, machine.elapsed, machine.wall)
        start.kill_at, start.file_limit = kill_at, limit
        start.reboots = kill_at is not None and self.random.random() < 0.5
        self.starts.append(start)
        return process

    def _notice_ends(self) -> None:
        for start in self.starts[-40:]:
            if start.ended is None and start.code is not None:
                start.ended = self.machine.elapsed
                if start.code not in (0, 1, 5):
                    self._trouble = start.ended
                self._read_results(start)
                if start.code == -9 and start.kill_at is not None:
                    self.faults["child killed in a request"] += 1
                    if start.reboots:
                        self._power_cut()

    def _read_results(self, start: Start) -> None:
        from python_calamine import CalamineWorkbook

        lines = [line for line in start.process.text().splitlines() if line.startswith("{")]
        if lines and '"exit"' in lines[-1]:
            start.summary = json.loads(lines[-1])
        path = start.summary.get("results")
        if path is None:
            return
        header, *rows = CalamineWorkbook.from_path(path).get_sheet_by_name("Results").to_python()
        found: dict[int, dict[str, Any]] = {}
        for row in rows:
            values = dict(zip(header, row, strict=True))
            number = int(values["row"])
            if number in found:
                self.crashes.append(f"{path}: row {number} is there twice")
            found[number] = values
        start.results = found

    # What goes wrong

    def _power_cut(self) -> None:
        if self.service is None:
            return
        self.faults["reboot"] += 1
        self.machine.kill_all()
        self._notice_ends()
        self._drop_scheduler()
        off = self.random.choice(
            [
                self.random.uniform(2 * _MINUTE, 30 * _MINUTE),
                self.random.uniform(2 * _MINUTE, 30 * _MINUTE),
                self.random.uniform(_HOUR, 6 * _HOUR),
                self.random.uniform(10 * _HOUR, 30 * _HOUR),
            ]
        )
        self.at(self.machine.elapsed + off, self._start_scheduler)

    def _kill_scheduler(self) -> None:
        if self.service is None:
            return
        self.faults["scheduler killed"] += 1
        self._drop_scheduler()
        self.at(self.machine.elapsed + self.random.uniform(_MINUTE, 20 * _MINUTE), self._start_scheduler)

    def _restart_scheduler(self) -> None:
        """SIGTERM: the scheduler stops its campaigns, waits for them and ends."""
        if self.service is None:
            return
        self.faults["scheduler stopped"] += 1
        service = self.service
        for start in self.starts[-40:]:
            start.asked_to_stop = start.asked_to_stop or start.ended is None
        service.interrupt()
        for _ in range(30):
            if not service.running:
                break
            self.machine.pass_time(self.machine.elapsed + 10)
            self._notice_ends()
            service.reap()
        else:
            self.crashes.append(f"{self.machine.wall}: campaigns did not end after SIGTERM")
        self._drop_scheduler()
        self.at(self.machine.elapsed + self.random.uniform(_MINUTE, 3 * _HOUR), self._start_scheduler)

    def _stop_something(self) -> None:
        live = [one for one in self.starts[-40:] if one.ended is None]
        if live:
            start = self.random.choice(live)
            start.asked_to_stop = True
            self.faults["stop"] += 1
            self._command("stop", f"{start.campaign.stem}.toml")

    def _command(self, *arguments: str) -> Process:
        process = self.machine.run(*arguments)
        if process.code not in (0, 2, 3, 4):
            self.crashes.append(f"{arguments}: {process.code}: {process.text()[-2000:]}")
        return process

    def _purge(self) -> None:
        self.faults["purge"] += 1
        self._command("purge", "--older-than", "10d", "--yes")

    def _opt_out(self) -> None:
        waiting = [one.campaign for one in self.starts[-40:] if one.ended is None]
        campaign = self.random.choice(waiting or self.campaigns)
        listing = campaign.listing(self.machine.elapsed)
        if listing is None or not listing.rows:
            return
        person = self.random.choice(listing.rows)[0]
        if self.random.random() < 0.6:
            identity = ("--phone", person.e164) if person.phone else ("--customer", person.uuid)
            ledger = ("--ledger", ".batchsend/ledger.db")
            done = self._command("optouts", "add", *identity, "--reason", "said so", *ledger)
            if done.code != 0:
                return
        else:
            self.suppressed.append(person)
            self._write_suppressed()
        self.faults["opt-out"] += 1
        self.opt_outs.append(OptOut(person, self.machine.elapsed))

    def _write_suppressed(self) -> None:
        lines = ["customer_uuid", *(one.uuid for one in self.suppressed)]
        new = self.place / "suppressed.new"
        new.write_text("\n".join(lines) + "\n", encoding="utf-8")
        new.replace(self.place / "suppressed.csv")

    def _write(self, campaign: Campaign) -> None:
        (self.place / f"{campaign.stem}.toml").write_text(campaign.text(), encoding="utf-8")

    def _edit(self) -> None:
        """A person changes the time of a campaign that starts once a day."""
        campaign = self.campaigns[0]
        if len(campaign.times) != 1:
            return
        minute, hour = self.random.choice([0, 30]), campaign.times[0].hour
        campaign.edits += 1
        campaign.cron = f"{minute} {hour} * * *"
        campaign.times = [campaign.times[0].replace(minute=minute)]
        self._write(campaign)
        self.edits.append((campaign, self.machine.elapsed))
        self.faults["edited file"] += 1

    def _break_file(self) -> None:
        campaign = self.random.choice([one for one in self.campaigns if one.at is None])
        file = self.place / f"{campaign.stem}.toml"
        file.write_text(campaign.text() + "\nrate = = 1\n", encoding="utf-8")
        mended = self.machine.elapsed + self.random.uniform(5 * _MINUTE, 3 * _HOUR)
        self.broken_files.append((campaign, self.machine.elapsed, mended))
        self.faults["broken file"] += 1
        self.at(mended, lambda: self._write(campaign))

    def _clock_ahead(self) -> None:
        self._set_clock(
            self.random.uniform(1, 5) * _DAY, self.random.uniform(_HOUR, 8 * _HOUR), "clock ahead"
        )

    def _clock_back(self) -> None:
        self._set_clock(
            -self.random.uniform(1, 5) * _HOUR, self.random.uniform(_HOUR, 6 * _HOUR), "clock back"
        )

    def _set_clock(self, ahead: float, lasts: float, kind: str) -> None:
        if self.machine.ahead:
            return
        self.faults[kind] += 1
        self.machine.set_ahead(ahead)
        begins = self.machine.elapsed
        self.wrong_clock.append((begins, begins + lasts))
        self.at(begins + lasts, lambda: self.machine.set_ahead(0.0))

    def _plan_weather(self) -> None:
        begins = 0.0
        while (begins := begins + self.random.expovariate(1 / (1.2 * _DAY))) < self.end:
            ends = begins + self.random.choice([5 * _MINUTE, 40 * _MINUTE, 3 * _HOUR])
            kind = self.random.choice(["down", "down", "busy", "unavailable", "html", "unauthorized"])
            self.weather.append(Weather(begins, ends, kind))
            self.faults[f"API: {kind}"] += 1
            begins = ends

    # The exporter

    def _plan_exports(self, campaign: Campaign) -> None:
        zone = ZoneInfo(campaign.zone)
        first = self.machine.begin.astimezone(zone).date()
        for day in (first + timedelta(days=n) for n in range(-1, self.days + 1)):
            for hour, minute in _EXPORTS.get(campaign.stem, ((8, 10),)):
                moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                if campaign.at is not None and campaign.at.date() != day:
                    continue
                self.at(max(0.0, self._elapsed(moment)), self._exporting(campaign, day, hour, moment))

    def _exporting(self, campaign: Campaign, day: date, hour: int, moment: datetime) -> Callable[[], None]:
        share = 0.02 if campaign.stem == "visits" else 0.12
        fault = self.random.choice(sorted(EXPORT_FAULTS)) if self.random.random() < share else ""

        def export(fault: str = fault) -> None:
            machine = self.machine
            if machine.elapsed > self._elapsed(moment) + _DAY:
                return
            if fault:
                self.faults[f"export: {fault}"] += 1
            # The exporter runs on another computer, whose clock is right.
            saved = machine.true(machine.elapsed)
            self.exporter.export(campaign, day, hour, machine.elapsed, saved, fault)
            if fault == "half written":
                self.at(machine.elapsed + self.random.choice([_MINUTE, 30 * _MINUTE]), lambda: export(""))

        return export


_EXPORTS = {
    "reminders": ((7, 30),),
    "members": ((6, 0),),
    "visits": tuple((hour, 50) for hour in range(24)),
    "parts": ((6, 0),),
    "zones": ((3, 30),),
    "night": ((20, 0),),
}
