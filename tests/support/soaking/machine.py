"""A computer in virtual time: its processes are real ones, and run only as far as its clock has come.

Each process is forked from a pristine one (SQLite must not be in use in a process that is forked), which has loaded
the libraries, and runs the command line with its own event loop. Where it would wait, its clock jumps, but never
beyond the machine's: then the process really waits until the machine's clock has moved on. All of its locks, files,
signals and its exit code are real.

Two clocks: `elapsed` are the true seconds since the machine was set up; `wall` is what its clock shows, which may be
wrong by `ahead`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import time_machine
from virtual_time import JumpingSelector, VirtualTimeLoop

_PERMIT = struct.Struct("<dd")
_HANGS_SECONDS = 120.0

#: Puts a server into a process's event loop; it is pickled.
Server = Callable[["MachineLoop", "Machine"], None]


@dataclass
class Machine:
    """The computer. `begin`: what its clock showed when it was set up."""

    folder: Path
    begin: datetime
    environment: Mapping[str, str]
    elapsed: float = 0.0
    ahead: float = 0.0
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "streams").mkdir(parents=True, exist_ok=True)
        self._travel = time_machine.travel(self.begin.timestamp(), tick=False)
        self.traveller = self._travel.start()
        self.nursery = _Nursery(self)
        self._started = 0

    def close(self) -> None:
        self.kill_all()
        self.nursery.close()
        self._travel.stop()

    @property
    def wall(self) -> datetime:
        """What the machine's clock shows, in UTC."""
        return self.begin + timedelta(seconds=self.elapsed + self.ahead)

    def true(self, elapsed: float) -> datetime:
        """The true time in UTC."""
        return self.begin + timedelta(seconds=elapsed)

    def set_ahead(self, seconds: float) -> None:
        """Sets the clock wrong, or right again with 0."""
        self.ahead = seconds
        self.traveller.move_to(self.wall.timestamp())

    def pass_time(self, until: float) -> None:
        """Lets time pass, for all processes together."""
        self.elapsed = until
        self.traveller.move_to(self.wall.timestamp())
        for process in self.processes:
            process.permit(self)
        self.settle()

    def settle(self) -> None:
        """Waits until every process has ended, or waits for time to pass."""
        for process in self.processes:
            process.settle()
        self.processes = [process for process in self.processes if process.code is None]

    def start(
        self, arguments: Sequence[str], server: Server | None = None, file_limit: int | None = None
    ) -> Process:
        """Starts the command line in a process of its own. `file_limit`: no file may grow beyond so many bytes."""
        self._started += 1
        output = self.folder / "streams" / f"{self._started:05}.log"
        output.touch()
        ours, theirs = socket.socketpair()
        request = _Request(list(arguments), output, server, file_limit, self.elapsed, self.ahead)
        pid = self.nursery.start(request, theirs)
        ours.settimeout(_HANGS_SECONDS)
        process = Process(pid, ours, output, list(arguments), self)
        self.processes.append(process)
        return process

    def run(self, *arguments: str) -> Process:
        """Runs a command to its end, which takes no time."""
        process = self.start(arguments)
        process.settle()
        if process.code is None:
            process.kill()
        self.processes.remove(process)
        return process

    def kill_all(self) -> None:
        """What a power cut does."""
        for process in self.processes:
            process.kill()
        self.processes = []


