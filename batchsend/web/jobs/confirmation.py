"""What a check showed, and whether it still holds just before the first text is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from batchsend.ledger.ledger import RunRecord
from batchsend.ledger.opening import SCRATCH_RUN
from batchsend.ledger.runs import run_tuples
from batchsend.planning.plan import Plan
from batchsend.statuses import Code, Status
from batchsend.utils.wording import text_count

#: How many texts "The first ..." sends.
FIRST = 10
#: The columns of a row that decide which text goes to whom, and from whom.
_TEXT_COLUMNS = ("row", "key", "customer_uuid", "department_uuid", "user_uuid", "phone", "body", "generation")


@dataclass(frozen=True)
class CheckedPlan:
    """What a check showed.

    `digest`: of all texts and their recipients; `first_`: of the first ones only. `again_unconfirmed`: texts that may
    have arrived before. `stopped_at`: from `stops`.
    """

    texts: int
    digest: str
    first_texts: int
    first_digest: str
    campaign_sha256: str
    list_file: str
    list_sha256: str
    template_sha256: str
    base_url: str
    again_unconfirmed: int = 0
    stopped_at: Sequence[str] = ()

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def checked_plan(plan: Plan) -> CheckedPlan:
    """Summarizes what this plan would send. Reads its texts once."""
    every, first = hashlib.sha256(), hashlib.sha256()
    count = 0
    for row in run_tuples(plan.scratch, SCRATCH_RUN, [Status.PENDING], ("codes", *_TEXT_COLUMNS)):
        if row[0] != Code.STOPPED:
            continue
        line = orjson.dumps(row[1:])
        every.update(line)
        if count < FIRST:
            first.update(line)
        count += 1
    sources = plan.sources
    return CheckedPlan(
        texts=count,
        digest=every.hexdigest(),
        first_texts=min(count, FIRST),
        first_digest=first.hexdigest(),
        campaign_sha256=plan.request.campaign.sha256,
        list_file=str(sources.customers.path),
        list_sha256=sources.customers.sha256,
        template_sha256=sources.template.source_sha256,
        base_url=plan.request.base_url,
        again_unconfirmed=plan.remarks.again_unconfirmed,
        stopped_at=stops(plan.runs),
    )


def stops(runs: Sequence[RunRecord]) -> list[str]:
    """Returns the runs that were stopped for good and have not continued since, each with its number and the time.

    They are compared with those of a check. Times are not: the clock may have been set back in between.
    """
    return [f"{run.id} {run.given_up_at}" for run in runs if run.given_up_at is not None]


def differences(checked: Mapping[str, Any], plan: Plan, *, first: bool) -> list[str]:
    """Returns a sentence for each difference between what was shown and this plan.

    `checked`: a stored `CheckedPlan`. `first`: only the first texts are sent.
    """
    before, now = CheckedPlan(**checked), checked_plan(plan)
    texts, digest = (before.first_texts, before.first_digest) if first else (before.texts, before.digest)
    found = []
    if not set(now.stopped_at) <= set(before.stopped_at):
        found.append("The campaign was stopped for good.")
    if now.base_url != before.base_url:
        found.append(f"Texts would now go through {now.base_url}, not {before.base_url}.")
    if now.campaign_sha256 != before.campaign_sha256:
        found.append("The campaign file was changed.")
    if (now.list_file, now.list_sha256) != (before.list_file, before.list_sha256):
        found.append("The list was changed.")
    if now.template_sha256 != before.template_sha256:
        found.append("The text was changed.")
    if now.texts != texts:
        found.append(f"You confirmed {text_count(texts)}, but {now.texts:,} would be sent now.")
    elif now.digest != digest and not found:
        found.append("Other customers would be texted than you saw, or the texts would be different.")
    return found
