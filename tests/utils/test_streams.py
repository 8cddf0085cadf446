"""Output that cannot be written loses lines of a log, and never a text, an outcome or an exit code."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import small_disk
from world import BATCHSEND, CAMPAIGN, Sandbox, World, customers

from batchsend.utils import streams
from batchsend.utils.streams import LossyOutput

posix = pytest.mark.skipif(sys.platform == "win32", reason="the redirections of a POSIX shell")
full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")


def shell(world: World, redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command with a shell's redirections, such as `>&-` or `| head -1`."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$@" {redirection}', "bash", *BATCHSEND, *arguments],
        cwd=world.folder,
        env=world.env(),
        capture_output=True,
        timeout=100,
    )


# --- the raw stream


class Disk(io.RawIOBase):
    """A raw stream that takes as many bytes of each write as its plan says, or fails."""

    def __init__(self, plan: list[int]) -> None:
        self.plan = plan
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        room = self.plan.pop(0) if self.plan else 1000
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(data)[: max(1, room)]  # type: ignore[call-overload]
        self.content += taken
        return len(taken)


@given(st.lists(st.integers(-3, 30), max_size=60))
def test_a_log_on_a_disk_that_is_full_now_and_then_has_whole_lines_or_ends_of_lines(plan: list[int]) -> None:
    disk = Disk(plan)
    log = io.TextIOWrapper(io.BufferedWriter(LossyOutput(disk)), encoding="utf-8")
    lines = [f'{{"event": "progress", "number": {number}}}' for number in range(30)]
    for line in lines:
        log.write(line + "\n")
        log.flush()
    last = 'no line is stuck to another: {"event": "ended"}'
    disk.plan.clear()
    log.write(last + "\n")
    log.flush()
    written = disk.content.decode().splitlines()
    assert written[-1] == last
    whole = [line for line in written if line in lines]
    assert whole == sorted(whole, key=lines.index)
    assert all(any(line in known for known in [*lines, last]) for line in written)


class NullDevice(io.StringIO):
    """The null device as Python shows it on Windows."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0


def test_the_null_device_of_windows_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, NullDevice())
    streams.make_streams_safe()
    assert sys.stdin.isatty()
    monkeypatch.setattr(streams, "_is_console", lambda _number: False)
    streams.make_streams_safe()
    assert not sys.stdin.isatty()
    assert sys.stdin.readline() == ""
    raw = Disk([])
    monkeypatch.setattr(raw, "isatty", lambda: True)
    monkeypatch.setattr(raw, "fileno", lambda: 1)
    assert not LossyOutput(raw).isatty()


# --- the command


@pytest.mark.parametrize("encoding", ["cp1252", "cp850"])
@pytest.mark.system
def test_a_code_page_loses_characters_and_nothing_else(
    tmp_path: Path, sandbox: Sandbox, encoding: str
) -> None:
    folder = tmp_path / "Zoë’s 🙂"
    folder.mkdir()
    people = [{**person, "First Name": "Zoë “Zo” 🙂 Ńowak"} for person in customers(3)]
    people[2]["Phone"] = "555 🙂"
    world = World(folder, sandbox.base_url).write(
        people, campaign=CAMPAIGN.replace("Spring", "Frühling’s 🙂")
    )
    (folder / "🙂.csv").write_text("Name\n🙂\n", encoding="utf-8")
    expected = {
        ("preview", "campaign.toml"): 1,
        ("send", "campaign.toml", "--sandbox", "--yes"): 1,
        ("send", "campaign.toml", "--sandbox", "--yes", *JSON): 1,
        ("send", "campaign.toml", "--yes"): 1,
        ("preview", "campaign.toml", "--list", "🙂.csv"): 2,
        ("preview", "’🙂.toml"): 2,
        ("preview", "campaign.toml", "--🙂"): 2,
        ("results", "campaign.toml", "--out", "’🙂.xlsx"): 0,
        ("results", "campaign.toml", "--out", "’🙂.txt"): 2,
        ("runs",): 0,
        ("history", "--customer", "customer-0"): 0,
        ("optouts", "add", "--customer", "customer-0", "--reason", "🙂"): 0,
        ("optouts", "list"): 0,
        ("schedule", "--list", "campaign.toml"): 2,
        ("schema",): 0,
        ("send", "--help"): 0,
    }
    done = {arguments: world.run_cold(*arguments, encoding=encoding) for arguments in expected}
    assert {arguments: one.code for arguments, one in done.items()} == expected
    for arguments, one in done.items():
        assert "Traceback" not in one.err, arguments
        assert "bug" not in one.err, arguments
    assert "Zoë" in done["preview", "campaign.toml"].out
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1}


