"""Schedulers to test: with a clock that is moved by hand and nothing real to start, and in separate processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from world import BATCHSEND, CAMPAIGN, World, customers

from batchsend.services.schedule_files import CampaignFiles
from batchsend.services.scheduler import Service

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
    children: list[FakeChild] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    exit_code: int | None = 0

    def write(self, schedule: str, name: str = "Spring", zone: str = "America/Chicago") -> Path:
        file = self.folder / f"{name.lower()}.toml"
        text = CAMPAIGN.replace('"Spring"', f'"{name}"').replace("America/Chicago", zone)
        # A file saved twice within the clock's grain still differs in size.
        file.write_text(f"{text}\n[schedule]\n{schedule}\n#{'x' * len(self.events)}", encoding="utf-8")
        return file

    def scheduler(self, *named: Path) -> Service:
        def launch(arguments: Sequence[str]) -> FakeChild:
            assert [arguments[0], *arguments[2:5]] == ["send", "--yes", "--log-format", "json"]
            self.options.append(list(arguments[5:]))
            self.started.append((Path(arguments[1]).stem, self.now))
            child = FakeChild(self.exit_code)
            self.children.append(child)
            return child

        return Service(
            CampaignFiles(named, [self.folder]),
            None,
            lambda line: self.events.append(json.loads(line)),
            launch,
            lambda: self.now,
        )

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
