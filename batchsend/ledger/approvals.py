"""Approvals of plans: who asked for one and when, and who approved or refused it.

A campaign has at most one request without an answer: a new one replaces it. An approval without a run belongs to the
run that begins under it, so it cannot be used for a second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, func, or_, select, update

from batchsend.errors import GuardError
from batchsend.ledger.bulk import in_chunks, insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.optouts import Person
from batchsend.ledger.runs import IN_VALUES
from batchsend.ledger.schema import approvals, messages, runs, starts
from batchsend.statuses import Code, Status
from batchsend.utils.timestamps import to_text


class ApprovalState(StrEnum):
    """The state of a request: without an answer, answered, or withdrawn or replaced by a later request."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for approval and its answer. Times are UTC text.

    `settings`, `list_fingerprint`, `digest`: as in `planning.approval.PlanContent`; `run_id`: the run that it is for,
    `None` as long as that has not begun; `needed_at`: when a start last needed it before it was given; `reason`: why
    it was refused.
    """

    id: int
    campaign: str
    base_url: str
    settings: str
    list_fingerprint: str
    run_id: int | None
    digest: str
    texts: int
    segments: int
    list_file: str
    asked_by: str
    asked_host: str
    asked_at: str
    needed_at: str
    state: ApprovalState
    approved_by: str | None
    approved_host: str | None
    approved_at: str | None
    refused_by: str | None
    refused_host: str | None
    refused_at: str | None
    reason: str | None


@dataclass(frozen=True)
class ApprovalRequest:
    """A request to be stored: the fields of `Approval` that say what is to be approved."""

    campaign: str
    base_url: str
    settings: str
    list_fingerprint: str
    run_id: int | None
    digest: str
    rows: bytes
    texts: int
    segments: int
    list_file: str


_FIELDS = tuple(approvals.c[name] for name in Approval.__dataclass_fields__)


def approvals_for(ledger: Ledger, campaign: str, base_url: str, run_id: int | None) -> list[Approval]:
    """The campaign's requests for this run that were not replaced, the latest first. `None`: for one to begin."""
    of_run = approvals.c.run_id.is_(None) if run_id is None else approvals.c.run_id == run_id
    return _find(ledger, _of(campaign, base_url), of_run, approvals.c.state != ApprovalState.REPLACED)


def approval_by_id(ledger: Ledger, number: int) -> Approval | None:
    return next(iter(_find(ledger, approvals.c.id == number)), None)


def open_request(ledger: Ledger, campaign: str, base_url: str) -> Approval | None:
    """The campaign's request that has no answer yet."""
    return next(iter(_find(ledger, _of(campaign, base_url), _is_open())), None)


def approved_rows(ledger: Ledger, number: int) -> bytes:
    """The digests of the rows that a request is about."""
    with ledger.read() as connection:
        return connection.scalar(select(approvals.c.rows).where(approvals.c.id == number)) or b""


def ask(ledger: Ledger, request: ApprovalRequest, person: Person, moment: datetime) -> Approval:
    """Stores a request, unless the same one waits for an answer already; returns the one that waits."""
    of_campaign = and_(_of(request.campaign, request.base_url), _is_open())
    values = {
        **vars(request),
        "asked_by": person.os_user,
        "asked_host": person.host,
        "asked_at": to_text(moment),
        "needed_at": to_text(moment),
        "state": ApprovalState.ASKED,
    }
    while True:
        with ledger.write() as connection:
            others = and_(of_campaign, approvals.c.digest != request.digest)
            connection.execute(update(approvals).where(others).values(state=ApprovalState.REPLACED))
            connection.execute(insert_into(connection, approvals).on_conflict_do_nothing(), values)
        asked = open_request(ledger, request.campaign, request.base_url)
        # Another process may have asked for another plan at the same moment.
        if asked is not None and asked.digest == request.digest:
            return asked


def follow_rename(connection: Connection, old: str, new: str) -> None:
    """Gives the requests of a campaign its new name. It replaces an open one of an earlier campaign of that name."""
    left = and_(approvals.c.campaign == new, _is_open())
    connection.execute(update(approvals).where(left).values(state=ApprovalState.REPLACED))
    connection.execute(update(approvals).where(approvals.c.campaign == old).values(campaign=new))


def note_need(ledger: Ledger, number: int, moment: datetime) -> None:
    """Records that a start needed this approval, which was not given then."""
    with ledger.write() as connection:
        connection.execute(
            update(approvals).where(approvals.c.id == number).values(needed_at=to_text(moment))
        )


