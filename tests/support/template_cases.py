"""Helpers for tests of templates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batchsend.errors import TemplateError
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.statuses import Code

COLUMNS = ["Customer ID", "First Name", "2nd Phone", "Price", "Range"]
JOHN = ["C1", "JOHN", "3125550142", "10", "250"]
BLANK = ["C2", "", "", "", ""]

Load = Callable[..., MessageTemplate]


def problems(load: Load, source: str, **arguments: object) -> list[str]:
    """The problems for which a template is refused."""
    with pytest.raises(TemplateError) as caught:
        load(source, **arguments)
    assert str(caught.value).startswith(str(caught.value.path))
    return list(caught.value.problems)


def problem(template: MessageTemplate, values: list[str]) -> tuple[Code, str]:
    """The problem of a row."""
    with pytest.raises(RowProblem) as caught:
        template.render(values)
    return caught.value.code, caught.value.description
