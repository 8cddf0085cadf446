"""Schedulers to test: with a clock that is moved by hand and nothing real to start, and in separate processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Table, func, insert, select, update
from world import BATCHSEND, CAMPAIGN, World, customers

from batchsend.errors import BusyError
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.planned_starts import Scheduled
from batchsend.ledger.schema import campaigns, messages, runs, starts
from batchsend.sending.locks import campaign_lock
from batchsend.services.schedule_files import CampaignFiles
from batchsend.services.scheduler import Service
from batchsend.utils.processes import Child
from batchsend.utils.timestamps import to_text

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass
class FakeChild:
    exit_code: int | None = None
    interrupts: int = 0

    def poll(self) -> int | None:
        return self.exit_code

    def interrupt(self) -> None:
        self.interrupts += 1


@dataclass
class Place:
    """A folder with campaigns, a clock that is moved by hand, and schedulers that start nothing real."""

    folder: Path
    now: datetime = field(default_factory=lambda: utc("2026-11-23T09:00-06:00"))
    events: list[dict[str, Any]] = field(default_factory=list)
    started: list[tuple[str, datetime]] = field(default_factory=list)
    children: list[Any] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    exit_code: int | None = 0
    #: Makes the started processes; otherwise they end at once, with `exit_code`.
    child: Callable[[], Child] | None = None

    def write(self, schedule: str, name: str = "Spring", zone: str = "America/Chicago") -> Path:
        file = self.folder / f"{name.lower()}.toml"
        text = CAMPAIGN.replace('"Spring"', f'"{name}"').replace("America/Chicago", zone)
        # A file saved twice within the clock's grain still differs in size.
        file.write_text(f"{text}\n[schedule]\n{schedule}\n#{'x' * len(self.events)}", encoding="utf-8")
        return file

    def scheduler(self, *named: Path) -> Service:
        def launch(arguments: Sequence[str]) -> Child:
            assert [arguments[0], *arguments[2:5]] == ["send", "--yes", "--log-format", "json"]
            self.options.append(list(arguments[5:]))
            self.started.append((Path(arguments[1]).stem, self.now))
            child = self.child() if self.child is not None else FakeChild(self.exit_code)
            self.children.append(child)
            return child

        service = Service(
            CampaignFiles(named, [self.folder]),
            None,
            lambda line: self.events.append(json.loads(line)),
            launch,
            lambda: self.now,
        )
        self.services.append(service)
        return service

    def close(self) -> None:
        """Releases all locks."""
        for service in self.services:
            abandon(service)
        for child in self.children:
            if isinstance(child, SimulatedSend) and child.exit_code is None:
                child.kill()

    def run(self, *services: Service, until: str | datetime, step: timedelta = 5 * MINUTE) -> None:
        end = utc(until) if isinstance(until, str) else until
        while self.now < end:
            for service in services:
                service.turn()
            self.now = min(end, self.now + step)
        for service in services:
            service.turn()

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def times(self, zone: str = "America/Chicago") -> list[str]:
        return [f"{moment.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for _, moment in self.started]


def abandon(service: Service) -> None:
    """What `kill -9` of a scheduler leaves: its locks are free, and its started processes continue."""
    for running in service._running.values():
        running.lock.close()
    service._running.clear()


class SimulatedSend:
    """A start of `send`, as the campaign's lock and the ledger show it to others."""

    def __init__(self, ledger_url: str, who: Scheduled, began: datetime, rows: int = 3) -> None:
        self.exit_code: int | None = None
        self.interrupts = 0
        self._ledger = open_ledger(ledger_url)
        self._lock = ExitStack()
        try:
            self._lock.enter_context(campaign_lock(self._ledger, who.campaign, who.base_url))
        except BusyError:
            self.kill(4)
            return
        self._start = self._store(who, to_text(began), rows)

    def poll(self) -> int | None:
        return self.exit_code

    def interrupt(self) -> None:
        self.interrupts += 1

    def finish(self, exit_code: int, ended: datetime, *, stopped: bool = False, tried: str = "") -> None:
        """Ends as the command does. `stopped`: by `batchsend stop`; `tried`: the status that one row gets."""
        statement = update(starts).where(starts.c.id == self._start)
        with self._ledger.write() as connection:
            connection.execute(statement.values(ended_at=to_text(ended), exit_code=exit_code))
            if stopped:
                connection.execute(update(runs).values(stop_requested_at=to_text(ended)))
            if tried:
                row = select(func.min(messages.c.row)).where(messages.c.status == "pending").scalar_subquery()
                outcome = update(messages).where(messages.c.row == row)
                connection.execute(outcome.values(status=tried, start_id=self._start))
        self.kill(exit_code)

    def kill(self, exit_code: int = -9) -> None:
        """Ends without a word."""
        self._lock.close()
        self._ledger.close()
        self.exit_code = exit_code

    def _store(self, who: Scheduled, began: str, rows: int) -> int:
        values: dict[str, Any] = {}
        with self._ledger.write() as connection:
            values["campaign_id"] = connection.scalar(
                select(campaigns.c.id).where(campaigns.c.name == who.campaign)
            ) or _insert(connection, campaigns, name=who.campaign, base_url=who.base_url)
            run = connection.scalar(
                select(func.max(runs.c.id)).where(runs.c.campaign_id == values["campaign_id"])
            )
            if run is None:
                run = _insert(connection, runs, **values, created_at=began)
                for row in range(rows):
                    _insert(connection, messages, run_id=run, row=row, **values, status="pending", cells="[]")
            connection.execute(update(runs).values(stop_requested_at=None))
            return _insert(connection, starts, run_id=run, started_at=began)


def _insert(connection: Connection, table: Table, **values: Any) -> int:
    """Inserts a row in which every other text is empty. Returns its number."""
    needed = {c.name: "" for c in table.columns if not (c.nullable or c.primary_key) and c.default is None}
    done = connection.execute(insert(table).values({**needed, **values}))
    return int(done.inserted_primary_key[0])


TEN = 'cron = "0 10 * * *"'


# --- the command itself


def soon(seconds: float = 1.5) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return f'timezone = "UTC"\n[schedule]\nat = {moment:%Y-%m-%dT%H:%M:%S}\n'


def scheduled(world: World, count: int = 3, schedule: str | None = None) -> World:
    text = CAMPAIGN.replace('timezone = "America/Chicago"\n', "") + (schedule or soon())
    return world.write(customers(count), campaign=text)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class Watching:
    """A scheduler in a separate process, and its log so far."""

    def __init__(self, world: World, *arguments: str) -> None:
        # A separate process group, as in a terminal: Ctrl-C reaches all of it.
        self.process = subprocess.Popen(
            [*BATCHSEND, "schedule", *arguments],
            cwd=world.folder,
            env=world.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError((event, self.events))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        self.events += lines(err)
        return self.process.returncode


@contextmanager
def watching(world: World, *arguments: str) -> Iterator[Watching]:
    running = Watching(world, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