def decide(
    ledger: Ledger,
    request: Approval,
    state: ApprovalState,
    person: Person,
    moment: datetime,
    *,
    reason: str | None = None,
    seen: Mapping[str, Any] = MappingProxyType({}),
) -> bool:
    """Records an answer to a request as it was read. Returns `False` if another person was faster.

    `state`: `APPROVED` or `REFUSED`; `seen`: columns of the request to replace, because the person saw less of it.
    """
    answer = {
        "state": state,
        f"{state}_by": person.os_user,
        f"{state}_host": person.host,
        f"{state}_at": to_text(moment),
        **({"reason": reason} if reason is not None else {}),
        **seen,
    }
    return _change(ledger, request, person.os_user, moment, answer)


def withdraw(ledger: Ledger, request: Approval, moment: datetime) -> bool:
    """Withdraws a request, and its approval. Returns `False` if another person answered it since it was read."""
    return _change(ledger, request, request.asked_by, moment, {"state": ApprovalState.REPLACED})


def _unchanged(request: Approval) -> ColumnElement[bool]:
    """The request as it was read: nobody answered it since, for the same texts or for fewer."""
    names = ("id", "state", "digest", "approved_at", "refused_at")
    return and_(*(approvals.c[name].is_not_distinct_from(getattr(request, name)) for name in names))


def _change(ledger: Ledger, request: Approval, by: str, moment: datetime, values: Mapping[str, Any]) -> bool:
    """Changes a request as it was read. If its approval ends, its run stops, and its rows wait for another one."""
    with ledger.write() as connection:
        changed = (
            connection.execute(update(approvals).where(_unchanged(request)).values(values)).rowcount == 1
        )
        if changed and request.state is ApprovalState.APPROVED:
            under_it = select(starts.c.run_id).where(
                starts.c.approval_id == request.id, starts.c.ended_at.is_(None)
            )
            sent = update(runs).where(runs.c.id.in_(under_it))
            connection.execute(sent.values(stop_requested_at=to_text(moment), stop_requested_by=by))
            last_start = (
                select(func.max(starts.c.id)).where(starts.c.run_id == request.run_id).scalar_subquery()
            )
            is_under_it = exists().where(starts.c.id == last_start, starts.c.approval_id == request.id)
            left = and_(messages.c.run_id == request.run_id, messages.c.status == Status.PENDING, is_under_it)
            connection.execute(update(messages).where(left).values(codes=Code.NEEDS_APPROVAL))
    return changed


def use_approval(connection: Connection, approval: Approval, run_id: int) -> None:
    """Ties an approval to the run that begins or continues under it.

    Raises `GuardError` if it does not hold now, as it was read.
    """
    holds = and_(_unchanged(approval), or_(approvals.c.run_id.is_(None), approvals.c.run_id == run_id))
    if connection.execute(update(approvals).where(holds).values(run_id=run_id)).rowcount != 1:
        raise GuardError(
            "The approval was taken back, changed or used for another run at this moment. Nothing was sent. Run the "
            "same command again: it says what is missing."
        )


def approvals_of(ledger: Ledger, run_ids: Sequence[int]) -> Mapping[int, list[Approval]]:
    """Run -> the approvals under which it was started, the first one first."""
    found: dict[int, list[Approval]] = {}
    for chunk in in_chunks(run_ids, IN_VALUES):
        used = select(starts.c.approval_id).where(
            starts.c.run_id.in_(chunk), starts.c.approval_id.is_not(None)
        )
        for approval in reversed(_find(ledger, approvals.c.id.in_(used))):
            if approval.run_id is not None:
                found.setdefault(approval.run_id, []).append(approval)
    return found


def _find(ledger: Ledger, *conditions: ColumnElement[bool]) -> list[Approval]:
    query = select(*_FIELDS).where(*conditions).order_by(approvals.c.id.desc())
    with ledger.read() as connection:
        return list(_approvals(connection.execute(query).mappings()))


def _approvals(rows: Iterable[RowMapping]) -> Iterator[Approval]:
    for row in rows:
        yield Approval(**{**row, "state": ApprovalState(row["state"])})


def _of(campaign: str, base_url: str) -> ColumnElement[bool]:
    return and_(approvals.c.campaign == campaign, approvals.c.base_url == base_url)


def _is_open() -> ColumnElement[bool]:
    return approvals.c.state == ApprovalState.ASKED
