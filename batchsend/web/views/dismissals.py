"""Dismissing rows that need attention, on a page of its own, and taking a dismissal back."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import web

from batchsend.ledger.dismissals import dismiss, dismissals_of, restore
from batchsend.ledger.runs import code_counts
from batchsend.reports.advice import Advice, advise
from batchsend.reports.pages.groups import shown
from batchsend.statuses import NEEDS_YOU
from batchsend.utils.wording import row_count
from batchsend.web.auth.middleware import session
from batchsend.web.auth.sessions import Draft
from batchsend.web.folder import NotFoundError
from batchsend.web.queries import RunRef, existing_ledger, ledger_to_change
from batchsend.web.rendering import page
from batchsend.web.views.campaigns import ACTIVE_RUNS
from batchsend.web.views.opening import run_ref
from batchsend.web.views.step_page import draft_of, forget_draft, typed_in

#: Characters of a reason.
_LONGEST = 300


class _Rows(NamedTuple):
    """The rows with one outcome, `left` of which were not dismissed. `sending`: their run is being sent."""

    run: RunRef
    status: str
    codes: str
    left: int
    sending: bool

    @property
    def advice(self) -> Advice:
        return advise(self.status, self.codes)


async def ask(request: web.Request) -> web.Response:
    """Shows the question."""
    rows = await asyncio.to_thread(_rows, request)
    draft = draft_of(request)
    if draft.typed.get("about") != request.query_string:
        draft = Draft()
    run = rows.run
    return page(
        request,
        "dismiss.html.j2",
        file=run.file,
        name=run.campaign.name,
        url=run.url,
        number=run.number,
        rows=rows,
        longest=_LONGEST,
        about=request.query_string,
        typed=draft.typed,
        errors=draft.errors,
    )


async def dismiss_rows(request: web.Request) -> web.Response:
    """Dismisses the rows that the question was about."""
    form = typed_in(await request.post())
    rows = await asyncio.to_thread(_rows, request)
    error = _refusal(rows, form) or await asyncio.to_thread(_dismiss, request, rows, form)
    if error is None:
        forget_draft(request)
        session(request).notify(f"{row_count(rows.left)} dismissed.")
        raise web.HTTPSeeOther(f"{rows.run.url}#outcomes")
    typed = {"reason": form.get("reason", ""), "about": request.query_string}
    session(request).keep(request.path, Draft(typed, {"reason": error}))
    raise web.HTTPSeeOther(str(request.rel_url))


async def restore_rows(request: web.Request) -> web.Response:
    """Takes a dismissal back."""
    number = str((await request.post()).get("dismissal", ""))
    run = await asyncio.to_thread(run_ref, request)
    by = session(request).user

    def take_back() -> bool:
        with existing_ledger(run.folder, run.campaign) as found:
            found.run(run.number)
        with ledger_to_change(run) as ledger:
            return restore(ledger, run.number, int(number), by)

    if number.isdecimal() and len(number) < 10 and await asyncio.to_thread(take_back):
        session(request).notify("These rows need attention again.")
    raise web.HTTPSeeOther(f"{run.url}#outcomes")


def _rows(request: web.Request) -> _Rows:
    run = run_ref(request)
    status, codes = request.query.get("status", ""), request.query.get("code", "")
    with existing_ledger(run.folder, run.campaign) as found:
        sending = request.app[ACTIVE_RUNS].is_sending(found, found.run(run.number))
        counts = code_counts(found.ledger, run.number)
        dismissed = dismissals_of(found.ledger, [run.number])
    count = sum(one.rows for one in counts if shown(one.status, one.codes) == (status, codes))
    count -= sum(one.rows for one in dismissed if (one.status, one.codes) == (status, codes))
    if status not in NEEDS_YOU or count <= 0:
        raise NotFoundError("No rows of this run with that outcome need attention. Go back to the run.")
    return _Rows(run, status, codes, count, sending)


def _refusal(rows: _Rows, form: dict[str, str]) -> str | None:
    reason = form.get("reason", "").strip()
    if rows.sending:
        return "The run is being sent. Wait until it has ended, or pause it first."
    if not reason:
        return "Say what was done about these rows, or why nothing has to be done."
    if len(reason) > _LONGEST:
        return f"The reason has {len(reason)} characters. Shorten it to {_LONGEST}."
    if form.get("count") != str(rows.left):
        return f"There are {row_count(rows.left)} with this outcome now. Look at them, then dismiss them."
    return None


def _dismiss(request: web.Request, rows: _Rows, form: dict[str, str]) -> str | None:
    with ledger_to_change(rows.run) as ledger:
        done = dismiss(
            ledger,
            rows.run.number,
            rows.status,
            rows.codes,
            rows.left,
            reason=form["reason"].strip(),
            by=session(request).user,
        )
    return None if done else "The rows have changed in the meantime. Look at them, then dismiss them."
