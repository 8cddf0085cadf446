"""What a person approves, and which plans an approval covers. `[guards] approval` asks for it.

An approval covers texts, not files: who gets which text from whom, through which API, by which rules. The time of day
and the order of the rows do not matter.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Hours
from batchsend.ledger.approvals import Approval, ApprovalState, approvals_for, approved_rows
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.runs import run_tuples
from batchsend.mykaarma.protocol import attributes_of
from batchsend.statuses import Status
from batchsend.utils.timestamps import for_people, from_text
from batchsend.utils.wording import text_count

#: The columns of a row that decide what is sent to whom, from whom and in which hours. `generation` tells texts that
#: `--resend` sends again from those that were sent before.
ROW_COLUMNS = (
    "key",
    "customer_uuid",
    "department_uuid",
    "user_uuid",
    "phone",
    "body",
    "clock",
    "generation",
)
#: Why an approval does not cover a plan.
DIFFERENT = "a text, a recipient, the sender or a setting is different now"
#: Bytes kept of the SHA-256 of a row. No one can find another row with the same ones.
_ROW_BYTES = 16


@dataclass(frozen=True)
class PlanContent:
    """What a plan sends.

    `settings`: a digest of what applies to all texts; `list_fingerprint`: of the list as read; `run_id`: the run that
    continues; `rows`: the digests of the rows to be sent, in order of their values.
    """

    settings: str
    list_fingerprint: str
    run_id: int | None
    rows: bytes
    texts: int
    segments: int

    @property
    def digest(self) -> str:
        """A digest of all texts, their recipients and senders, the rules, and the run that continues."""
        head = json.dumps([self.settings, self.run_id]).encode()
        return hashlib.sha256(head + self.rows).hexdigest()

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in the ledger."""
        return {**vars(self), "digest": self.digest}

    def covers(self, plan: PlanContent) -> bool:
        """Whether the approval of this content is one of `plan`, too.

        It is if the texts are the same. In the same list there may also be fewer: people who opted out since, and
        texts that the run has sent already.
        """
        if (self.settings, self.run_id) != (plan.settings, plan.run_id):
            return False
        if self.rows == plan.rows:
            return True
        left = _set(plan.rows)
        is_same_list = self.list_fingerprint == plan.list_fingerprint
        return is_same_list and len(left) == plan.texts and left < _set(self.rows)


class PlanApproval(NamedTuple):
    """What is known about the approval of a plan.

    `requests`: those that cover it, the latest first; `earlier`: the latest approval that does not cover it, `None`
    if there is none or one in `requests` is approved.
    """

    content: PlanContent
    requests: Sequence[Approval] = ()
    earlier: Approval | None = None

    def approved_for(self, sender: str) -> Approval | None:
        """The approval under which `sender` may send the plan."""
        return next(
            (
                one
                for one in self.requests
                if one.state is ApprovalState.APPROVED and not is_same_person(one.approved_by or "", sender)
            ),
            None,
        )


def is_same_person(one: str, other: str) -> bool:
    """Whether two names of users are the same but for letter case, width and spaces around them."""
    return _folded(one) == _folded(other)


def content_of(
    scratch: Ledger, scratch_run: int, settings: str, list_fingerprint: str, run_id: int | None
) -> PlanContent:
    """The content of the plan in `scratch`: all rows that can be sent, now or later."""
    segments = 0
    digests = []
    for size, *values in run_tuples(scratch, scratch_run, [Status.PENDING], ("segments", *ROW_COLUMNS)):
        segments += size or 0
        digests.append(row_digest(values))
    return PlanContent(settings, list_fingerprint, run_id, b"".join(sorted(digests)), len(digests), segments)


def approval_words(found: PlanApproval, sender: str, zone: ZoneInfo) -> str:
    """A sentence that says whether `sender` may send the plan."""
    approval = found.approved_for(sender)
    if approval is not None:
        return f"{decision_words(approval, zone)}."
    if found.requests and found.requests[0].state is not ApprovalState.ASKED:
        return f"{decision_words(found.requests[0], zone)}. Another person must approve or send them."
    if found.requests:
        return f"{request_words(found.requests[0], zone)}. It is not given yet."
    if found.earlier is not None:
        return f"{decision_words(found.earlier, zone)}, but {DIFFERENT}. Another person must approve it."
    return "Another person must approve these texts before they are sent."


def request_words(request: Approval, zone: ZoneInfo) -> str:
    """`ann asked for the approval of 239 texts at 2026-11-27 10:00`."""
    return f"{request.asked_by} asked for the approval of {text_count(request.texts)}{_at(request.asked_at, zone)}"


def decision_words(request: Approval, zone: ZoneInfo) -> str:
    """`dana approved 239 texts at 2026-11-27 10:00`, or refused them, with the reason."""
    texts = text_count(request.texts)
    if request.state is ApprovalState.REFUSED:
        because = f" ({request.reason})" if request.reason else ""
        return f"{request.refused_by} refused {texts}{_at(request.refused_at, zone)}{because}"
    return f"{request.approved_by} approved {texts}{_at(request.approved_at, zone)}"


def given_words(request: Approval, zone: ZoneInfo) -> str:
    """`dana on front-desk, 2026-11-27 10:00`: who gave an approval, even if it was taken back later."""
    at = for_people(from_text(request.approved_at or request.asked_at), zone)
    return f"{request.approved_by} on {request.approved_host}, {at}"


def _at(moment: str | None, zone: ZoneInfo) -> str:
    return f" at {for_people(from_text(moment), zone)}" if moment else ""


def row_digest(values: Iterable[Any]) -> bytes:
    """A digest of one row: the values of `ROW_COLUMNS`."""
    return hashlib.sha256(json.dumps(list(values)).encode()).digest()[:_ROW_BYTES]


def settings_digest(campaign: Campaign, base_url: str, hours: Hours | None) -> str:
    """A digest of what applies to all texts of a campaign: the API, the options and the waiting rules."""
    facts = [
        base_url,
        asdict(attributes_of(campaign)),
        None if hours is None else _facts_of(hours),
        campaign.zone.key,
        campaign.sending.per_day,
        campaign.sending.per_day_segments,
        campaign.sending.per_hour,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _facts_of(hours: Hours) -> list[Any]:
    facts = [f"{hours.begins}", f"{hours.ends}", hours.fallback, hours.fixed]
    # Approvals of campaigns without days off or hours of states stay valid from earlier versions.
    return [*facts, hours.days_off, f"{hours.states}"] if hours.days_off or hours.states else facts


def find_approval(ledger: Ledger | None, campaign: str, base_url: str, plan: PlanContent) -> PlanApproval:
    """Looks up what the ledger knows about the approval of this plan."""
    if ledger is None:
        return PlanApproval(plan)
    known = approvals_for(ledger, campaign, base_url, plan.run_id)
    requests = [one for one in known if _content(ledger, one, plan).covers(plan)]
    approved = [one for one in known if one.state is ApprovalState.APPROVED]
    earlier = approved[0] if approved and not set(approved) & set(requests) else None
    return PlanApproval(plan, requests, earlier)


def _content(ledger: Ledger, request: Approval, plan: PlanContent) -> PlanContent:
    # The rows of a long list are read only where they decide.
    rows = approved_rows(ledger, request.id) if request.settings == plan.settings else b""
    return PlanContent(
        request.settings, request.list_fingerprint, request.run_id, rows, request.texts, request.segments
    )


def _set(rows: bytes) -> set[bytes]:
    return {rows[start : start + _ROW_BYTES] for start in range(0, len(rows), _ROW_BYTES)}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()
