"""A message template: checked as a whole against the list's columns, then rendered row by row.

Templates are Jinja's. A column is a variable by its name in snake_case (`First Name` is `first_name`; as with
headers, case and underscores do not count), or `row["2nd Phone"]`. A blank cell is false in a test and replaced by
`or` and `default`; printing it is a problem of the row, because no text may ever say `Hi ,`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from jinja2 import DictLoader, Template, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError

from batchsend.errors import RowProblem, TemplateError
from batchsend.lists.headers import ColumnIndex
from batchsend.messages.environment import BlankCell, BlankCellError, BoundedEnvironment, blank_cell
from batchsend.messages.limits import RefusedError, joined, reset_budget
from batchsend.messages.template_check import ROW, Findings, check, plain_message, read
from batchsend.statuses import Code

__all__ = ["MessageTemplate", "RowProblem"]


class MessageTemplate:
    """One template, ready to render rows of one list. Made by `load`."""

    #: The template's file.
    path: Path
    #: Indexes of the list's columns that the template looks at, included files as well.
    uses: frozenset[int]
    #: The template's names for columns, each with the column's index.
    variables: Mapping[str, int]
    #: Of the template and of all files that it includes: changes whenever the texts could.
    source_sha256: str

    def __init__(self, path: Path, template: Template, columns: ColumnIndex, findings: Findings) -> None:
        self.path = path
        self.uses = frozenset(findings.uses)
        self.variables = dict(findings.variables)
        self.source_sha256 = _fingerprint(path.name, findings.sources)
        self._template = template
        self._columns = columns
        self._globals = dict(template.environment.globals)
        self._variables = tuple(
            (name, index, _blank(f"`{name}`", columns.headers[index]))
            for name, index in findings.variables.items()
        )
        self._needs_row = findings.needs_row
        self._row_blanks = tuple(_blank(f'`{ROW}["{header}"]`', header) for header in columns.headers)

    @classmethod
    def load(cls, path: Path, columns: Sequence[str]) -> MessageTemplate:
        """Reads and checks the template at `path` for a list with these headers, as they stand there.

        Raises `TemplateError` with everything that is wrong: no such file, not UTF-8, a mistake in the syntax,
        variables that the list has no column for, unknown filters, files outside the template's folder.
        """
        content, problem = read(path)
        if problem is not None:
            raise TemplateError(path, problem)
        return cls.of(path, content.decode("utf-8-sig"), columns)

    @classmethod
    def of(cls, path: Path, source: str, columns: Sequence[str]) -> MessageTemplate:
        """The template that the file `path` would be with this text. Raises `TemplateError`, as `load` does."""
        sources: dict[str, str] = {}
        environment = BoundedEnvironment(DictLoader(sources))
        index = ColumnIndex(columns)
        reset_budget()
        findings = check(environment, path.parent, path.name, source, index)
        if findings.problems:
            raise TemplateError(path, findings.problems)
        # What was checked is what is rendered, whatever happens to the files meanwhile.
        sources.update(findings.sources)
        template = _compiled(environment, path, sources)
        return cls(path, template, index, findings)

    def render(self, values: Sequence[str]) -> str:
        """The text of one row, before any tidying. `values` are its cells in the columns' order, '' for blank.

        Raises `RowProblem`: MISSING_VALUE where a blank would be printed; TEMPLATE_ERROR where rendering fails,
        takes over 2 seconds or gives over 100,000 characters.
        """
        variables = self._globals.copy()
        for name, index, blank in self._variables:
            variables[name] = values[index] or blank
        if self._needs_row:
            variables[ROW] = _Row(self._columns, values, self._row_blanks)
        reset_budget()
        try:
            return joined(self._template.root_render_func(self._template.new_context(variables, shared=True)))
        except Exception as error:  # noqa: BLE001 - whatever a template does wrong is the row's problem
            raise self._problem(error) from None

    def _problem(self, error: Exception) -> RowProblem:
        where = self._where(error.__traceback__)
        if isinstance(error, BlankCellError):
            return RowProblem(
                Code.MISSING_VALUE,
                f"{error.message}, and the template prints it on {where}: give it a default or fill the cell",
            )
        if isinstance(error, RowProblem):
            return RowProblem(error.code, f"{where}: {error.description}")
        said = f"the template {error}" if isinstance(error, RefusedError) else _reason(error)
        return RowProblem(Code.TEMPLATE_ERROR, f"{where}: {said}" if where else said)

    def _where(self, traceback: TracebackType | None) -> str:
        """`line 3`, or `line 3 of footer.j2` in a file that the template includes; '' where no line is to blame."""
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
                f"looks for a column that the list has {'not' if not found else 'more than once'}"
            )
        return self._values[found[0]] or self._blanks[found[0]]


def _blank(said: str, header: str) -> BlankCell:
    return blank_cell(f"{said} is blank (column {header})")


def _fingerprint(main: str, sources: dict[str, str]) -> str:
    others = sorted(name for name in sources if name != main)
    digest = hashlib.sha256(sources[main].encode())
    for name in others:
        digest.update(f"\0{name}\0{sources[name]}".encode())
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
    """What went wrong in words, without the values of the row."""
    if isinstance(error, TypeError):
        return "text and numbers do not mix; make numbers of cells first, as in `mileage|int > 50000`"
    if isinstance(error, ZeroDivisionError):
        return "the template divides by zero"
    if isinstance(error, RecursionError):
        return "the template calls itself without end"
    if isinstance(error, OverflowError):
        return "the template computes with too large a number"
    if isinstance(error, (SecurityError, UndefinedError)):
        return (error.message or "the template uses something that is not there").rstrip(".")
    return f"the template cannot be rendered for this row ({type(error).__name__})"
