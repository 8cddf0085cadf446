"""The jobs: checks, sending and tests, which the server starts in separate processes and finds again.

A job continues when the browser is closed, and a job that sends also when the server is stopped or killed. Its
request and its state are two files that only their owner can read. A job's name is used once, so of two clicks, the
second one finds the job that the first one started.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.exits import Exit
from batchsend.utils.files import make_folder, remove, write_private
from batchsend.utils.processes import ChildProcess
from batchsend.web.folder import NotFoundError
from batchsend.web.jobs import problem_rows, to_approve
from batchsend.web.jobs.problem_rows import ProblemRows
from batchsend.web.jobs.reader_pool import Readers, Reading
from batchsend.web.jobs.to_approve import ToApprove

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_-]{16,32}(\.[a-z]{4,10}(-[A-Za-z0-9_-]{4,32})?)?")
#: Seconds after which a job's files are deleted: they hold customers' texts and phones.
_KEPT = 2 * 86400.0
#: A job without a state has failed after so many seconds.
_SILENT = 60.0
_STARTING, ENDED = "starting", "ended"
#: Seconds that a prepared process waits for a job.
_PREPARED = 600.0
_MODULE = "batchsend.web.jobs"
#: The kind of job that a reader makes.
CHECK = "check"
_CANCELED = "The check was canceled, and nothing was changed. Check again when you are ready."
_NOT_KEPT = "This check is no longer kept. Check the campaign again."


@dataclass(frozen=True)
class JobRequest:
    """What a job is to do.

    `campaign`: the campaign file; the folder for a look for replies. `checked`: a stored `CheckedPlan`. `only_below`:
    the folder outside which the job reads no list, template or suppression file.
    """

    kind: str
    campaign: str
    ledger: str | None
    user: str
    resend: str | None = None
    limit: int | None = None
    new_campaign: bool = False
    checked: Mapping[str, Any] = field(default_factory=dict)
    customer: str | None = None
    row: int | None = None
    run: int | None = None
    only_below: str | None = None


@dataclass(frozen=True)
class JobState:
    """How far a job has come.

    `state`: `starting`, a word for its present step, or `ended`. `message`: why it failed. `facts`: its results.
    `lost`: its process is gone although it has not ended. `percent`: how much of a check is done. `ahead`: its place
    in the queue for a process; 0 once it has one.
    """

    state: str = _STARTING
    exit: int | None = None
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    process: int | None = None
    began: float = 0.0
    lost: bool = False
    percent: int | None = None
    ahead: int = 0

    @property
    def is_over(self) -> bool:
        return self.state == ENDED or self.lost

    @property
    def was_canceled(self) -> bool:
        """Whether a check was ended by the user, or by a newer check that took its place."""
        return self.message == _CANCELED


class Jobs:
    """The jobs of one server.

    `folder`: where their files are; `readers`: make the checks, with `run_check`, which gets the file of the request
    and the user's name; `only_below`: as in `JobRequest`, for all jobs.
    """

    def __init__(
        self,
        folder: Path,
        readers: Readers,
        run_check: Callable[[Path, str | None], None],
        only_below: Path | None = None,
    ) -> None:
        self._run_check = run_check
        self._folder = folder
        self._readers = readers
        self._only_below = only_below
        self._children: dict[str, ChildProcess] = {}
        self._prepared: deque[ChildProcess] = deque()
        self._checks: dict[str, Reading[None]] = {}
        self._in_background: dict[str, JobRequest] = {}

    def new_name(self) -> str:
        return secrets.token_urlsafe(16)

    def start(self, name: str, request: JobRequest, environment: Mapping[str, str]) -> bool:
        """Starts a job, from a thread; returns `False` if the name has been used before. Raises `BatchsendError`."""
        file = self._file(name, "request")
        try:
            make_folder(self._folder)
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return False
        except OSError as error:
            raise BatchsendError(
                f"{file.parent}: cannot be written ({error.strerror}), so nothing was started. Make it writable."
            ) from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            only_below = str(self._only_below) if self._only_below is not None else None
            json.dump({**asdict(request), "only_below": only_below}, opened)
        if request.kind == CHECK:
            user = environment.get("LOGNAME")
            self._checks[name] = self._readers.begin_soon(request.user, CHECK, self._run_check, file, user)
            return True
        try:
            self._children[name] = self._process(file, environment)
        except OSError as error:
            raise BatchsendError(
                f"No process could be started ({error.strerror}), so nothing was started. Close other programs and "
                f"check again."
            ) from error
        return True

    def prepare(self) -> None:
        """Starts a process that waits some minutes for a job, which then begins at once. Call it from a thread."""
        if self._prepared:
            return
        with suppress(OSError):
            self._prepared.append(ChildProcess(["--wait"], module=_MODULE, silent=True, attached=True))
            self._readers.loop.call_soon_threadsafe(self._readers.loop.call_later, _PREPARED, self._release)

    def _release(self) -> None:
        if self._prepared:
            self._prepared.pop().release()

    def _process(self, file: Path, environment: Mapping[str, str]) -> ChildProcess:
        """Gives a job to the prepared process or to a new one. Raises `OSError`."""
        line = json.dumps([str(file), environment.get("LOGNAME")]) + "\n"
        # Two threads cannot take the same one.
        with suppress(IndexError):
            prepared = self._prepared.pop()
            if prepared.tell(line):
                return prepared
        return ChildProcess([str(file)], module=_MODULE, environment=environment, silent=True)

    async def interrupt(self) -> None:
        """Ends the processes of the jobs that this server has started, once their requests in flight are finished."""
        children = list(self._children.values())
        for child in children:
            child.interrupt()
        await asyncio.gather(*(asyncio.to_thread(child.wait) for child in children))

    def request(self, name: str) -> JobRequest:
        """Returns a job's request. Raises `NotFoundError`."""
        try:
            return JobRequest(**json.loads(self._file(name, "request").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise NotFoundError(_NOT_KEPT) from error

    def check_of(self, name: str, campaign: Path) -> JobRequest:
        """Returns the request of a check of this campaign file. Raises `NotFoundError`."""
        job = self.request(name)
        if job.kind != CHECK or job.campaign != str(campaign):
            raise NotFoundError("This campaign has no such check. Check it again.")
        return job

    def is_used(self, name: str) -> bool:
        return self._file(name, "request").exists()

    def state(self, name: str) -> JobState:
        """Returns how far a job has come. Raises `NotFoundError`."""
        child, check = self._children.get(name), self._checks.get(name)
        running = (child is not None and child.poll() is None) or (check is not None and not check.is_over)
        requested_at = _changed_at(self._file(name, "request"))
        if requested_at is None:
            raise NotFoundError(_NOT_KEPT)
        if check is not None and check.was_canceled:
            return JobState(ENDED, exit=Exit.INTERRUPTED, message=_CANCELED)
        file = self._file(name, "state")
        state = read_state(file)
        if state is None:
            # A job that this server did not start was started by an earlier one.
            ours = child is not None or check is not None
            lost = not running and (ours or time.time() - requested_at > _SILENT)
            state = JobState(lost=lost)
        elif not (state.is_over or running or _is_alive(state)):
            # It may have ended after its state was read.
            state = read_state(file) or state
            state = state if state.is_over else replace(state, lost=True)
        if check is None or state.is_over:
            return state
        return replace(state, percent=check.percent, ahead=check.ahead)

    def start_in_background(self, name: str, request: JobRequest, environment: Mapping[str, str]) -> None:
        """Starts a check in place of the user's earlier ones of this campaign, whose files have changed since."""
        for other, earlier in list(self._in_background.items()):
            if (earlier.user, earlier.campaign) == (request.user, request.campaign):
                del self._in_background[other]
                asyncio.run_coroutine_threadsafe(self._drop(other), self._readers.loop)
        if self.start(name, request, environment):
            self._in_background[name] = request

    async def _drop(self, name: str) -> None:
        await self.cancel(name)
        check = self._checks.get(name)
        if check is not None and check.was_canceled:
            await asyncio.to_thread(self._forget, name)

    def _forget(self, name: str) -> None:
        self._checks.pop(name, None)
        for what in ("request", "state"):
            remove(self._file(name, what))

    async def cancel(self, name: str) -> None:
        """Ends a check that is not over. Its process removes what it has written."""
        check = self._checks.get(name)
        if check is not None:
            await self._readers.cancel(check)

    def forget_canceled(self, campaign: Path) -> bool:
        """Lets the canceled checks of a campaign be made again; returns whether there were any."""
        found = [
            name
            for name, check in list(self._checks.items())
            if check.was_canceled and self.request(name).campaign == str(campaign)
        ]
        for name in found:
            self._forget(name)
        return bool(found)

    def html(self, name: str) -> str:
        """Returns the parts of a check's page, as JSON. Raises `NotFoundError`."""
        try:
            return self._file(name, "html").read_text(encoding="utf-8")
        except OSError as error:
            raise NotFoundError(_NOT_KEPT) from error

    def problem_rows(self, name: str) -> ProblemRows | None:
        """Returns the rows that a check found to be unusable; `None` if there are none. Raises `NotFoundError`."""
        return self._found(name, "rows", problem_rows.restored)

    def to_approve(self, name: str) -> ToApprove | None:
        """Returns what a check found to be approved; `None` if it needs no approval. Raises `NotFoundError`."""
        return self._found(name, "approval", to_approve.restored)

    def _found(self, name: str, what: str, restored: Callable[[Mapping[str, Any]], T]) -> T | None:
        """Returns what a check has saved in a file of its own; `None` if there is none."""
        try:
            return restored(json.loads(self._file(name, what).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise NotFoundError(_NOT_KEPT) from error

    def file_of(self, name: str, what: str) -> Path:
        """Returns the path of a file that a check offers as a download. `what`: the end of its name."""
        return self._file(name, "request").with_name(f"{name}.{what}")

    def delete_old(self) -> None:
        """Deletes the files of old jobs."""
        for file in self._folder.glob("*.*"):
            changed_at = _changed_at(file)
            if changed_at is not None and time.time() - changed_at > _KEPT:
                with suppress(OSError):
                    file.unlink()

    def _file(self, name: str, what: str) -> Path:
        if not _NAME.fullmatch(name):
            raise NotFoundError("There is no such check. Check the campaign again.")
        return self._folder / f"{name}.{what}.json"


def environment_of(user: str, *, named: bool) -> dict[str, str]:
    """Returns the environment of a user's job. A `named` user, who signed in, is recorded as the sender."""
    # `os_user` reads LOGNAME first, on every system.
    return {**os.environ, **({"LOGNAME": user} if named else {})}


def job_file(request_file: Path, what: str) -> Path:
    """Returns another file of the job with this request file."""
    return request_file.with_name(f"{request_file.name.removesuffix('.request.json')}.{what}.json")


def read_state(file: Path) -> JobState | None:
    try:
        return JobState(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_state(file: Path, state: JobState) -> None:
    """Writes a state, completely or not at all. Raises `OSError`."""
    write_json(file, asdict(state))


def write_json(file: Path, value: Any) -> None:
    """Writes a private file of a job. Raises `OSError`."""
    content = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    write_private(file, lambda path: _write(path, content))


def this_process() -> tuple[int, float]:
    """Returns this process's id and start time. The time is needed because systems reuse ids."""
    return os.getpid(), psutil.Process().create_time()


def _is_alive(state: JobState) -> bool:
    try:
        process = psutil.Process(state.process)
        return abs(process.create_time() - state.began) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _changed_at(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


JOBS = web.AppKey("jobs", Jobs)
