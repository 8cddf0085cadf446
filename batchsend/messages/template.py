"""Message templates: checked once against the list's columns, then rendered row by row.

Templates use Jinja. A column is a variable in snake_case (`First Name` is `first_name`; case and underscores are
ignored, as in headers), or `row["2nd Phone"]`. A blank cell is false in a test, and `or` and `default` replace it.
Printing it is a problem of the row, because no text may say `Hi ,`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from jinja2 import DictLoader, Template, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

from batchsend.errors import ExtensionError, RowProblem, Sentence, TemplateError
from batchsend.lists.headers import ColumnIndex
from batchsend.messages.environment import BlankCell, BlankCellError, BoundedEnvironment, blank_cell
from batchsend.messages.limits import RefusedError, joined, reset_budget
from batchsend.messages.template_check import Findings, check
from batchsend.messages.template_files import read
from batchsend.messages.template_mistakes import ROW, plain_message
from batchsend.statuses import Code

__all__ = ["IS_BLANK", "MessageTemplate", "RowProblem"]


#: What follows the header of a blank cell in the problem of a row.
IS_BLANK = " is blank"


class MessageTemplate:
    """A template that can render the rows of one list. Create it with `load`."""

    #: The template's file.
    path: Path
    #: Indexes of the list's columns that the template and its included files use.
    uses: frozenset[int]
    #: The template's variables, with the indexes of their columns.
    variables: Mapping[str, int]
    #: The texts that the template and all included files have outside and inside of tags.
    constants: tuple[str, ...]
    #: A digest of the template, all included files and packages of filters; it changes whenever the texts could.
    source_sha256: str

    def __init__(self, path: Path, template: Template, columns: ColumnIndex, findings: Findings) -> None:
        self.path = path
        self.uses = frozenset(findings.uses)
        self.variables = dict(findings.variables)
        self.constants = tuple(dict.fromkeys(findings.constants))
        self.source_sha256 = _fingerprint(path.name, findings.sources, findings.packages)
        self._template = template
        self._columns = columns
        self._globals = dict(template.environment.globals)
        self._variables = tuple(
            (name, index, _blank(columns.headers[index])) for name, index in findings.variables.items()
        )
        self._needs_row = findings.needs_row
        self._row_blanks = tuple(map(_blank, columns.headers))

    @classmethod
    def load(cls, path: Path, columns: Sequence[str]) -> MessageTemplate:
        """Reads the template at `path` and checks it for a list with these headers.

        Raises `TemplateError` with all problems: no such file, not UTF-8, syntax errors, variables without a column,
        unknown filters, files outside the template's folder.
        """
        content, problem = read(path)
        if problem is not None:
            raise TemplateError(path, problem)
        return cls.of(path, content.decode("utf-8-sig"), columns)

    @classmethod
    def of(cls, path: Path, source: str, columns: Sequence[str]) -> MessageTemplate:
        """As `load`, with `source` instead of the content of `path`. Raises `TemplateError`."""
        sources: dict[str, str] = {}
        environment = BoundedEnvironment(DictLoader(sources))
        index = ColumnIndex(columns)
        reset_budget()
        findings = check(environment, path.parent, path.name, source, index)
        if findings.problems:
            raise TemplateError(path, findings.problems)
        # Renders the checked sources, even if the files change later.
        sources.update(findings.sources)
        template = _compiled(environment, path, sources)
        return cls(path, template, index, findings)

    def render(self, values: Sequence[str]) -> str:
        """The text of one row, not yet normalized. `values` are its cells in the order of the columns; '' is blank.

        Raises `RowProblem`: MISSING_VALUE if a blank would be printed; TEMPLATE_ERROR if rendering fails, takes more
        than 2 seconds or produces more than 100,000 characters. Raises `TemplateError` if the filter of a package
        hangs.
        """
        variables = self._globals.copy()
        for name, index, blank in self._variables:
            variables[name] = values[index] or blank
        if self._needs_row:
            variables[ROW] = _Row(self._columns, values, self._row_blanks)
        reset_budget()
        try:
            return joined(self._template.root_render_func(self._context(variables)))
        except ExtensionError as error:
            where = self._where(error.__traceback__)
            raise TemplateError(
                self.path, Sentence(f"{where}: {error}", f"{where}: {error.on_page}")
            ) from error
        except Exception as error:  # noqa: BLE001 - any error of a template is a problem of the row
            raise self._problem(error) from None

    def _context(self, variables: dict[str, Any]) -> Context:
        # `Template.new_context` would list the globals for each row, which takes longer than the rest.
        template = self._template
        return Context(template.environment, variables, template.name, template.blocks)

    def _problem(self, error: Exception) -> RowProblem:
        where = self._where(error.__traceback__)
        if isinstance(error, BlankCellError):
            return RowProblem(
                Code.MISSING_VALUE,
                f"{error.message}, and the template prints it on {where}: give it a default or fill the cell",
            )
        if isinstance(error, RowProblem):
            return RowProblem(error.code, f"{where}: {error.description}")
        reason = f"the template {error}" if isinstance(error, RefusedError) else _reason(error)
        return RowProblem(Code.TEMPLATE_ERROR, f"{where}: {reason}" if where else reason)

    def _where(self, traceback: TracebackType | None) -> str:
        """`line 3`, or `line 3 of footer.j2` in an included file; '' if the error has no line."""
        where = ""
        while traceback is not None:
            template = traceback.tb_frame.f_globals.get("__jinja_template__")
            if isinstance(template, Template):
                line = template.get_corresponding_lineno(traceback.tb_lineno)
                where = f"line {line}" if template is self._template else f"line {line} of {template.name}"
            traceback = traceback.tb_next
        return where


class _Row:
    """The whole row in a template: `row["2nd Phone"]`."""

    __slots__ = ("_blanks", "_columns", "_values")

    def __init__(self, columns: ColumnIndex, values: Sequence[str], blanks: Sequence[BlankCell]) -> None:
        self._columns = columns
        self._values = values
        self._blanks = blanks

    def __getitem__(self, header: object) -> str | BlankCell:
        text = header if isinstance(header, str) else ""
        found = self._columns.with_header(text) or self._columns.with_variable(text)
        if len(found) != 1:
            raise RefusedError(
                f"looks for a column that the list {'has more than once' if found else 'does not have'}"
            )
        return self._values[found[0]] or self._blanks[found[0]]


def _blank(header: str) -> BlankCell:
    return blank_cell(f"{header}{IS_BLANK}")


def _fingerprint(main: str, sources: dict[str, str], packages: set[str]) -> str:
    others = sorted(name for name in sources if name != main)
    digest = hashlib.sha256(sources[main].encode())
    for name in others:
        digest.update(f"\0{name}\0{sources[name]}".encode())
    for package in sorted(packages):
        digest.update(f"\0\0{package}".encode())
    return digest.hexdigest()


def _compiled(environment: BoundedEnvironment, path: Path, sources: dict[str, str]) -> Template:
    try:
        for name in sources:
            environment.get_template(name)
    except TemplateSyntaxError as error:
        file = "" if error.name == path.name else f"{error.name}, "
        raise TemplateError(path, f"{file}line {error.lineno}: {plain_message(error)}") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise TemplateError(path, "the template is nested too deeply") from None
    return environment.get_template(path.name)


def _reason(error: Exception) -> str:
    """Explains an error without showing values of the row."""
    if isinstance(error, TypeError):
        return "text and numbers do not mix; convert cells to numbers first, as in `mileage | number > 50000`"
    if isinstance(error, ZeroDivisionError):
        return "the template divides by zero"
    if isinstance(error, RecursionError):
        return "the template calls itself endlessly"
    if isinstance(error, OverflowError):
        return "the template computes with too large a number"
    if isinstance(error, (SecurityError, UndefinedError)):
        return (error.message or "the template uses something that does not exist").rstrip(".")
    return f"the template cannot be rendered for this row ({type(error).__name__})"
