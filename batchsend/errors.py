"""All exceptions that batchsend raises for users. The class depends on what the user can do about it.

Every message names the file, the row or the key, and says what is wrong and what to do. The command line prints the
message and exits with the exit code of the class, without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from batchsend.statuses import Code


class BatchsendError(Exception):
    """A problem that the user can fix. The message says how.

    `on_page`: the message for a page of the console, which has buttons in place of commands and no paths of the
    server; left out, it is the message itself.
    """

    exit_code = 2

    def __init__(self, *arguments: object, on_page: str = "") -> None:
        super().__init__(*arguments)
        self._on_page = on_page

    @property
    def on_page(self) -> str:
        """The message for a page of the console."""
        return self._on_page or str(self)

    @property
    def with_notes(self) -> str:
        """The message, with what else a person should know of it."""
        return "\n".join((str(self), *getattr(self, "__notes__", ())))

    @property
    def page_problems(self) -> tuple[str, ...]:
        """The problems in the words of the console's pages; one, unless it is about a file."""
        return (self.on_page,)


class Sentence(str):
    """A problem or remark with another wording for pages of the console, which have fields in place of keys."""

    on_page: str

    def __new__(cls, text: str, on_page: str) -> Self:
        made = super().__new__(cls, text)
        made.on_page = on_page
        return made

    def __reduce__(self) -> tuple[object, ...]:
        """Lets the problem be sent to another process."""
        return type(self), (str(self), self.on_page)


def page_words(sentence: str) -> str:
    """The sentence as the console's pages say it."""
    return sentence.on_page if isinstance(sentence, Sentence) else sentence


