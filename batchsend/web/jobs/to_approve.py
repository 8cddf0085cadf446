"""What a check found that another person may have to approve, as the server keeps it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from batchsend.ledger.opening import SCRATCH_RUN
from batchsend.ledger.runs import run_rows
from batchsend.planning.approval import PlanContent
from batchsend.planning.plan import Plan
from batchsend.statuses import Status

#: Texts that the page of an approval shows; the check's page has more.
_SAMPLES = 3


class Sample(NamedTuple):
    """A text to be approved. `phone`: E.164, `None` for the customer's preferred number."""

    row: int
    phone: str | None
    body: str


@dataclass(frozen=True)
class ToApprove:
    """The content of a checked plan, through which API and from which list, with its first texts."""

    content: PlanContent
    base_url: str
    list_file: str
    samples: tuple[Sample, ...]

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        rows = base64.b64encode(self.content.rows).decode()
        return {**asdict(self), "content": {**asdict(self.content), "rows": rows}}


def to_approve(plan: Plan) -> ToApprove | None:
    """What has to be approved of this plan; `None` if it needs no approval."""
    if plan.approval is None:
        return None
    rows = run_rows(plan.scratch, SCRATCH_RUN, [Status.PENDING], Sample._fields)
    samples = tuple(Sample(**row) for row in islice(rows, _SAMPLES))
    return ToApprove(plan.approval.content, plan.request.base_url, str(plan.sources.customers.path), samples)


def restored(stored: Mapping[str, Any]) -> ToApprove:
    """What `ToApprove.stored` returned."""
    content = PlanContent(**{**stored["content"], "rows": base64.b64decode(stored["content"]["rows"])})
    samples = tuple(Sample(*sample) for sample in stored["samples"])
    return replace(ToApprove(**{**stored, "content": content}), samples=samples)
