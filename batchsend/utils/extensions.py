"""What other packages add to batchsend: they name it as an entry point in one of the groups of `Point`.

The entry points of all packages are read once, when one is first needed. A package's code is imported and run only
when it is used, in a thread of its own, so that code that hangs can be given up. Its errors name the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from traceback import extract_tb
from typing import Any, TypeAlias, TypeVar

from batchsend.errors import BatchsendError, ExtensionError
from batchsend.utils.wording import time_span

T = TypeVar("T")


class Point(StrEnum):
    """The groups of entry points."""

    LIST_SOURCE = "batchsend.list_sources"
    FILTER = "batchsend.filters"
    LINT_RULE = "batchsend.lint_rules"
    NOTIFIER = "batchsend.notifiers"

    @property
    def words(self) -> str:
        """What an entry point of the group is: `list source`."""
        return self.removeprefix("batchsend.").removesuffix("s").replace("_", " ")


@dataclass(frozen=True)
class Extension:
    """An entry point of an installed package. `entry`: its name in the group, and the object that it names."""

    point: Point
    package: str
    entry: EntryPoint

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def words(self) -> str:
        """What and whose it is: `the list source "crm" of the package dealer-crm 1.2 (dealer_crm:customers)`."""
        return f'the {self.point.words} "{self.name}" of the package {self.package} ({self.entry.value})'

    def error(self, problem: str, kind: type[ExtensionError] = ExtensionError) -> ExtensionError:
        """The error that the extension has this problem. `problem` follows its name, and says what to do."""
        words = self.words
        return kind(
            f"{words[0].upper()}{words[1:]} {problem}",
            on_page=f"The add-on “{self.name}” of {self.package} could not be used. Ask the person who looks after "
            "batchsend.",
        )


def find(point: Point, name: str) -> Extension | None:
    """The extension of this name; `None` if no installed package has one.

    Raises `ExtensionError` if several packages have it, or one cannot be read.
    """
    found = [one for one in _installed() if (one.point, one.name) == (point, name)]
    if len(found) > 1:
        others = " and ".join(sorted(one.package for one in found[1:]))
        raise found[0].error(
            f"has the same name as that of {others}. Uninstall all but one of these packages."
        )
    return found[0] if found else None


def needed(point: Point, name: str) -> Extension:
    """As `find`, but raises `ExtensionError` if no installed package has one."""
    if (found := find(point, name)) is None:
        raise ExtensionError(
            f'No package with the {point.words} "{name}" is installed on this computer. Install it, or correct the '
            "name.",
            on_page=f"The add-on “{name}” is not installed. Ask the person who looks after batchsend.",
        )
    return found


def names(point: Point) -> list[str]:
    """The names of the installed extensions of a group; empty if they cannot be read, which `find` reports."""
    try:
        return sorted({one.name for one in _installed() if one.point == point})
    except ExtensionError:
        return []


@cache
def _installed() -> tuple[Extension, ...]:
    # Most packages have no entry points for batchsend, and are not parsed.
    ours = [one for one in distributions() if "[batchsend." in _entry_points_text(one)]
    # If a package is found twice, Python imports the first one.
    first = {one.name: one for one in reversed(ours)}
    return tuple(extension for one in first.values() for extension in _extensions_of(one))


def _entry_points_text(distribution: Distribution) -> str:
    """The file with a package's entry points; "" if there is none, or it cannot be read, which concerns others."""
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeError):
        return ""


def packages() -> list[str]:
    """The installed packages that extend batchsend, with their versions; empty if they cannot be read."""
    try:
        return sorted({one.package for one in _installed()})
    except ExtensionError:
        return []


def forget() -> None:
    """Reads the entry points again at the next use, because packages were installed or removed."""
    _installed.cache_clear()


def _extensions_of(distribution: Distribution) -> Iterator[Extension]:
    package = f"{distribution.name} {distribution.version}"
    try:
        entries = list(distribution.entry_points)
    except Exception as error:
        raise ExtensionError(
            f"The entry points of the package {package} cannot be read. Install it again, or uninstall it."
        ) from error
    for entry in entries:
        if entry.group in set(Point):
            yield Extension(Point(entry.group), package, entry)


# --- running


class GivenUpError(ExtensionError):
    """An extension's code took too long. Its thread is left behind."""


#: Seconds of a single wait for an answer.
_LONGEST_WAIT = 0.5
#: Gets what a call gives, or its error.
_Answers: TypeAlias = "SimpleQueue[tuple[Any, BaseException | None]]"


class Call:
    """Runs an extension's code in a thread of its own. `seconds`: for all calls together, until `restart`."""

    def __init__(self, extension: Extension, seconds: float) -> None:
        self.extension = extension
        self._seconds = seconds
        self._asked: SimpleQueue[tuple[Callable[[Any], Any], _Answers] | None] = SimpleQueue()
        self.restart()
        Thread(target=self._work, name=f"extension {extension.name}", daemon=True).start()

    def restart(self) -> None:
        """Gives the whole time to the next calls."""
        self._ends = monotonic() + self._seconds

    def __call__(self, function: Callable[[Any], T]) -> T:
        """What `function` makes of the extension's object.

        Raises `ExtensionError` if it fails, with its error as the cause, and `GivenUpError` if it takes too long.
        """
        # Each call has its own: the answer to a call that was interrupted must not be taken for the next one's.
        answers: _Answers = SimpleQueue()
        self._asked.put((function, answers))
        try:
            answer: T
            answer, error = self._answer(answers)
        except Empty:
            problem = f"took more than {_span(self._seconds)} and was given up. {ASK_AUTHOR}"
            raise self.extension.error(problem, GivenUpError) from None
        if error is not None:
            raise self.extension.error(_failure(error)) from error
        return answer

    def _answer(self, answers: _Answers) -> tuple[Any, BaseException | None]:
        """Raises `Empty` if the time is over."""
        # On Windows, Ctrl-C has no effect before the end of a wait.
        while (left := self._ends - monotonic()) > _LONGEST_WAIT:
            with suppress(Empty):
                return answers.get(timeout=_LONGEST_WAIT)
        return answers.get(timeout=max(left, 0))

    def end(self) -> None:
        """Lets the thread end. If the extension's code hangs, the thread is left behind until the process ends."""
        self._asked.put(None)

    def _work(self) -> None:
        loaded: Any = None
        while (asked := self._asked.get()) is not None:
            function, answers = asked
            try:
                loaded = loaded or self.extension.entry.load()
                answers.put((function(loaded), None))
            except BaseException as error:  # noqa: BLE001 - an extension may raise anything, such as SystemExit
                answers.put((None, error))


@contextmanager
def running(extension: Extension, seconds: float) -> Iterator[Call]:
    """Runs an extension's code in a thread that ends with the block."""
    call = Call(extension, seconds)
    try:
        yield call
    finally:
        call.end()


#: What to do about a mistake in a package.
ASK_AUTHOR = "Update the package, or ask its author."


def _span(seconds: float) -> str:
    return time_span(seconds) if seconds >= 60 else f"{seconds:g} seconds"


def _failure(error: BaseException) -> str:
    """What went wrong. Only a message that was written for people is shown: others can quote a password or a cell."""
    if isinstance(error, BatchsendError):
        return f"failed: {error}"
    frames = extract_tb(error.__traceback__)
    where = f", {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"failed ({type(error).__name__}{where}). {ASK_AUTHOR}"
