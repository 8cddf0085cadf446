"""`[recipients] where`: an expression that says which rows of a list get a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batchsend.errors import CampaignError, RowProblem, TemplateError
from batchsend.lists.headers import ColumnIndex
from batchsend.messages.template import IS_BLANK, MessageTemplate
from batchsend.messages.template_mistakes import corrected, is_expression, reference_to
from batchsend.statuses import Code

_KEY = "`recipients.where`"
_LINE = "line 1: "
_BEFORE, _AFTER = "{% if (", ") %}"


class Condition:
    """An expression that is true or false for each row of one list. Create it with `of`."""

    #: The expression as the campaign file has it.
    source: str
    #: Indexes of the list's columns that the expression uses.
    uses: frozenset[int]

    def __init__(self, source: str, template: MessageTemplate, columns: ColumnIndex) -> None:
        self.source = source
        self.uses = template.uses
        self._template = template
        self._columns = columns

    @classmethod
    def of(cls, source: str, headers: Sequence[str], path: Path) -> Condition:
        """Checks the expression `source` of the campaign file `path` for a list with these headers.

        The rules are those of templates. Raises `CampaignError` with all problems: not one expression, variables
        without a column, unknown filters, no column at all.
        """
        if not is_expression(source):
            raise _error(path, _syntax_problem(source, headers))
        try:
            template = MessageTemplate.of(path, f"{_BEFORE}{source}{_AFTER}true{{% endif %}}", headers)
        except TemplateError as error:
            raise _error(path, *error.problems) from None
        if not template.uses:
            raise _error(path, 'the expression uses no column of the list; write one such as model == "CR-V"')
        return cls(source, template, ColumnIndex(headers))

    def holds(self, cells: Sequence[str]) -> bool:
        """Whether the row gets a text. `cells` are in the order of the headers; '' is blank.

        Raises `RowProblem` with the code TEMPLATE_ERROR if the expression has no answer for the row, such as for a
        blank that is compared with a number.
        """
        try:
            return bool(self._template.render(cells))
        except RowProblem as problem:
            raise RowProblem(Code.TEMPLATE_ERROR, f"{_KEY}: {self._words(problem)}") from None

    def _words(self, problem: RowProblem) -> str:
        """The problem in the words of a condition, which has one line and prints nothing."""
        if problem.code is Code.MISSING_VALUE:
            header = problem.description.rpartition(IS_BLANK)[0]
            if not self._columns.with_header(header):  # what a filter made is blank
                return f"{header}{IS_BLANK}: skip such rows, or correct the cell"
            name = reference_to(self._columns, self._columns.with_header(header)[0])
            skip = f"begin the expression with `{name} and ...` to skip such rows"
            return f"{header}{IS_BLANK}: fill the cell, or {skip}"
        return problem.description.removeprefix(_LINE).replace("the template ", "the expression ", 1)


def _syntax_problem(source: str, headers: Sequence[str]) -> str:
    correction = corrected(source, ColumnIndex(headers))
    if correction is not None:
        return f"{correction.reason}; write {correction.expression}"
    if source.lstrip().startswith(("{{", "{%")):
        return 'write the expression without braces, such as model == "CR-V"'
    return 'this is not one expression; write one such as model == "CR-V" and mileage | number >= 30000'


def _error(path: Path, *problems: str) -> CampaignError:
    own = (problem.removeprefix(_LINE).replace(_BEFORE, "").replace(_AFTER, "") for problem in problems)
    return CampaignError(path, [f"{_KEY}: {problem}" for problem in own])
