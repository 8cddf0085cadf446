"""What somebody saw before they said yes, and whether it still holds when the first text is about to leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from batchsend.ledger.runs import run_rows
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.statuses import Code, Status
from batchsend.utils.wording import text_count

#: How many texts "the first ones" are.
FIRST = 10
#: What of a row makes its text this text to this person from this sender.
_OF_A_TEXT = ("row", "key", "customer_uuid", "department_uuid", "user_uuid", "phone", "body", "generation")


@dataclass(frozen=True)
class CheckedPlan:
    """What a check showed. `digest`: of every text that would leave, and to whom; `first_`: of the first ones.

    `again_unconfirmed`: texts among them that may have arrived before.
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

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def checked_plan(plan: Plan) -> CheckedPlan:
    """What this plan would do. Reads its texts once."""
    every, first = hashlib.sha256(), hashlib.sha256()
    count = 0
    for row in run_rows(plan.scratch, SCRATCH_RUN, [Status.PENDING]):
        if row["codes"] != Code.STOPPED:
            continue
        line = json.dumps([row[name] for name in _OF_A_TEXT]).encode()
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
    )


def differences(promised: Mapping[str, Any], plan: Plan, *, first: bool) -> list[str]:
    """What is not as it was shown, a sentence each; empty where everything is. `first`: only the first ones go."""
    was, now = CheckedPlan(**promised), checked_plan(plan)
    texts, digest = (was.first_texts, was.first_digest) if first else (was.texts, was.digest)
    found = []
    if now.base_url != was.base_url:
        found.append(f"Texts would go through {now.base_url}, not {was.base_url}.")
    if now.campaign_sha256 != was.campaign_sha256:
        found.append("The campaign file was changed.")
    if (now.list_file, now.list_sha256) != (was.list_file, was.list_sha256):
        found.append("The list was changed.")
    if now.template_sha256 != was.template_sha256:
        found.append("The text was changed.")
    if now.texts != texts:
        found.append(f"It would be {text_count(now.texts)} now, and you said {texts:,}.")
    elif now.digest != digest and not found:
        found.append("Other customers would be texted, or with other words, than those that you saw.")
    return found
