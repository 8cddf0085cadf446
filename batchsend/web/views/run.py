"""The page of a run: its progress, its outcomes and what to do about them, its rows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.ledger.approvals import Approval, approvals_of
from batchsend.ledger.ledger import Ledger, RunRecord
from batchsend.ledger.replies import ReplyCounts, reply_counts
from batchsend.ledger.runs import UNDELIVERED, CodeCount, shared_state, starts_of
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.planning.cost import RunCost, costs_of_runs
from batchsend.planning.waiting import WaitRules, waiting_until
from batchsend.reports.advice import JOINED_BY, advise
from batchsend.reports.pages.groups import shown
from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, OPTED_OUT, RESENDABLE, Code, Status
from batchsend.utils.timestamps import now, to_text
from batchsend.web.auth.middleware import AUTH, session
from batchsend.web.jobs.registry import JOBS
from batchsend.web.live_runs import OUTCOME_WORDS, SNAPSHOTS, RunSnapshot
from batchsend.web.queries import FILTERS, RowPage, RowQuery, RunRef, existing_ledger, page_of_rows
from batchsend.web.rendering import page, part, trusted
from batchsend.web.run_state import Doing
from batchsend.web.start_choice import next_start_words
from batchsend.web.views.campaigns import ACTIVE_RUNS
from batchsend.web.views.opening import run_ref
from batchsend.web.views.run_actions import give_up_later

#: Seconds between two snapshots that a browser gets, and between two signs of life on a quiet connection.
_EVERY, _KEEP_ALIVE = 1.0, 15.0
#: Groups that the page shows; the table has all rows.
_GROUPS = 12
#: The groups that need attention come first.
_GROUP_ORDER: Mapping[str, int] = {
    Status.UNCONFIRMED: 0,
    Status.FAILED: 1,
    Status.UNDELIVERED: 2,
    Status.INVALID: 3,
    Status.PENDING: 4,
}
_FILTER_LABELS = (
    ("", "All rows"),
    ("needs-you", "Need attention"),
    ("taken", "Accepted by myKaarma"),
    ("waits", "Waiting"),
    ("left-out", "Skipped"),
    *((str(status), OUTCOME_WORDS[status]) for status in Status if status in NEEDS_YOU),
)
#: What can be sent again, by its status.
_AGAIN: Mapping[str, str] = {
    Status.FAILED: "refused",
    Status.UNCONFIRMED: "unconfirmed",
}
#: Set when the server shuts down.
ENDING = web.AppKey("ending", asyncio.Event)


@dataclass(frozen=True)
class OutcomeGroup:
    """Rows with the same outcome.

    `resend`: the value that sends them again, `None` if they cannot be; `dismiss_url`: where they are dismissed.
    """

    status: str
    codes: str
    count: int
    meaning: str
    what_to_do: str
    resend: str | None
    rows_url: str
    dismiss_url: str | None


@dataclass(frozen=True)
class _Facts:
    """What the page shows in addition to the snapshot.

    `waiting`: rows that are not sent yet, by the reason; `opens_at`: when the first of those that wait for a time may
    be sent; `next_start`: the next planned start. `can_resend`: status -> rows that can be sent again; `left_out`:
    status -> those that cannot, because they were dismissed. `cost`: of the texts sent, if known. `replies`: to the
    run's texts, if there are any. `undelivered`: a sentence for each notice about its end that was not delivered.
    `left_to_workers`: they send what is left of it, and record its end.
    """

    run: RunRecord
    groups: list[OutcomeGroup]
    more_groups: int
    waiting: list[OutcomeGroup]
    opens_at: str | None
    next_start: str | None
    starts: list[dict[str, Any]]
    approvals: Sequence[Approval]
    rows: RowPage
    is_latest: bool
    can_resend: Mapping[str, int]
    left_out: Mapping[str, int]
    cost: RunCost | None
    replies: ReplyCounts | None
    undelivered: Sequence[str]
    left_to_workers: bool


async def show(request: web.Request) -> web.Response:
    """Shows the page, or only its table if the browser's script asks for that."""
    run = await asyncio.to_thread(run_ref, request)
    query = _query(request)
    if request.headers.get("HX-Target") == "rows":
        html = await asyncio.to_thread(_table_alone, request, run, query)
        return web.Response(text=html, content_type="text/html")
    snapshot = await request.app[SNAPSHOTS].now(run)
    if snapshot.state.doing is Doing.STOPPING:
        give_up_later(request.app, run)
    facts = await asyncio.to_thread(_facts, run, query, snapshot)
    return page(
        request,
        "run.html.j2",
        file=run.file,
        name=run.campaign.name,
        number=run.number,
        s=snapshot,
        facts=facts,
        table=trusted(_table(run, facts.rows, sending=snapshot.sending)),
        filters=_FILTER_LABELS,
        query=query,
        words=OUTCOME_WORDS,
        list_name=PurePath(facts.run.list_file).name,
        dismissed=[(one, advise(one.status, one.codes).meaning) for one in snapshot.dismissals],
        again=_AGAIN,
        unconfirmed=sum(group.count for group in facts.groups if group.status == Status.UNCONFIRMED),
        settle_name=request.app[JOBS].new_name(),
        url=run.url,
    )


