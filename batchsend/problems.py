"""What is wrong with one row: raised by the rules, told in the results, never a reason to stop a run."""

from __future__ import annotations

from batchsend.errors import BatchsendError
from batchsend.statuses import Code


class RowProblem(BatchsendError):  # noqa: N818 - a verdict on a row, not a failure
    """This row cannot become a message. `code` is for programs, `description` one sentence for people.

    A description names columns, variables and lines, never a customer's phone number or text.
    """

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