@dataclass
class Process:
    """A process on the machine. `code`: its exit code, negative for a signal, `None` while it runs."""

    pid: int
    gate: socket.socket
    output: Path
    arguments: list[str]
    machine: Machine
    code: int | None = None
    owes: bool = True

    def poll(self) -> int | None:
        return self.code

    def interrupt(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._ended()

    def permit(self, machine: Machine) -> None:
        """Lets the process's clock go as far as the machine's."""
        if self.code is None and not self.owes:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.gate.sendall(_PERMIT.pack(machine.elapsed, machine.ahead))
            self.owes = True

    def settle(self) -> None:
        """Waits until the process has come as far as it may, or has ended."""
        while self.code is None and self.owes:
            try:
                came = self.gate.recv(1)
            except ConnectionResetError:
                came = b""
            except TimeoutError:
                os.kill(self.pid, signal.SIGABRT)
                self._ended()
                raise AssertionError(f"{self.arguments} hung: {self.text()[-4000:]}") from None
            if came:
                self.owes = False
            else:
                self._ended()

    def _ended(self) -> None:
        self.code = self.machine.nursery.wait(self.pid)
        self.gate.close()

    def text(self) -> str:
        """Everything that it printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class _Request:
    """A process to start."""

    arguments: list[str]
    output: Path
    server: Server | None
    file_limit: int | None
    elapsed: float
    ahead: float


class _Nursery:
    """The process that is forked for each new one. It has loaded the libraries, and opens nothing itself."""

    def __init__(self, machine: Machine) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            try:
                _fork_on_request(machine, theirs)
            finally:
                os._exit(0)
        theirs.close()

    def start(self, request: _Request, gate: socket.socket) -> int:
        """Returns the process id. Hands over `gate`."""
        socket.send_fds(self._ours, [pickle.dumps(request)], [gate.fileno()])
        gate.close()
        return int(self._ours.recv(64))

    def wait(self, pid: int) -> int:
        """The exit code of a process that ends."""
        self._ours.send(pickle.dumps(pid))
        return int(self._ours.recv(64))

    def close(self) -> None:
        self._ours.close()
        os.waitpid(self._pid, 0)


def _fork_on_request(machine: Machine, connection: socket.socket) -> None:
    import batchsend.__main__
    import batchsend.cli.main
    import batchsend.cli.optouts
    import batchsend.cli.progress
    import batchsend.lists.formats.delimited
    import batchsend.runs.api
    import batchsend.runs.lookup
    import batchsend.runs.runner  # noqa: F401

    while True:
        message, gates, _, _ = socket.recv_fds(connection, 65536, 1)
        if not message:
            return
        request = pickle.loads(message)
        if isinstance(request, int):
            _, status = os.waitpid(request, 0)
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            machine.elapsed, machine.ahead = request.elapsed, request.ahead
            machine.traveller.move_to(machine.wall.timestamp())
            _live(machine, request, socket.socket(fileno=gates[0]))
        os.close(gates[0])
        connection.send(str(pid).encode())


class _Gate:
    """Inside a process: its clock, and the wait for permission to move on."""

    def __init__(self, machine: Machine, connection: socket.socket) -> None:
        self._connection = connection
        self.machine = machine
        self._permitted = machine.elapsed

    def pass_time(self, seconds: float) -> None:
        machine = self.machine
        target = machine.elapsed + seconds
        while target > self._permitted:
            machine.elapsed = self._permitted
            machine.traveller.move_to(machine.wall.timestamp())
            self._connection.sendall(b".")
            answer = self._connection.recv(_PERMIT.size)
            if not answer:  # the test itself has ended
                os._exit(99)
            self._permitted, machine.ahead = _PERMIT.unpack(answer)
        machine.elapsed = target
        machine.traveller.move_to(machine.wall.timestamp())


class _GatedSelector(JumpingSelector):
    def __init__(self, gate: _Gate) -> None:
        super().__init__()
        self._gate = gate

    def wait(self, seconds: float) -> None:
        self._gate.pass_time(seconds)
        super().wait(seconds)


class MachineLoop(VirtualTimeLoop):
    """The event loop of a process on the machine. All its connections go to `server`, which runs in it as well."""

    def __init__(self, gate: _Gate, server: Server | None) -> None:
        super().__init__(_GatedSelector(gate))
        self.route: Callable[[], object] | None = None
        if server is not None:
            server(self, gate.machine)

    async def sock_connect(self, sock: socket.socket, address: object) -> None:
        if self.route is not None:
            address = self.route()
        await super().sock_connect(sock, address)


def _live(machine: Machine, request: _Request, connection: socket.socket) -> NoReturn:
    code = 98
    try:
        os.setsid()
        _new_streams(request.output, connection.fileno())
        faulthandler.enable(file=2)
        os.chdir(machine.folder / "dealership")
        os.environ.clear()
        os.environ.update(machine.environment)
        tempfile.tempdir = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        gate = _Gate(machine, connection)
        _fake_waiting(gate, request.server)
        limit = request.file_limit
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        from batchsend.__main__ import main

        sys.argv = ["batchsend", *request.arguments]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - a crash of the command is what the test looks for
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _new_streams(output: Path, kept: int) -> None:
    """Opens the three streams, and closes what this process inherited, locks among them."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1024)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115


def _fake_waiting(gate: _Gate, server: Server | None) -> None:
    """Makes event loops and sleeping use the machine's time."""
    from batchsend.sending import dispatch

    began, machine = time.monotonic(), gate.machine
    start = machine.elapsed
    time.sleep = lambda seconds: gate.pass_time(max(seconds, 1e-6))
    time.monotonic = lambda: began + machine.elapsed - start
    asyncio.events.new_event_loop = lambda: MachineLoop(gate, server)
    # A night has 40,000 seconds; it need not look at the clock in each of them.
    assert dispatch._CHECK_SECONDS <= 60
    dispatch._CHECK_SECONDS = 30.0


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
