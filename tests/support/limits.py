"""Commands with little room or few rights: small disks, read-only folders. For Linux and macOS."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from world import BATCHSEND, Finished, World

_PR_CAPBSET_DROP = 24
_CAPABILITIES = 64


def run_with(world: World, prepare: Callable[[], None] | None, *arguments: str) -> Finished:
    """Runs a command to its end; `prepare` is called in the new process before the command."""
    done = subprocess.run(
        [*BATCHSEND, *arguments],
        cwd=world.folder,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        preexec_fn=prepare,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def without_special_rights() -> None:
    """Takes away root's right to write anywhere. Other users do not have it."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in range(_CAPABILITIES):
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@contextmanager
def read_only(*folders: Path) -> Iterator[None]:
    before = [folder.stat().st_mode for folder in folders]
    for folder in folders:
        folder.chmod(0o555)
    try:
        yield
    finally:
        for folder, mode in zip(folders, before, strict=True):
            folder.chmod(mode)


@dataclass(frozen=True)
class SmallDisk:
    """A folder with little room. `prepare`: called in a new process so that the limit applies to it."""

    folder: Path
    prepare: Callable[[], None] | None

    def fill(self, pid: int) -> None:
        """Leaves no room for anything more that a running process writes."""
        if self.prepare is None:
            with suppress(OSError), (self.folder / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
        else:
            import resource

            if not hasattr(resource, "prlimit"):
                pytest.skip("here, no other process's files can be limited")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))

    def make_room(self) -> None:
        if self.prepare is None:
            (self.folder / "filler").unlink(missing_ok=True)
            _mount(self.folder, "remount,size=64m")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """A folder with `size` bytes: a mounted file system where possible, else a limit on the size of each file."""
    folder.mkdir()
    try:
        _mount(folder, f"size={size}")
    except (OSError, subprocess.CalledProcessError):
        yield SmallDisk(folder, _limit_files(size))
        return
    try:
        yield SmallDisk(folder, None)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(folder: Path, options: str) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise OSError("only root may mount")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True
    )


def _limit_files(size: int) -> Callable[[], None]:
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def most_in_a_window(times: list[float], width: float) -> int:
    """The largest number of `times` in any window of this width."""
    return max(sum(1 for time in times if start <= time < start + width) for start in times)


def most_above(times: list[float], rate: float) -> int:
    """By how many the fullest window of a second or more exceeds `ceil(rate * its width) + 1`, for sorted times."""
    return max(
        number - math.ceil(rate * max(1.0, end - start)) - 1
        for first, start in enumerate(times)
        for number, end in enumerate(times[first:], 1)
    )
