"""The one family of exceptions: what a user can do about it decides the class.

Every message names the file, the row or the key, says what is wrong and what to do. The command line prints
the message as it stands and leaves with the class's exit code; no traceback reaches a user.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from batchsend.statuses import Code


class BatchsendError(Exception):
    """Something that the user can put right. The message says what and how."""

    exit_code = 2


class FileError(BatchsendError):
    """A file is missing, unreadable or not what it should be.

    `path` stands in front of the first line; several problems of one file are shown together, one a line.
    """

    def __init__(self, path: Path | str, problems: str | Iterable[str]) -> None:
        self.path = Path(path)
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            text = f"{path}: {self.problems[0]}"
        else:
            text = "\n".join([f"{path}: {len(self.problems)} problems", *(f"  - {p}" for p in self.problems)])
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes."""
        return type(self), (self.path, self.problems), self.__dict__


class CampaignError(FileError):
    """The campaign file cannot be used as it stands."""


class ForbiddenFileError(CampaignError):
    """The campaign names a file that must not be read, beside whatever else is wrong with it."""


class SettingsError(BatchsendError):
    """Credentials or other settings from the environment are missing or wrong."""


class ListError(FileError):
    """The list as a whole cannot be used; raised before any row is looked at.

    `headers` are there where they could be read: what else is wrong with them can be said at once.
    """

    headers: tuple[str, ...] | None = None


class TemplateError(FileError):
    """The template as a whole cannot be used; raised before any row is rendered."""


class GuardError(BatchsendError):
    """A guard refuses the start: nothing was sent."""


class IdentityError(BatchsendError):
    """The ledger knows this campaign by another name, file or key; sending could text people twice.

    `problem`: what is wrong and how to keep the history. `option`: the command-line option that starts without the
    history; "" if there is none.
    """

    def __init__(self, problem: str, option: str = "") -> None:
        super().__init__(f"{problem} To start without its history: {option}" if option else problem)
        self.problem = problem
        self.option = option


class LedgerError(BatchsendError):
    """The ledger cannot be opened, read or written."""


class ResultsError(BatchsendError):
    """Results cannot be written where they should go."""


class StoppedError(BatchsendError):
    """Sending had to stop early; the same command goes on where it stopped."""

    exit_code = 3


class BusyError(BatchsendError):
    """Another process is running this campaign."""

    exit_code = 4


class RowProblem(BatchsendError):  # noqa: N818 - a verdict on a row, not a failure
    """This row cannot become a message. `code` is for programs, `description` one sentence for people.

    A description names columns, variables and lines, never a customer's phone number or text.
    """

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