async def events(request: web.Request) -> web.StreamResponse:
    """Streams the progress of a run until it ends, the browser leaves, or the user is no longer signed in."""
    run = await asyncio.to_thread(run_ref, request)
    app = request.app
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    last, quiet = "", 0.0
    while not app[ENDING].is_set():
        # The browser loads the page again after the end, and a user who is signed out then sees the sign-in page.
        ended = not app[AUTH].is_valid(session(request))
        snapshot = await app[SNAPSHOTS].recent(run)
        html = part("progress.html.j2", s=snapshot, number=run.number, name=run.campaign.name)
        try:
            if html != last and not ended:
                await response.write(_event("progress", html))
                last, quiet = html, 0.0
            elif quiet >= _KEEP_ALIVE:
                await response.write(b": still here\n\n")
                quiet = 0.0
            if ended or not snapshot.state.under_way:
                await response.write(_event("ended", "ended"))
                break
        except ConnectionError:
            break
        quiet += _EVERY
        await _sleep(app)
    return response


async def _sleep(app: web.Application) -> None:
    try:
        await asyncio.wait_for(app[ENDING].wait(), _EVERY)
    except TimeoutError:
        return


def _event(name: str, data: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() if line)
    return f"event: {name}\n{lines}\n".encode()


def _facts(run: RunRef, query: RowQuery, snapshot: RunSnapshot) -> _Facts:
    with existing_ledger(run.folder, run.campaign) as found:
        record = found.run(run.number)
        is_latest = found.runs()[0].id == run.number
        every = _groups(run.url, _explained(snapshot), is_latest=is_latest)
        groups = _with_attention(every, snapshot)
        waiting = [group for group in every if group.status == Status.PENDING]
        may_resend = _by_status(every)
        can_resend = _by_status(groups)
        return _Facts(
            run=record,
            groups=groups[:_GROUPS],
            more_groups=max(0, len(groups) - _GROUPS),
            waiting=waiting,
            opens_at=_opens_at(found.ledger, run, waiting),
            next_start=next_start_words(run.campaign, now()),
            starts=starts_of(found.ledger, run.number),
            approvals=approvals_of(found.ledger, [run.number]).get(run.number, ()),
            undelivered=[_without_advice(one) for one in record.about.get(UNDELIVERED, "").splitlines()],
            replies=reply_counts(found.ledger, [run.number]).get(run.number),
            rows=page_of_rows(found.ledger, run.number, query, _phone(run.campaign, query.find)),
            is_latest=is_latest,
            can_resend=can_resend,
            left_out={status: count - can_resend[status] for status, count in may_resend.items()},
            cost=costs_of_runs(found.ledger, [record.id]).get(record.id),
            left_to_workers=_is_open(found.ledger, run.number),
        )


def _is_open(ledger: Ledger, run_id: int) -> bool:
    shared = shared_state(ledger, run_id, rows=False)
    return shared is not None and shared.open


def _without_advice(sentence: str) -> str:
    """What was wrong with a notice. What follows is advice for the command line."""
    return sentence.partition(" Check ")[0]


def _by_status(groups: Sequence[OutcomeGroup]) -> Counter[str]:
    """Returns status -> rows that can be sent again."""
    found: Counter[str] = Counter()
    for group in groups:
        if group.resend is not None:
            found[group.status] += group.count
    return found


def _opens_at(ledger: Ledger, run: RunRef, waiting: Sequence[OutcomeGroup]) -> str | None:
    if not any(group.codes in (Code.QUIET_HOURS, Code.DAILY_CAP, Code.HOURLY_CAP) for group in waiting):
        return None
    rules = WaitRules(now(), run.campaign.zone, run.campaign.quiet_hours)
    moment = waiting_until(ledger, run.number, rules)
    return to_text(moment) if moment is not None else None