class FileError(BatchsendError):
    """A file is missing, unreadable or has the wrong content.

    The message begins with `path`. Several problems of one file are shown together, one per line.
    """

    def __init__(self, path: Path | str, problems: str | Iterable[str]) -> None:
        self.path = Path(path)
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(_message(path, self.problems))

    @property
    def on_page(self) -> str:
        """The message for a page of the console, with the file's name instead of its path."""
        return _message(self.path.name, self.page_problems)

    @property
    def page_problems(self) -> tuple[str, ...]:
        """The problems in the words of the console's pages."""
        return tuple(map(page_words, self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        """Lets the error be sent to another process."""
        return type(self), (self.path, self.problems), self.__dict__


def _message(path: Path | str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{path}: {problems[0]}"
    return "\n".join([f"{path}: {len(problems)} problems", *(f"  - {problem}" for problem in problems)])


class CampaignError(FileError):
    """The campaign file has a problem."""

    @property
    def on_page(self) -> str:
        """The message for a page of the console, where the page of the campaign file shows the problems."""
        what = "a problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return (
            f"The campaign file {self.path.name} has {what}, so nothing can be checked or sent. Open it under "
            f"“Advanced: the campaign file”, or ask the person who looks after batchsend."
        )


class ForbiddenFileError(CampaignError):
    """The campaign names a file that batchsend must not read. It may have other problems too."""


class CombinedError(BatchsendError):
    """The problems of several files, so that a user can fix all of them at once."""

    def __init__(self, errors: Iterable[BatchsendError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "\n".join(map(str, self.errors)), on_page="\n".join(one.on_page for one in self.errors)
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Lets the error be sent to another process."""
        return type(self), (self.errors,)


def system_sentence(error: OSError) -> str:
    """A sentence about an error of the operating system, such as a full disk or a file that may not be read."""
    where = f"{error.filename}: " if error.filename else ""
    # Python has no error of its own for that.
    no_temporary_folder = "No usable temporary directory" in str(error)
    way_out = (
        " Set TMPDIR (on Windows: TEMP) to a folder that can be written to." if no_temporary_folder else ""
    )
    return f"{where}{error.strerror or error}.{way_out}"


def unreadable(error: OSError) -> str:
    """The message for a file that the operating system cannot read."""
    return (
        f"It cannot be read ({error.strerror or error}). "
        "Close other programs that have it open, and check that you have permission to read it."
    )


class SettingsError(BatchsendError):
    """Credentials or other settings are missing or wrong."""


class CredentialError(SettingsError):
    """A name or a password that cannot be right. `variable`: the setting's name."""

    def __init__(self, variable: str, sentence: str) -> None:
        super().__init__(sentence)
        self.variable = variable

    def __reduce__(self) -> tuple[object, ...]:
        """Lets the error be sent to another process."""
        return type(self), (self.variable, str(self))


class ListError(FileError):
    """The list as a whole cannot be used. Raised before any row is judged.

    `headers`: the list's headers if they could be read, so that their problems can be reported too. The others are
    for people who choose: `options` are the list options that solve all of its problems, if some do; `sheets` those
    that could be the list; `hidden_rows` how many rows are hidden; `top` its first rows, with their numbers.
    """

    headers: tuple[str, ...] | None = None
    options: frozenset[str] = frozenset()
    sheets: tuple[str, ...] = ()
    hidden_rows: int = 0
    top: tuple[tuple[int, tuple[str, ...]], ...] = ()


class ColumnsError(ListError):
    """The list lacks a column that the campaign uses, or it is unclear which one is meant.

    `columns`: for each problem the key of the campaign file, and the header that it names, if it names one; `title`:
    the first row is probably a title, and the other problems follow from it.
    """

    columns: tuple[tuple[str, str | None], ...] = ()
    title: bool = False


class TemplateError(FileError):
    """The template as a whole cannot be used. Raised before any row is rendered."""


class GuardError(BatchsendError):
    """A guard refused the start. Nothing was sent."""


class IdentityError(BatchsendError):
    """The ledger knows this campaign by another name, file or key; sending could text people twice.

    `problem`: what is wrong and how to keep the history. `option`: the command-line option that starts without the
    history; "" if there is none.
    """

    def __init__(self, problem: str, option: str = "", *, on_page: str = "") -> None:
        message = f"{problem} To start without its history: {option}" if option else problem
        super().__init__(message, on_page=on_page or problem)
        self.problem = problem
        self.option = option


class LedgerError(BatchsendError):
    """The ledger cannot be opened, read or written."""

    @property
    def on_page(self) -> str:
        """The message for a page of the console."""
        return self._on_page or (
            "The record of what was sent cannot be used at the moment. Its disk may be full, or another program may "
            "be using it. Try again. If it stays, ask the person who looks after batchsend."
        )


class ResultsError(BatchsendError):
    """The results cannot be written."""


class DeclinedError(BatchsendError):
    """The question before sending was not answered with the number of texts."""


class ExtensionError(BatchsendError):
    """Something that an installed package adds to batchsend fails. The message names the package."""


class StoppedError(BatchsendError):
    """Sending stopped early. The same command picks up where it left off."""

    exit_code = 3


_SENT_BY_ANOTHER = (
    "This campaign is being sent by another process. Let it finish, or pause it on the page of its run, then check "
    "again."
)


class BusyError(BatchsendError):
    """Another process is running this campaign."""

    exit_code = 4

    @classmethod
    def sending(cls, name: str) -> Self:
        """The error where another process sends the campaign `name`."""
        return cls(
            f'"{name}" is being sent by another process. Let it finish, or stop it with "batchsend stop", then run '
            f"this again. Nothing was sent by this start.",
            on_page=_SENT_BY_ANOTHER,
        )


class RowProblem(BatchsendError):  # noqa: N818 - about one row, not a failure of the program
    """A row cannot be turned into a message. `code` is for programs, `description` is a sentence for people.

    A description names columns, variables and lines, but never a customer's phone number or text.
    """

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class FilterProblem(RowProblem):
    """A filter cannot read a value or format it as asked; the code is TEMPLATE_ERROR."""

    def __init__(self, description: str) -> None:
        super().__init__(Code.TEMPLATE_ERROR, description)
