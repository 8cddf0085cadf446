"""A systemd of its own for the units in deploy/systemd, exactly as they are, and for none of the system's.

It runs in namespaces. There, `/srv/texts` is a folder of the test, `/opt/batchsend` has the tested command, and there
is a user `texts`. Needs root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from program_mounts import program_mounts

T = TypeVar("T")
UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
USER_ID = 64123
#: Targets of the system that the units name. Here they are empty, so that nothing else starts.
_TARGETS = (
    "basic",
    "multi-user",
    "network-online",
    "shutdown",
    "sysinit",
    "time-sync",
    "timers",
    "umount",
)
_INSTANCES = (
    "batchsend-schedule.service",
    "batchsend-callbacks.service",
    "batchsend-web.service",
    "batchsend-worker@1.service",
    "batchsend-send@appointments.service",
)
#: Where cgroups of version 2 are seen outside, if they are not all there is.
_CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class PrivateSystemd:
    """The running systemd. `texts` and `backups`: what its units see as `/srv/texts` and `/var/backups/texts`."""

    def __init__(self, folder: Path) -> None:
        self.texts, self.units, self._log = folder / "texts", folder / "units", folder / "systemd.log"
        self._folder, self._pid, self.backups = folder, 0, folder / "backups"
        shutil.copytree(UNITS, self.units)
        for name in _TARGETS:
            (self.units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        with (self.units / "basic.target").open("a") as file:
            # Units that another one names stay loaded when they have ended, with their results.
            file.write(f"Before={' '.join(_INSTANCES)}\n")
        for made in (self.texts, self.backups):
            made.mkdir()
            os.chown(made, USER_ID, USER_ID)
        for name, line in (
            ("passwd", f"texts:x:{USER_ID}:{USER_ID}::/srv/texts:/bin/sh\n"),
            ("group", f"texts:x:{USER_ID}:\n"),
        ):
            (folder / name).write_text(Path("/etc", name).read_text(encoding="utf-8") + line)
        self.give()

    def give(self) -> None:
        """Makes `texts` the owner of its folder and of all in it."""
        for path in (self.texts, *self.texts.rglob("*")):
            os.chown(path, USER_ID, USER_ID)

    @contextmanager
    def running(self) -> Iterator[PrivateSystemd]:
        namespaces = [
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--mount-proc",
            "--uts",
            "--ipc",
            "--cgroup",
        ]
        with self._log.open("wb") as log:
            unshare = subprocess.Popen(
                ["unshare", *namespaces, "sh", "-ec", self._script()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._pid = int(until(lambda: _child_of(unshare)))
            until(lambda: self.ctl("is-system-running") == "running")
            yield self
        finally:
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)  # ends all in its namespace, and then `unshare`
            else:
                unshare.kill()
            unshare.wait()
            _remove_cgroups()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command as root where systemd runs."""
        inside = ["nsenter", "-t", str(self._pid), "-m", "-p", "-u", "-i", "-C"]
        return subprocess.run([*inside, *command], capture_output=True, encoding="utf-8", timeout=60)

    def as_user(self, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell command as the user `texts` in `/srv/texts`."""
        user = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--reset-env"]
        return self.run(*user, "sh", "-c", f"cd /srv/texts && {command}")

    def ctl(self, *arguments: str) -> str:
        return self.run("systemctl", *arguments).stdout.strip()

    def show(self, unit: str, *names: str) -> list[str]:
        """The values of a unit's properties."""
        return [self.ctl("show", "--value", f"--property={name}", unit) for name in names]

    def _script(self) -> str:
        binds = [
            (self.texts, "/srv/texts"),
            (self.backups, "/var/backups/texts"),
            *program_mounts(self._folder / "programs"),
        ]
        lines = [f"mount -t tmpfs tmpfs {place}" for place in ("/run", "/opt", "/srv", "/var/backups")]
        lines += [f"mkdir -p {there} && mount --bind '{here}' {there}" for here, there in binds]
        lines += [f"mount --bind '{self._folder / name}' /etc/{name}" for name in ("passwd", "group")]
        lines += [
            "mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            # No generators and none of the system's units: nothing of this computer is started, cleaned or mounted.
            f"export container=docker SYSTEMD_UNIT_PATH='{self.units}' SYSTEMD_GENERATOR_PATH=/nowhere",
            "export SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nowhere",
            "exec /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no",
        ]
        return "\n".join(lines)


def _child_of(process: subprocess.Popen[bytes]) -> str:
    assert process.poll() is None, "no namespaces or no systemd here"
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").strip()


def until(found: Callable[[], T], seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def _remove_cgroups() -> None:
    """Removes the empty cgroups that a killed systemd leaves below this process's own."""
    if Path("/proc/1/comm").read_text(encoding="utf-8").strip() == "systemd":
        return  # it removes them
    root = next(Path(path) for path in _CGROUPS if (Path(path) / "cgroup.procs").exists())
    for name in ("init.scope", "system.slice"):
        for folder in sorted((root / name).glob("**/"), reverse=True):
            with suppress(OSError):  # not empty, so it is not ours
                folder.rmdir()
