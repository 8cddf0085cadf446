"""Asks for the approval of a plan, answers a request, and refuses a start that is not approved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchsend.errors import BatchsendError, GuardError
from batchsend.ledger.approvals import (
    Approval,
    ApprovalRequest,
    ApprovalState,
    approval_by_id,
    ask,
    decide,
    note_need,
    open_request,
    use_approval,
    withdraw,
)
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import Person, this_person
from batchsend.planning.approval import (
    DIFFERENT,
    PlanApproval,
    PlanContent,
    approval_words,
    decision_words,
    is_same_person,
    request_words,
)
from batchsend.planning.plan import Plan
from batchsend.utils.timestamps import now
from batchsend.utils.wording import in_command, text_count

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: What `Ledger.store_plan` calls in its transaction, with the numbers of run and start.
Also = Callable[["Connection", int, int], object]


def ask_for_approval(
    ledger: Ledger, campaign: str, base_url: str, list_file: str, found: PlanApproval, person: Person
) -> Approval:
    """Asks for an approval, unless someone did; returns the latest request that covers the plan."""
    if found.requests:
        latest = found.requests[0]
        if latest.state is not ApprovalState.APPROVED:
            note_need(ledger, latest.id, now())
        return latest
    request = ApprovalRequest(campaign, base_url, list_file=list_file, **found.content.columns)
    return ask(ledger, request, person, now())


def approved_by_another(ledger: Ledger, plan: Plan, *, ask_for_it: bool) -> Approval | None:
    """The approval under which this process may send the plan; `None` if it needs none.

    Raises `GuardError` if it needs one and has none. With `ask_for_it`, the approval is then asked for.
    """
    if plan.approval is None:
        return None
    sender = this_person()
    approval = plan.approval.approved_for(sender.os_user)
    if approval is not None:
        return approval
    campaign, list_file = plan.request.campaign, plan.sources.customers.path
    if not ask_for_it:
        state = approval_words(plan.approval, sender.os_user, campaign.zone)
        raise GuardError(f"{campaign.path}: guards.approval is true. {state} Nothing was sent.")
    base_url = plan.request.base_url
    request = ask_for_approval(ledger, campaign.name, base_url, str(list_file), plan.approval, sender)
    raise GuardError(f"{campaign.path}: guards.approval is true. {missing_approval(plan, request)}")


def missing_approval(plan: Plan, request: Approval) -> str:
    """Why a plan may not be sent, and what to do. `request`: the latest one that covers it."""
    zone = plan.request.campaign.zone
    if request.state is ApprovalState.REFUSED:
        return (
            f"{decision_words(request, zone)}. Nothing was sent. Change what was wrong, then run this again to ask "
            f"anew. If it was refused by mistake, {request.refused_by} can still approve it."
        )
    if request.state is ApprovalState.APPROVED:
        return (
            f"{request.approved_by} approved these texts, and cannot send them too. Nothing was sent. Ask another "
            f"person to send them."
        )
    earlier = _approval_of(plan).earlier
    stale = f"{decision_words(earlier, zone)}, but {DIFFERENT}. " if earlier is not None else ""
    return (
        f"{stale}{request_words(request, zone)} (request {request.id}). Nothing was sent. Another person approves "
        f"them in the web console, or on the command line with `batchsend approve "
        f"{in_command(plan.request.campaign.path.name)}`. Then run this again."
    )


def check_approver(request: Approval, person: Person) -> None:
    """Raises `GuardError` if this person may not approve the request as it is."""
    if is_same_person(request.asked_by, person.os_user):
        raise GuardError(
            f"You ({person.os_user}) asked for this approval, so another person must give it. Nothing was approved."
        )
    if request.state is ApprovalState.APPROVED:
        raise GuardError(f"{request.approved_by} has already approved it. Nothing was changed.")
    if request.state is ApprovalState.REPLACED:
        raise GuardError(
            "This request was replaced by a later one. Nothing was approved. Look at the later one."
        )
    refused_by = request.refused_by or ""
    if request.state is ApprovalState.REFUSED and not is_same_person(refused_by, person.os_user):
        because = f": {request.reason}" if request.reason else ""
        raise GuardError(
            f"{refused_by} refused it{because}. Nothing was approved. Only {refused_by} can approve it now."
        )


def approve(ledger: Ledger, request: Approval, seen: PlanContent, person: Person) -> None:
    """Records that `person` approved what they saw of a request. Raises `GuardError`; then nothing was changed."""
    check_approver(request, person)
    approved = decide(ledger, request, ApprovalState.APPROVED, person, now(), seen=seen.columns)
    _check_answer(ledger, request, approved)


def refuse(ledger: Ledger, request: Approval, person: Person, reason: str) -> None:
    """Refuses a request, or takes its approval back. Raises `GuardError`; then nothing was changed.

    The person who asked withdraws it by that, and can ask again.
    """
    if request.state in (ApprovalState.REFUSED, ApprovalState.REPLACED):
        raise GuardError(
            "This request was refused, withdrawn or replaced by a later one already. Nothing was changed."
        )
    if is_same_person(request.asked_by, person.os_user):
        _check_answer(ledger, request, withdraw(ledger, request, now()))
        return
    if not reason.strip():
        raise GuardError("Say why you refuse it, so that the person who asked knows what to change.")
    refused = decide(ledger, request, ApprovalState.REFUSED, person, now(), reason=reason.strip())
    _check_answer(ledger, request, refused)


def _check_answer(ledger: Ledger, request: Approval, stored: bool) -> None:
    if stored:
        return
    latest = approval_by_id(ledger, request.id)
    state = latest.state if latest is not None else ApprovalState.REPLACED
    raise GuardError(f"At this moment, the request was {state}. Nothing was changed. Look at it again.")


def request_to_answer(ledger: Ledger, plan: Plan) -> Approval:
    """The latest request that covers this plan. Raises `GuardError` if there is none."""
    found = _approval_of(plan)
    if found.requests:
        return found.requests[0]
    campaign = plan.request.campaign
    other = open_request(ledger, campaign.name, plan.request.base_url)
    asked = f"{request_words(other, campaign.zone)}, but {DIFFERENT}. " if other is not None else ""
    raise GuardError(
        f"{campaign.path}: no one asked for the approval of these {text_count(found.content.texts)} as they are now. "
        f"{asked}Nothing was approved. The person who sends them asks with `batchsend send "
        f"{in_command(campaign.path.name)}`, or in the web console. If they use --list or --resend, use the same "
        f"here.",
        on_page=f"No one asked for the approval of these {text_count(found.content.texts)} as they are now. {asked}"
        f"Nothing was approved. The person who sends them asks for it on the page of the check.",
    )


def under_approval(approval: Approval | None, also: Also | None) -> Also | None:
    """`also`, in a transaction that first makes sure that this approval still holds."""
    if approval is None:
        return also

    def store(connection: Connection, run_id: int, start_id: int) -> None:
        use_approval(connection, approval, run_id)
        if also is not None:
            also(connection, run_id, start_id)

    return store


def _approval_of(plan: Plan) -> PlanApproval:
    if plan.approval is None:
        raise BatchsendError(
            f"{plan.request.campaign.path}: there is nothing to approve. Only a campaign with approval = true under "
            f"[guards] needs an approval, and only if it has texts to send."
        )
    return plan.approval