def _with_attention(groups: Sequence[OutcomeGroup], snapshot: RunSnapshot) -> list[OutcomeGroup]:
    """The groups with rows that were not dismissed. Rows that are not sent yet are shown elsewhere."""
    dismissed: Counter[tuple[str, str]] = Counter()
    for one in snapshot.dismissals:
        dismissed[one.status, one.codes] += one.rows
    left = (
        replace(group, count=group.count - dismissed[group.status, group.codes])
        for group in groups
        if group.status != Status.PENDING
    )
    return [group for group in left if group.count > 0]


def _explained(snapshot: RunSnapshot) -> list[CodeCount]:
    """The outcomes that the page explains."""
    return [one for one in snapshot.codes if not (snapshot.sending and _is_under_way(*one[:2]))]


def _is_under_way(status: str, codes: str) -> bool:
    """Is this row being sent, or is its turn still to come? Such rows need no explanation while the run is sent."""
    return status == IN_FLIGHT or (status == Status.PENDING and codes == Code.STOPPED)


def _groups(url: str, counts: Sequence[CodeCount], *, is_latest: bool) -> list[OutcomeGroup]:
    """Returns the groups of rows that myKaarma did not accept, the most urgent first."""
    merged: dict[tuple[str, str], int] = {}
    for status, codes, count in counts:
        key = shown(status, codes)
        merged[key] = merged.get(key, 0) + count
    found = [
        _group(url, status, codes, count, is_latest=is_latest)
        for (status, codes), count in merged.items()
        if status not in (Status.ACCEPTED, Status.DELIVERED)
    ]
    return sorted(found, key=lambda group: (_GROUP_ORDER.get(group.status, 9), -group.count))


def _group(url: str, status: str, codes: str, count: int, *, is_latest: bool) -> OutcomeGroup:
    can_resend = is_latest and status in RESENDABLE and OPTED_OUT.isdisjoint(codes.split(JOINED_BY))
    advice, which = advise(status, codes), urlencode({"status": status, "code": codes})
    return OutcomeGroup(
        status=status,
        codes=codes,
        count=count,
        meaning=advice.meaning,
        what_to_do=advice.what_to_do,
        resend=status if can_resend else None,
        rows_url=f"{url}?{which}#table",
        dismiss_url=f"{url}/dismiss?{which}" if status in NEEDS_YOU else None,
    )


def _query(request: web.Request) -> RowQuery:
    given = request.query
    after, before = given.get("after", ""), given.get("before", "")
    return RowQuery(
        status=given.get("status", "") if given.get("status") in FILTERS else "",
        code=given.get("code", "")[:200],
        find=given.get("find", "").strip()[:130],
        after=int(after) if after.isdecimal() and len(after) < 10 else 0,
        before=int(before) if before.isdecimal() and len(before) < 10 else None,
    )


def _phone(campaign: Campaign, text: str) -> str | None:
    if not text:
        return None
    try:
        return to_e164(text, campaign.recipients.default_region)
    except PhoneProblem:
        return None


def _table_alone(request: web.Request, run: RunRef, query: RowQuery) -> str:
    with existing_ledger(run.folder, run.campaign) as found:
        sending = request.app[ACTIVE_RUNS].is_sending(found, found.run(run.number))
        rows = page_of_rows(found.ledger, run.number, query, _phone(run.campaign, query.find))
    return _table(run, rows, sending=sending)


def _table(run: RunRef, rows: RowPage, *, sending: bool) -> str:
    query = rows.query
    kept = {"status": query.status, "code": query.code, "find": query.find}
    kept = {name: value for name, value in kept.items() if value}

    def at(name: str, row: int | None) -> str | None:
        return None if row is None else f"{run.url}?{urlencode({**kept, name: row})}#table"

    return part(
        "rows.html.j2",
        rows=[_in_words(row, sending=sending) for row in rows.rows],
        only=advise(*shown(query.status, query.code)).meaning if query.code else "",
        earlier=at("before", rows.earlier),
        later=at("after", rows.later),
        first=run.url,
    )


def _in_words(row: Mapping[str, Any], *, sending: bool) -> dict[str, Any]:
    """A row of the table, with its outcome and what that means in words."""
    if sending and row["status"] == IN_FLIGHT:
        return {**row, "outcome": OUTCOME_WORDS[IN_FLIGHT], "codes": "", "meaning": ""}
    status, codes = shown(row["status"], row["codes"])
    needs_words = codes and codes != Code.STOPPED
    meaning = advise(status, codes).meaning if needs_words else ""
    looked_for_at = row["looked_for_at"] if status == Status.UNCONFIRMED else None
    return {
        **row,
        "outcome": OUTCOME_WORDS[status],
        "codes": codes,
        "meaning": meaning,
        "looked_for_at": looked_for_at,
    }
