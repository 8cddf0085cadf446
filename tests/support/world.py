"""A user's folder with a campaign in it, the installed command in real processes, a sandbox with a record."""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, TypeAlias

import pytest
from openpyxl import load_workbook
from warm_command import WarmProcess
from warm_start import WarmStart

#: Starts processes fast while the tests run.
STARTER: ContextVar[WarmStart | None] = ContextVar("STARTER", default=None)

#: A command that runs.
Running: TypeAlias = "WarmProcess | subprocess.Popen[str]"
BATCHSEND = (sys.executable, "-m", "batchsend")
USERNAME = "service-subscriber-4711"
PASSWORD = "correct horse battery staple"

CAMPAIGN = """
name = "Spring"
list = "customers.csv"
template = "message.txt.j2"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
timezone = "America/Chicago"
"""
TEMPLATE = "Hi {{ first_name }}, it is time for your service."


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass
class Sandbox:
    """A running `batchsend sandbox` and what it received."""

    base_url: str
    record: Path

    def requests(self) -> list[dict[str, Any]]:
        """The requests that arrived, in order."""
        if not self.record.exists():
            return []
        lines = self.record.read_text(encoding="utf-8").splitlines(keepends=True)
        # The last one may be half written.
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Waits until `count` requests have arrived."""
        deadline = time.monotonic() + seconds
        while not self.record.exists() or self.record.read_bytes().count(b"\n") < count:
            assert time.monotonic() < deadline, f"fewer than {count} requests arrived"
            time.sleep(0.005)

    def texts(self) -> Counter[str]:
        """Customer -> texts sent to them."""
        return Counter(r["customerUUID"] for r in self.requests() if r["textLeft"])


@dataclass
class World:
    """A folder with one campaign; commands run in it."""

    folder: Path
    base_url: str = "http://127.0.0.1:9"
    environment: dict[str, str] = field(default_factory=dict)

    def write(
        self,
        rows: Sequence[Mapping[str, str]] | None = None,
        *,
        campaign: str = "",
        template: str = TEMPLATE,
        list_name: str = "customers.csv",
    ) -> World:
        """Writes campaign, template and list.

        `campaign` is appended to the usual one, or replaces it if it has `name =`.
        """
        text = campaign if "name =" in campaign else CAMPAIGN + campaign
        (self.folder / "campaign.toml").write_text(text, encoding="utf-8")
        (self.folder / "message.txt.j2").write_text(template, encoding="utf-8")
        if rows is not None:
            self.write_list(rows, list_name)
        return self

    def write_list(self, rows: Sequence[Mapping[str, str]], name: str = "customers.csv") -> None:
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def env(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MYKAARMA", "BATCHSEND"))
        }
        return {
            **kept,
            "MYKAARMA_BASE_URL": self.base_url,
            "MYKAARMA_USERNAME": USERNAME,
            "MYKAARMA_PASSWORD": PASSWORD,
            **self.environment,
        }

    def run(self, *arguments: str, answer: str | None = None) -> Finished:
        """Runs a command to its end, without a terminal."""
        warm = STARTER.get()
        if warm is None:
            return self.run_cold(*arguments, answer=answer)
        with TemporaryFile() as stdin, TemporaryFile() as out, TemporaryFile() as err:
            stdin.write((answer or "").encode())
            stdin.seek(0)
            streams = [file.fileno() for file in (stdin, out, err)]
            process = warm.begin(arguments, self.folder, self.env(), streams)
            try:
                code = process.wait(100)
            except TimeoutError:
                process.kill()
                raise
            return Finished(code, _text(out), _text(err))

    def run_cold(self, *arguments: str, answer: str | None = None, encoding: str = "utf-8") -> Finished:
        """Runs a command to its end in a new Python process, as users do. `encoding`: that of its output."""
        done = subprocess.run(
            [*BATCHSEND, *arguments],
            cwd=self.folder,
            env={**self.env(), "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding},
            input=answer or "",
            capture_output=True,
            encoding=encoding,
            timeout=100,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> Running:
        """Starts a command and leaves it running."""
        warm = STARTER.get()
        # Only a new Python process imports from there when it starts.
        if warm is None or "PYTHONPATH" in self.environment:
            return self.start_cold(*arguments)
        out, into_out = os.pipe()
        err, into_err = os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            process = warm.begin(arguments, self.folder, self.env(), (nothing.fileno(), into_out, into_err))
        os.close(into_out)
        os.close(into_err)
        process.stdout, process.stderr = (os.fdopen(pipe, encoding="utf-8") for pipe in (out, err))
        return process

    def start_cold(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command in a new Python process, as users do, and leaves it running."""
        return subprocess.Popen(
            [*BATCHSEND, *arguments],
            cwd=self.folder,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def ask(self, *arguments: str, answer: str) -> Finished:
        """Runs a command on a pseudo-terminal and types `answer` when it asks; `out` has all of its output."""
        pty = pytest.importorskip("pty", reason="a pseudo-terminal")
        leader, follower = pty.openpty()
        streams = (follower, follower, follower)
        process: WarmProcess | subprocess.Popen[bytes]
        if (warm := STARTER.get()) is not None:
            process = warm.begin(arguments, self.folder, self.env(), streams)
        else:
            stdin, stdout, stderr = streams
            process = subprocess.Popen(
                [*BATCHSEND, *arguments],
                cwd=self.folder,
                env=self.env(),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        os.close(follower)
        seen = b""
        answered = False
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:
                break
            if not part:
                break
            seen += part
            if b"anything else to stop" in seen and not answered:
                answered = True
                os.write(leader, answer.encode() + b"\n")
        os.close(leader)
        return Finished(process.wait(), seen.decode(), "")

    def send(self, *options: str) -> Finished:
        return self.run("send", "campaign.toml", "--yes", *options)

    def claimed(self) -> int:
        """How many rows are claimed without an outcome."""
        address = f"{(self.folder / '.batchsend' / 'ledger.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as ledger:
            return int(
                ledger.execute("SELECT count(*) FROM messages WHERE status = 'in_flight'").fetchone()[0]
            )

    def workbook(self, number: int | str = 1) -> dict[int, dict[str, Any]]:
        """The results of a run: row number -> column -> value."""
        return read_results(self.folder / "results" / f"campaign-{number}.xlsx")


def read_results(path: Path) -> dict[int, dict[str, Any]]:
    """The sheet `Results`: row number -> column -> value. Fails if a row is there twice."""
    book = load_workbook(path, read_only=True)
    header, *rows = book["Results"].iter_rows(values_only=True)
    book.close()
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        values = dict(zip(header, row, strict=True))
        number = int(values["row"])
        assert number not in found
        found[number] = values
    return found


def customers(count: int, prefix: str = "customer") -> list[dict[str, str]]:
    """This many valid rows."""
    return [
        {
            "Customer UUID": f"{prefix}-{number}",
            "First Name": f"Name{number}",
            "Phone": f"(312) {500 + number // 10000}-{number % 10000:04}",
        }
        for number in range(count)
    ]


@contextmanager
def running_sandbox(folder: Path, *options: str) -> Iterator[Sandbox]:
    """Runs `batchsend sandbox` in its own process, on a free port."""
    record = folder / "sandbox.jsonl"
    arguments = ("sandbox", "--port", "0", "--record", str(record), *options)
    warm = STARTER.get()
    with TemporaryDirectory(prefix="sandbox-") as name:
        output = Path(name) / "output"
        output.touch()
        process: WarmProcess | subprocess.Popen[bytes]
        if warm is None:
            with output.open("ab") as out:
                process = subprocess.Popen([*BATCHSEND, *arguments], stdout=out, stderr=out)
        else:
            with Path(os.devnull).open("rb") as nothing, output.open("ab") as out:
                streams = (nothing.fileno(), out.fileno(), out.fileno())
                process = warm.begin(arguments, folder, os.environ, streams)
        try:
            yield Sandbox(_address(output), record)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running_world(folder: Path, *options: str) -> Iterator[tuple[World, Sandbox]]:
    """A user's folder and its own sandbox, with options such as `--latency`."""
    with running_sandbox(folder, *options) as sandbox:
        world = World(folder / "dealership", sandbox.base_url)
        world.folder.mkdir()
        yield world, sandbox


def _text(file: IO[bytes]) -> str:
    """What a command has written. Translates newlines, as `subprocess` does in text mode."""
    file.seek(0)
    return file.read().decode("utf-8").replace("\r\n", "\n")


def _address(output: Path) -> str:
    """Waits until a sandbox prints its address."""
    deadline = time.monotonic() + 60
    while not (listening := re.search(r"http://[0-9.]+:\d+", output.read_text(encoding="utf-8"))):
        assert time.monotonic() < deadline, output.read_text(encoding="utf-8")
        time.sleep(0.005)
    return listening[0]
