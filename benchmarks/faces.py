"""Runs batchsend as people do: with its output into a pipe, on a terminal, and from the web console."""

from __future__ import annotations

import math
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from web_client import Clicker, Served, serving
from world import BATCHSEND, World

#: Seconds that a person reads the question before sending. The console starts the process that will send meanwhile.
_READS = 2.0
#: The size of the terminal: lines and columns.
_SCREEN = (40, 120)
_CAMPAIGN = "/campaign/here/campaign"
_RUN = f"{_CAMPAIGN}/run/1"


@dataclass(frozen=True)
class Finished:
    """A finished process: wall seconds, and peak memory in MiB (0 if unknown)."""

    seconds: float
    peak: float


@dataclass(frozen=True)
class Sent:
    """A sent run, in seconds: the whole command, from its start to the first request, from there to the last answer.

    `peak`: peak memory in MiB, 0 if unknown.
    """

    whole: float
    start: float
    phase: float
    peak: float


def environment(base_url: str = "http://127.0.0.1:9") -> dict[str, str]:
    """The environment of every command here. It has none of this computer's own settings for batchsend."""
    # Installers compile modules; with this variable, each start of a program in a checkout would compile its own.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**World(Path(), base_url).env(), "TERM": "xterm-256color"}


def on_a_pipe(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Finished:
    """Runs a command to its end, with its output into a pipe."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    with process.stdout as output:
        said = output.read()
    return _finished(process, began, said)


def on_a_terminal(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Finished:
    """Runs a command to its end on a terminal, and reads what it shows."""
    import fcntl
    import pty
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *_SCREEN, 0, 0))
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    said = b""
    try:
        while part := os.read(leader, 65536):
            said += part
    except OSError:  # Linux reports the end of a terminal so
        pass
    os.close(leader)
    return _finished(process, began, said)


def _finished(process: subprocess.Popen[bytes], began: float, said: bytes) -> Finished:
    """Waits for the process; exits if its exit code is not 0."""
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        # In KiB on Linux, in bytes on macOS.
        peak = usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    else:
        code, peak = process.wait(), 0.0
    seconds = time.perf_counter() - began
    if code != 0:
        sys.exit(f"{process.args!r} ended with {code}: {said.decode('utf-8', 'replace')}")
    return Finished(seconds, peak)


#: Where commands run. Windows has no terminal that another program can read.
STREAMS: Mapping[str, Callable[[Sequence[str], Path, Mapping[str, str]], Finished]] = {
    "on a pipe": on_a_pipe,
    **({"on a terminal": on_a_terminal} if find_spec("fcntl") is not None else {}),
}
#: The third face: a person who clicks in the web console.
WEB = "in the web console"
FACES = (*STREAMS, WEB)


def batchsend(*arguments: str) -> list[str]:
    return [*BATCHSEND, *arguments]


def preview(face: str, folder: Path) -> Finished:
    """Runs `preview`, or a check in the web console from the click to its page."""
    if face != WEB:
        return STREAMS[face](batchsend("preview", "campaign.toml"), folder, environment())
    with _console(folder, "http://127.0.0.1:9") as (_, clicker):
        began = time.perf_counter()
        clicker.check(_CAMPAIGN)
        return Finished(time.perf_counter() - began, 0.0)


def send(face: str, folder: Path, base_url: str, *options: str) -> Sent:
    """Sends the campaign in `folder` with a new ledger."""
    for name in (".batchsend", "results"):
        shutil.rmtree(folder / name, ignore_errors=True)
    if face == WEB:
        return _send_by_web(folder, base_url)
    entered = time.time()
    command = batchsend("send", "campaign.toml", "--yes", *options)
    done = STREAMS[face](command, folder, environment(base_url))
    return _sent(folder, entered, done.seconds, done.peak)


def _send_by_web(folder: Path, base_url: str) -> Sent:
    """Checks and sends in the console, and watches the run's page. Its time is from the click to the job's end.

    Before the click, a person reads the question and types the number of texts.
    """
    with _console(folder, base_url) as (served, clicker):
        address, _ = clicker.check(_CAMPAIGN)
        asked = clicker.get(f"{address}/send")
        texts = re.search(r"All: ([\d,]+)", asked.plain)
        assert texts is not None, asked.plain
        time.sleep(_READS)
        form = {"choice": "all", "number": texts[1], "sure": "yes"}
        entered = time.time()
        begun = clicker.submit(f"{address}/send", form)
        assert begun.status == 303, begun.plain
        clicker.wait_for_run(address)
        # The page's script reads this stream until the run has ended.
        assert "event: ended" in clicker.raw("GET", f"{_RUN}/events").text
        _wait_for_jobs(served)
        return _sent(folder, entered, time.time() - entered, 0.0)


@contextmanager
def _console(folder: Path, base_url: str) -> Iterator[tuple[Served, Clicker]]:
    environment()
    with serving(World(folder, base_url)) as served:
        yield served, served.signed_in()


def _wait_for_jobs(served: Served) -> None:
    """Waits until no process that sends is left. Readers stay."""
    while any(map(_sends, psutil.Process(served.process.pid).children())):
        time.sleep(0.01)


def _sends(child: psutil.Process) -> bool:
    try:
        return "--reader" not in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def ledger_file(folder: Path) -> str:
    return str(folder / ".batchsend" / "ledger.db")


def _sent(folder: Path, entered: float, whole: float, peak: float) -> Sent:
    first, last = math.inf, 0.0
    # Row by row: this program must stay small, because Linux counts its memory as that of the processes it starts.
    with closing(sqlite3.connect(ledger_file(folder))) as ledger:
        for sent_at, latency in ledger.execute(
            "SELECT sent_at, latency_ms FROM messages WHERE status = 'accepted'"
        ):
            left = datetime.fromisoformat(sent_at).timestamp()
            first, last = min(first, left), max(last, left + latency / 1000)
    return Sent(whole, first - entered, last - first, peak)
