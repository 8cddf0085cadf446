"""Coming in: by a link that works once, or with a name and a password; and leaving."""

from __future__ import annotations

import asyncio

from aiohttp import web

from batchsend.settings import os_user
from batchsend.web.auth.middleware import AUTH, local_path, session
from batchsend.web.auth.sessions import FREE_GUESSES_OF_ADDRESS, LINK_LASTS
from batchsend.web.rendering import page

#: Passwords that are checked at once: each takes 32 MiB.
_AT_ONCE = 2
CHECKING = web.AppKey("checking", asyncio.Semaphore)
#: May people come in by a link, as whoever started the server?
BY_LINK = web.AppKey("by_link", bool)


def checking() -> asyncio.Semaphore:
    return asyncio.Semaphore(_AT_ONCE)


async def ask(request: web.Request) -> web.Response:
    """The page of those who are not in."""
    if request.app[AUTH].session_of(request) is not None:
        raise web.HTTPSeeOther(local_path(request.query.get("next")))
    return _page(request)


async def enter(request: web.Request) -> web.Response:
    """Lets the first one in who has this link."""
    gate = request.app[AUTH]
    if gate.session_of(request) is not None:
        raise web.HTTPSeeOther("/")
    if not request.app[BY_LINK] or not gate.links.redeem(request.query.get("token", "")):
        return _page(request, status=403, wrong_link=True)
    cookie, _ = gate.sessions.begin(os_user(), None)
    response = web.HTTPSeeOther("/")
    gate.let_in(response, request, cookie)
    raise response


async def sign_in(request: web.Request) -> web.Response:
    """With a name and a password."""
    gate = request.app[AUTH]
    form = await request.post()
    name, password = str(form.get("name", "")).strip(), str(form.get("password", ""))
    keys = (f"name {name.casefold()[:64]}", f"address {request.remote}")
    wait = max(gate.attempts.wait(key) for key in keys)
    if wait > 0:
        return _page(request, status=429, name=name, wait=round(wait + 0.5))
    # Counted before the check, so that many guesses at once are as slow as one after another.
    gate.attempts.failed(keys[0])
    gate.attempts.failed(keys[1], FREE_GUESSES_OF_ADDRESS)
    async with request.app[CHECKING]:
        right = await asyncio.to_thread(gate.users.verify, name, password)
    if not right:
        return _page(request, status=403, name=name, wrong=True)
    for key in keys:
        gate.attempts.succeeded(key)
    cookie, _ = gate.sessions.begin(name, gate.users.mark(name))
    response = web.HTTPSeeOther(local_path(request.query.get("next")))
    gate.let_in(response, request, cookie)
    raise response


async def leave(request: web.Request) -> web.Response:
    """Ends the session."""
    gate = request.app[AUTH]
    gate.sessions.end(request.cookies.get(gate.cookie))
    response = web.HTTPSeeOther("/login")
    response.del_cookie(gate.cookie, path="/")
    raise response


async def another_browser(request: web.Request) -> web.Response:
    """A further link that works once, for whoever came in by one."""
    gate = request.app[AUTH]
    if not request.app[BY_LINK] or session(request).mark is not None:
        raise web.HTTPSeeOther("/")
    token = gate.links.issue(lasts=LINK_LASTS)
    return page(request, "link.html.j2", link=f"{request.scheme}://{request.host}/enter?token={token}")


def _page(request: web.Request, *, status: int = 401, **values: object) -> web.Response:
    gate = request.app[AUTH]
    usual: dict[str, object] = {"name": "", "wait": 0, "wrong": False, "wrong_link": False}
    return page(
        request,
        "login.html.j2",
        status=status,
        by_link=request.app[BY_LINK],
        by_name=bool(gate.users.names()),
        next=request.query_string,
        **{**usual, **values},
    )