CLOSED, NO_READER, FULL = ">&- 2>&-", "> >(:) 2> >(:)", ">/dev/full 2>&1"
JSON = ("--log-format", "json")


@pytest.mark.system
@posix
@pytest.mark.parametrize(
    ("redirection", "options"),
    [
        (">&-", ()),
        ("2>&-", ()),
        ("<&- >&- 2>&-", ()),
        (CLOSED, JSON),
        ("> >(:)", ()),
        ("2> >(:)", ("--quiet",)),
        (NO_READER, ()),
        (NO_READER, JSON),
        pytest.param(">/dev/full", (), marks=full_device),
        pytest.param("2>/dev/full", (), marks=full_device),
        pytest.param(FULL, ("--quiet",), marks=full_device),
        pytest.param(FULL, JSON, marks=full_device),
    ],
)
def test_output_that_cannot_be_written_changes_nothing(
    world: World, sandbox: Sandbox, redirection: str, options: tuple[str, ...]
) -> None:
    rows = customers(3)
    rows[1]["Customer UUID"] = "sandbox-locked-1"
    world.write(rows)
    done = shell(world, redirection, "send", "campaign.toml", "--yes", *options)
    assert done.returncode == 1
    assert b"bug" not in done.stderr
    assert b"Exception" not in done.stderr
    assert sandbox.texts() == {"customer-0": 1, "customer-2": 1}
    assert [row["status"] for _, row in sorted(world.workbook().items())] == [
        "accepted",
        "failed",
        "accepted",
    ]
    assert sorted(path.name for path in (world.folder / "results").iterdir()) == [
        "campaign-1.html",
        "campaign-1.xlsx",
    ]


@full_device
@pytest.mark.parametrize(
    "arguments",
    [
        ("schema",),
        ("runs",),
        ("history", "--customer", "customer-0"),
        ("optouts", "list"),
        ("preview", "campaign.toml"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.system
def test_a_command_whose_output_is_lost_on_a_full_disk_fails(
    world: World, arguments: tuple[str, ...]
) -> None:
    world.write(customers(2))
    assert world.send().code == 0
    assert world.run("optouts", "add", "--customer", "customer-9", "--reason", "asked").code == 0
    done = shell(world, ">/dev/full", *arguments)
    assert done.returncode == 3
    assert done.stderr.decode() == (
        "The output is incomplete: No space left on device. Make room and run this again.\n"
    )


@posix
@pytest.mark.parametrize("redirection", ["| head -c 1", ">&-", "> >(:)"])
def test_a_reader_that_has_seen_enough_is_no_error(world: World, redirection: str) -> None:
    done = shell(world, redirection, "schema")
    assert (done.returncode, done.stderr) == (0, b"")


@posix
def test_a_closed_standard_input_is_not_a_terminal(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    done = shell(world, "<&-", "send", "campaign.toml")
    assert done.returncode == 2
    assert b"There is no terminal to ask on. Add --yes to send without a question." in done.stderr
    assert sandbox.requests() == []


@pytest.mark.system
@full_device
def test_the_scheduler_lives_on_with_a_full_disk_for_its_log(world: World, sandbox: Sandbox) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=5)
    text = CAMPAIGN.replace("America/Chicago", "UTC")
    world.write(customers(2), campaign=f"{text}[schedule]\nat = {moment:%Y-%m-%dT%H:%M:%S}\n")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = subprocess.Popen(
            [*BATCHSEND, "schedule", "campaign.toml"],
            cwd=world.folder,
            env=world.env(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=full,
        )
    sandbox.wait_for(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 130)
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1}


@pytest.mark.system
@posix
def test_a_log_continues_when_its_disk_has_room_again(world: World, sandbox: Sandbox, tmp_path: Path) -> None:
    world.write(customers(40), campaign="[sending]\nrate = 20\n")
    with small_disk(tmp_path / "disk", 64 * 1024) as disk:
        if disk.prepare is not None:
            pytest.skip("needs a file system of its own")
        filler = disk.folder / "filler"
        with (disk.folder / "log").open("w") as log:
            filler.write_bytes(bytes(os.statvfs(disk.folder).f_bavail * os.statvfs(disk.folder).f_frsize))
            process = subprocess.Popen(
                [*BATCHSEND, "send", "campaign.toml", "--yes", "--log-format", "json"],
                cwd=world.folder,
                env=world.env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
            sandbox.wait_for(3)
            filler.unlink()
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert json.loads(out)["statuses"] == {"accepted": 40}
        events = [json.loads(line)["event"] for line in (disk.folder / "log").read_text().splitlines()]
        assert events == ["ended"]
