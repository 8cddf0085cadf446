"""`[recipients] where`: an expression that says which rows of a list get a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, TemplateSyntaxError
from jinja2.parser import Parser

from batchsend.errors import CampaignError, RowProblem, TemplateError
from batchsend.messages.environment import BoundedEnvironment
from batchsend.messages.template import MessageTemplate
from batchsend.messages.template_check import plain_message
from batchsend.statuses import Code

_KEY = "`recipients.where`"
_LINE = "line 1: "


class Condition:
    """An expression that is true or false for each row of one list. Create it with `of`."""

    #: The expression as the campaign file has it.
    source: str
    #: Indexes of the list's columns that the expression uses.
    uses: frozenset[int]

    def __init__(self, source: str, template: MessageTemplate) -> None:
        self.source = source
        self.uses = template.uses
        self._template = template

    @classmethod
    def of(cls, source: str, headers: Sequence[str], path: Path) -> Condition:
        """Checks the expression `source` of the campaign file `path` for a list with these headers.

        The rules are those of templates. Raises `CampaignError` with all problems: not one expression, variables
        without a column, unknown filters, no column at all.
        """
        _check_expression(source, path)
        try:
            template = MessageTemplate.of(path, f"{{% if ({source}) %}}true{{% endif %}}", headers)
        except TemplateError as error:
            raise _error(path, *error.problems) from None
        if not template.uses:
            raise _error(path, 'the expression uses no column of the list; write one such as model == "CR-V"')
        return cls(source, template)

    def holds(self, cells: Sequence[str]) -> bool:
        """Whether the row gets a text. `cells` are in the order of the headers; '' is blank.

        Raises `RowProblem` with the code TEMPLATE_ERROR if the expression has no answer for the row, such as for a
        blank that is compared with a number.
        """
        try:
            return bool(self._template.render(cells))
        except RowProblem as problem:
            raise RowProblem(Code.TEMPLATE_ERROR, f"{_KEY}: {_without_template(problem)}") from None


def _check_expression(source: str, path: Path) -> None:
    """Raises `CampaignError` unless `source` is one expression, so that it cannot hold statements or text."""
    try:
        parser = Parser(BoundedEnvironment(DictLoader({})), source, state="variable")
        parser.parse_expression()
        if parser.stream.eos:
            return
        problem = _rest(parser.stream.current.value)
    except TemplateSyntaxError as error:
        problem = plain_message(error)
    except RecursionError:
        problem = "the expression is nested too deeply"
    raise _error(path, problem)


def _without_template(problem: RowProblem) -> str:
    """The problem in the words of a condition, which has one line and prints nothing."""
    if problem.code is Code.MISSING_VALUE:
        blank = problem.description.partition(", and the template")[0]
        return f"{blank}: fill the cell, or begin the expression with `the_column and ...` to skip such rows"
    return problem.description.removeprefix(_LINE).replace("the template ", "the expression ", 1)


def _rest(found: object) -> str:
    if found == "=":
        return "= sets a value; write == to compare"
    return (
        f'unexpected `{found}`; write one expression, such as model == "CR-V" and mileage | number >= 30000'
    )


def _error(path: Path, *problems: str) -> CampaignError:
    return CampaignError(path, [f"{_KEY}: {problem.removeprefix(_LINE)}" for problem in problems])
