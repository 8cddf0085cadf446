"""Tab in real shells, with the lines that `batchsend completion --help` shows."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "TERM": "dumb",
}


class Shell:
    """A shell on a pseudo-terminal."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def type(self, text: str, until: str) -> None:
        """Types a text and waits until the terminal shows another one after it."""
        os.write(self._leader, text.encode())
        seen, deadline = "", time.monotonic() + 60
        while until not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([self._leader], [], [], 1)[0]:
                seen += os.read(self._leader, 4096).decode()


@contextmanager
def shell(command: Sequence[str], folder: Path) -> Iterator[Shell]:
    leader, follower = pty.openpty()
    streams = {"stdin": follower, "stdout": follower, "stderr": follower}
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, start_new_session=True, **streams)
    os.close(follower)
    try:
        yield Shell(leader)
    finally:
        process.kill()
        process.wait()
        os.close(leader)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spring.toml").touch()
    (tmp_path / "spring.csv").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "setup"),
    [
        (["bash", "--norc", "-i"], 'eval "$(batchsend completion bash)"'),
        (["zsh", "-f", "-i"], 'autoload -Uz compinit && compinit -u -D; eval "$(batchsend completion zsh)"'),
    ],
    ids=["bash", "zsh"],
)
def test_tab_completes_commands_files_and_options(command: list[str], setup: str, folder: Path) -> None:
    with shell(command, folder) as opened:
        opened.type(f"{setup}; echo is_$((1))_ready\n", "is_1_ready")
        opened.type("batchsend prev\t", "preview ")
        opened.type("sp\t", "spring.toml ")
        opened.type("--op\t", "--open ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("batchsend prev", ["preview"]),
        ("batchsend preview sp", ["spring.toml"]),
        ("batchsend preview --op", ["--open"]),
    ],
)
def test_fish_completes_them(line: str, expected: list[str], folder: Path) -> None:
    done = subprocess.run(
        ["fish", "--no-config", "-c", f'batchsend completion fish | source; complete -C "{line}"'],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
    )
    assert [found.split("\t")[0] for found in done.stdout.splitlines()] == expected, done.stderr
