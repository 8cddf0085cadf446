"""What takes long runs in processes of its own, which the server starts and finds again: checks, sending, tests.

A process of its own goes on when the browser is closed, when the server ends and when it is killed. What is asked of
it and what became of it stands in two files, that its owner alone can read. A name is used once: of two clicks, two
tabs or a page that was gone back to, the second one finds what the first one began.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.utils.files import write_private
from batchsend.utils.processes import ChildProcess
from batchsend.web.folder import CampaignFile, NotFoundError

_NAME = re.compile(r"[A-Za-z0-9_-]{16,32}(\.[a-z]{4,10}(-[A-Za-z0-9_-]{4,32})?)?")
#: Checks hold customers' texts and phones: they are deleted after so many seconds.
_KEPT = 2 * 86400.0
#: A process that was started this many seconds ago and has said nothing has failed.
_SILENT = 60.0
_STARTING, ENDED = "starting", "ended"


@dataclass(frozen=True)
class JobRequest:
    """What a process is to do. `campaign`: the file; `checked`: what was shown of a plan, by `promises.CheckedPlan`.

    `only_below`: the folder outside which the process reads no list, template or suppression file.
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
    only_below: str | None = None


@dataclass(frozen=True)
class State:
    """What became of it. `state`: `starting`, what it does, or `ended`; `said`: why it did not do what it was to do.

    `facts`: what it found out; `lost`: its process is gone, and nothing was said of an end.
    """

    state: str = _STARTING
    exit: int | None = None
    said: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    process: int | None = None
    began: float = 0.0
    lost: bool = False

    @property
    def is_over(self) -> bool:
        return self.state == ENDED or self.lost


class Jobs:
    """The processes of one server's folder. `only_below`: as in `JobRequest`, for all of them."""

    def __init__(self, folder: Path, only_below: Path | None = None) -> None:
        self._folder = folder
        self._only_below = only_below
        self._children: dict[str, ChildProcess] = {}

    def new_name(self) -> str:
        return secrets.token_urlsafe(16)

    def start(self, name: str, request: JobRequest, environment: Mapping[str, str]) -> bool:
        """Starts a process; `False` where this name was used before. Raises `BatchsendError`."""
        file = self._file(name, "request")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return False
        except OSError as error:
            raise BatchsendError(
                f"{file.parent}: cannot be written ({error.strerror}), so that nothing was begun. Make it writable."
            ) from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            only_below = str(self._only_below) if self._only_below is not None else None
            json.dump({**asdict(request), "only_below": only_below}, opened)
        try:
            self._children[name] = ChildProcess(
                [str(file)],
                module="batchsend.web.jobs.process",
                environment=environment,
                silent=True,
            )
        except OSError as error:
            raise BatchsendError(
                f"No process could be started ({error.strerror}): nothing was begun."
            ) from error
        return True

    def request(self, name: str) -> JobRequest:
        """What was asked for under a name. Raises `NotFoundError`."""
        try:
            return JobRequest(**json.loads(self._file(name, "request").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise NotFoundError("This check is not kept any more. Check the campaign again.") from error

    def is_used(self, name: str) -> bool:
        return self._file(name, "request").exists()

    def state(self, name: str) -> State:
        """What has become of it. Raises `NotFoundError` where nothing has this name."""
        child = self._children.get(name)
        running = child is not None and child.poll() is None
        asked_at = _changed_at(self._file(name, "request"))
        if asked_at is None:
            raise NotFoundError("This check is not kept any more. Check the campaign again.")
        state = read_state(self._file(name, "state"))
        if state is None:
            # Its process may have come from a server that was killed since.
            lost = not running and (child is not None or time.time() - asked_at > _SILENT)
            return State(lost=lost)
        if state.is_over or running or _is_alive(state):
            return state
        # It may have ended between the two looks.
        state = read_state(self._file(name, "state")) or state
        return state if state.is_over else State(**{**asdict(state), "lost": True})

    def html(self, name: str) -> str:
        """The page that a check made. Raises `NotFoundError`."""
        try:
            return self._file(name, "html").read_text(encoding="utf-8")
        except OSError as error:
            raise NotFoundError("This check is not kept any more. Check the campaign again.") from error

    def forget_old(self) -> None:
        """Deletes what is no longer needed."""
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
    """The environment of a process that somebody starts: a named user is who ran it, wherever that is recorded."""
    # What `whoami.os_user` looks at first, on every system.
    return {**os.environ, **({"LOGNAME": user} if named else {})}


def request_for(file: CampaignFile, kind: str, ledger: str | None, user: str, **more: Any) -> JobRequest:
    return JobRequest(kind=kind, campaign=str(file.path), ledger=ledger, user=user, **more)


def beside(request_file: Path, what: str) -> Path:
    """Another file of the process that was started with this one."""
    return request_file.with_name(f"{request_file.name.removesuffix('.request.json')}.{what}.json")


def read_state(file: Path) -> State | None:
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_state(file: Path, state: State) -> None:
    """Whole or not at all. Raises `OSError`."""
    text = json.dumps(asdict(state), ensure_ascii=False)
    write_private(file, lambda path: _write_text(path, text))


def own_process() -> tuple[int, float]:
    """This process's number, and when it began: numbers are used again."""
    return os.getpid(), psutil.Process().create_time()


def _is_alive(state: State) -> bool:
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


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


JOBS = web.AppKey("jobs", Jobs)
