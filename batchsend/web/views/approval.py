"""The page on which another person approves or refuses what is about to be sent, for campaigns with that guard.

It shows a check, and an answer is about exactly that check. Whether the texts are still the same is found out when
they are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, GuardError
from batchsend.ledger.approvals import Approval, ApprovalState, approval_by_id
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.planning.approval import PlanApproval, find_approval, is_same_person
from batchsend.runs.api import prepare
from batchsend.runs.approval import approve as record_approval
from batchsend.runs.approval import ask_for_approval
from batchsend.runs.approval import refuse as record_refusal
from batchsend.web.auth.middleware import is_secure, person_of, session
from batchsend.web.folder import CampaignFile, NotFoundError, WebFolder
from batchsend.web.jobs.registry import JOBS
from batchsend.web.jobs.to_approve import ToApprove
from batchsend.web.queries import campaign_ledger
from batchsend.web.rendering import page
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.opening import usable_campaign
from batchsend.web.views.step_page import steps_of

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """What the pages show of the approval of a check.

    `request`: the latest one that covers it; `may_send`: the user who looks may send the texts.
    """

    request: Approval | None
    earlier: Approval | None
    approved: Approval | None
    url: str | None

    @property
    def may_send(self) -> bool:
        return self.approved is not None


@dataclass(frozen=True)
class _Asked:
    """The request that a page's address names."""

    file: CampaignFile
    campaign: Campaign
    approval: Approval

    @property
    def url(self) -> str:
        return approval_url(self.file, self.approval)


def approval_url(file: CampaignFile, approval: Approval) -> str:
    return f"{file.url}/approval/{approval.id}"


def approval_of_check(
    request: web.Request, file: CampaignFile, campaign: Campaign, check: str
) -> Shown | None:
    """Returns what is known about the approval of a check; `None` if it needs none. Blocks."""
    found = request.app[JOBS].to_approve(check)
    if found is None:
        return None
    known = _look_up(request.app[FOLDER], campaign, found)
    latest = known.requests[0] if known.requests else None
    url = f"{approval_url(file, latest)}?check={check}" if latest is not None else None
    return Shown(latest, known.earlier, known.approved_for(session(request).user), url)


