"""Finds the newest file that matches a pattern, and waits until files are no longer being written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

from batchsend.errors import ListError
from batchsend.utils.protected_files import refusal
from batchsend.utils.wording import time_span

#: A file's time this far in the future is wrong. Less can come from a wrong time zone, as of a file server.
FAR_AHEAD = timedelta(days=2)
#: How often to look at files that may still be written.
_LOOK_SECONDS = 0.5
#: How much longer than `list_settle` to wait for a file that keeps changing.
_PATIENCE_SECONDS = 15 * 60

#: Called once when waiting begins, with the seconds it takes if nothing changes any more, and the reason.
OnWait = Callable[[float, str], None]


def no_word(_seconds: float, _reason: str) -> None:
    """An `OnWait` that tells no one."""


def newest_match(pattern: Path, allows: Callable[[Path], bool]) -> Path:
    """The most recently saved file that matches; of files saved at the same time, the last by name.

    `pattern` is an absolute path whose parts may have `*` and `?`. Folders, files that must not be read or that
    `allows` excludes, and Office's `~$` lock files never match. Raises `ListError` if no file matches, or if the
    newest has a wrong time, which would hide all later files.
    """
    root = Path(pattern.anchor)
    # Only `*` and `?` are wildcards: a folder may be called [March].
    parts = str(pattern.relative_to(root)).replace("[", "[[]")
    # The folders without wildcards were checked with the campaign.
    fixed = next(folder for folder in pattern.parents if not any(sign in str(folder) for sign in "*?"))
    try:
        found = [
            (path.stat().st_mtime_ns, path.name, path)
            for path in root.glob(parts)
            if not path.name.startswith("~$")
            and refusal(path, fixed) is None
            and allows(path)
            and path.is_file()
        ]
    except OSError as error:
        raise ListError(
            pattern, f"the folder cannot be searched ({error.strerror}). Check that it exists"
        ) from error
    if not found:
        raise ListError(
            pattern,
            "no file matches this pattern. Export the list, or choose another list for the campaign",
        )
    saved, _, newest = max(found)
    if saved / 1e9 - time.time() > FAR_AHEAD.total_seconds():
        raise ListError(newest, FROM_THE_FUTURE)
    return newest


FROM_THE_FUTURE = (
    "Its time is days in the future, so its age is unknown. Correct the clock of the computer that saved it, and "
    "save the file again."
)


def wait_until_settled(
    files: Callable[[], Iterable[Path]], settle: timedelta, on_wait: OnWait = no_word
) -> None:
    """Waits until none of the files has changed for `settle`. Raises `ListError` about one that keeps changing.

    `files` names them at each look, because a newer file can begin to match a pattern. A missing file is not waited
    for, unless it was there when the wait began.
    """
    seconds = settle.total_seconds()
    began = time.monotonic()
    watched: dict[Path, _Watched] = {}
    told = False
    while True:
        moment = time.monotonic()
        paths = tuple(files())
        for path in paths:
            watched.setdefault(path, _Watched(path, moment)).look(moment)
        left, path = max(
            ((watched[path].left(seconds, moment), path) for path in paths), default=(0.0, Path())
        )
        if left <= 0:
            return
        if moment - began > seconds + _PATIENCE_SECONDS:
            raise ListError(path, _still_changing(moment - began, settle))
        if not told:
            told = True
            on_wait(left, f"{path} was changed less than {time_span(seconds)} ago (guards.list_settle)")
        time.sleep(min(left, _LOOK_SECONDS))


class _Watched:
    """A file that may still be written. `quiet_since`: the monotonic time since which it is unchanged."""

    def __init__(self, path: Path, moment: float) -> None:
        self._path = path
        self._state = _state(path)
        # Only here does the file's own time count: later, the clock can be set, and a copy can get an old time.
        age = time.time() - self._state[1] / 1e9 if self._state is not None else float("inf")
        self.quiet_since = moment - max(0.0, age)

    def look(self, moment: float) -> None:
        state = _state(self._path)
        if state != self._state:
            self._state, self.quiet_since = state, moment

    def left(self, seconds: float, moment: float) -> float:
        """How many seconds the file still has to stay as it is."""
        return seconds - (moment - self.quiet_since)


def _state(path: Path) -> tuple[int, int] | None:
    """Size and modification time in nanoseconds; `None` if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _still_changing(waited: float, settle: timedelta) -> str:
    return (
        f"It still changes after {time_span(waited)}, but guards.list_settle is {time_span(settle.total_seconds())}. "
        "Nothing was sent. Check the program that writes it, and start again when it has finished."
    )