async def ask(request: web.Request) -> web.Response:
    """Asks for the approval of what a check showed."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    check = request.match_info["check"]
    if not await asyncio.to_thread(_is_check_of, request, check, file):
        raise NotFoundError("This campaign has no such check. Check it again.")
    found = await asyncio.to_thread(request.app[JOBS].to_approve, check)
    if found is None:
        raise web.HTTPSeeOther(f"{file.url}/check/{check}")
    known = await asyncio.to_thread(_look_up, request.app[FOLDER], campaign, found)
    person = person_of(request)

    def store(ledger: Ledger) -> Approval:
        return ask_for_approval(ledger, campaign.name, found.base_url, found.list_file, known, person)

    asked = await asyncio.to_thread(_write, request.app[FOLDER], campaign, store)
    raise web.HTTPSeeOther(f"{approval_url(file, asked)}?check={check}")


async def show(request: web.Request) -> web.Response:
    """Shows a request: to the person who asked how it stands, to others what they may approve."""
    asked = await asyncio.to_thread(_asked, request)
    jobs, check = request.app[JOBS], request.query.get("check", "")
    if not check or not await asyncio.to_thread(_is_check_of, request, check, asked.file):
        check = (await steps_of(request, asked.file, asked.campaign)).check or ""
    state = await asyncio.to_thread(jobs.state, check) if check else None
    found = await asyncio.to_thread(jobs.to_approve, check) if state is not None and state.is_over else None
    known = await asyncio.to_thread(_look_up, request.app[FOLDER], asked.campaign, found) if found else None
    current = session(request)
    return page(
        request,
        "approval.html.j2",
        file=asked.file,
        name=asked.campaign.name,
        asked=asked.approval,
        zone=asked.campaign.zone,
        url=asked.url,
        link=_link(request, request.path_qs),
        check=check,
        check_url=f"{asked.file.url}/check/{check}",
        working=state is not None and not state.is_over,
        facts=state.facts if state is not None else {},
        found=found,
        covered=known is not None and _covers(known, asked.approval),
        is_own=is_same_person(asked.approval.asked_by, current.user),
        is_named=current.is_named,
        may_approve_after_all=is_same_person(asked.approval.refused_by or "", current.user),
        may_send=known is not None and known.approved_for(current.user) is not None,
        states=ApprovalState,
    )


async def progress(request: web.Request) -> web.Response:
    """Makes the browser load the page again once the request is answered."""
    asked = await asyncio.to_thread(_asked, request)
    changed = request.query.get("state") != asked.approval.state
    return web.Response(headers={"HX-Refresh": "true"} if changed else {}, status=200 if changed else 204)


async def approve(request: web.Request) -> web.Response:
    """Approves a request as the check showed it."""
    asked, check = await _answered(request)
    found = await asyncio.to_thread(request.app[JOBS].to_approve, check)
    known = await asyncio.to_thread(_look_up, request.app[FOLDER], asked.campaign, found) if found else None
    if found is None or known is None or not _covers(known, asked.approval):
        raise GuardError(
            "The texts have changed since they were shown. Nothing was approved. Load the page again."
        )
    person, content = person_of(request), found.content

    def store(ledger: Ledger) -> None:
        record_approval(ledger, asked.approval, content, person)

    await _answer(request, asked, store, "Approved.")
    raise web.HTTPSeeOther(f"{asked.url}?check={check}")


async def refuse(request: web.Request) -> web.Response:
    """Refuses a request, or takes its approval back."""
    asked, check = await _answered(request)
    person, reason = person_of(request), str((await request.post()).get("reason", ""))

    def store(ledger: Ledger) -> None:
        record_refusal(ledger, asked.approval, person, reason)

    is_own = is_same_person(asked.approval.asked_by, person.os_user)
    await _answer(request, asked, store, "Withdrawn." if is_own else "Refused. It is not sent.")
    raise web.HTTPSeeOther(f"{asked.url}?check={check}")


async def _answered(request: web.Request) -> tuple[_Asked, str]:
    """Returns the request that is answered, and the check that the person saw. Raises `BatchsendError`."""
    asked = await asyncio.to_thread(_asked, request)
    if not session(request).is_named:
        raise BatchsendError(
            "You came in by a link, so this console does not know who you are, and nothing was answered. Sign in "
            "with your own name. The person who looks after batchsend adds you."
        )
    check = str((await request.post()).get("check", ""))
    if check and not await asyncio.to_thread(_is_check_of, request, check, asked.file):
        raise NotFoundError("This check is no longer kept. Open the link again.")
    return asked, check


async def _answer(request: web.Request, asked: _Asked, store: Callable[[Ledger], None], done: str) -> None:
    try:
        await asyncio.to_thread(_write, request.app[FOLDER], asked.campaign, store)
    except GuardError as error:
        session(request).warn(error.on_page)
    else:
        session(request).notify(done)


def _asked(request: web.Request) -> _Asked:
    file, campaign = usable_campaign(request)
    number = int(request.match_info["approval"])
    with campaign_ledger(request.app[FOLDER], campaign) as found:
        approval = approval_by_id(found.ledger, number) if found is not None else None
    if approval is None or approval.campaign != campaign.name:
        raise NotFoundError("This campaign has no such request for approval. Ask for a new link.")
    return _Asked(file, campaign, approval)


def _is_check_of(request: web.Request, check: str, file: CampaignFile) -> bool:
    try:
        request.app[JOBS].check_of(check, file.path)
    except NotFoundError:
        return False
    return True


def _look_up(folder: WebFolder, campaign: Campaign, found: ToApprove) -> PlanApproval:
    with campaign_ledger(folder, campaign) as opened:
        ledger = opened.ledger if opened is not None else None
        return find_approval(ledger, campaign.name, found.base_url, found.content)


def _covers(known: PlanApproval, approval: Approval) -> bool:
    return any(one.id == approval.id for one in known.requests)


def _write(folder: WebFolder, campaign: Campaign, store: Callable[[Ledger], T]) -> T:
    with closing(open_ledger(prepare(campaign, ledger=folder.ledger).ledger_url)) as ledger:
        return store(ledger)


def _link(request: web.Request, path: str) -> str:
    return f"{'https' if is_secure(request) else 'http'}://{request.host}{path}"
