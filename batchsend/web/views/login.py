"""The pages for signing in, by a link that works once or with a name and a password, and for signing out."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from aiohttp import web

from batchsend.settings import os_user
from batchsend.web.auth.middleware import AUTH, is_secure, local_path, session
from batchsend.web.auth.sessions import LINK_LASTS, attempt_keys
from batchsend.web.rendering import page

#: Passwords of one line that are checked at the same time; each takes 32 MiB.
_AT_ONCE = 2
#: Seconds for which the page says why a sign-in failed.
_FAILED_LASTS = 60
_LONGEST_NAME = 64
_SECONDS = re.compile(r"[0-9]{1,3}")


class Lines(NamedTuple):
    """The lines in which sign-ins wait until their passwords are checked.

    `known`: for browsers in which the user has signed in before, so that they do not wait for strangers.
    """

    known: asyncio.Semaphore
    unknown: asyncio.Semaphore


class FailedSignIn(NamedTuple):
    """A sign-in that failed. `wait`: seconds until the next try; 0 after a wrong name or password."""

    name: str
    wait: int = 0

    def stored(self) -> str:
        """Returns it as the value of a cookie."""
        return f"{self.wait}.{quote(self.name[:_LONGEST_NAME], safe='', errors='replace')}"

    @classmethod
    def read(cls, cookie: str) -> FailedSignIn | None:
        """Returns what `stored` returned; `None` for anything else."""
        wait, dot, name = cookie.partition(".")
        if not dot or not _SECONDS.fullmatch(wait):
            return None
        return cls(unquote(name)[:_LONGEST_NAME], int(wait))


LINES = web.AppKey("lines", Lines)
#: Does a link sign a browser in, as the user who started the server?
BY_LINK = web.AppKey("by_link", bool)


def lines() -> Lines:
    return Lines(asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE))


async def show(request: web.Request) -> web.Response:
    """Shows the sign-in page, and why the last try failed."""
    failed = FailedSignIn.read(request.cookies.get(_failed_cookie(request), ""))
    if failed is None and request.app[AUTH].session_of(request) is not None:
        raise web.HTTPSeeOther(local_path(request.query.get("next")))
    if failed is None:
        return _page(request)
    if failed.wait:
        return _page(request, status=429, name=failed.name, wait=failed.wait)
    return _page(request, status=403, name=failed.name, wrong=True)


async def enter(request: web.Request) -> web.Response:
    """Signs in the first browser that opens this link."""
    auth = request.app[AUTH]
    if auth.session_of(request) is not None:
        raise web.HTTPSeeOther("/")
    if not request.app[BY_LINK] or not auth.links.redeem(request.query.get("token", "")):
        return _page(request, status=403, wrong_link=True)
    cookie, _ = auth.sessions.begin(os_user(), None)
    response = web.HTTPSeeOther("/")
    auth.set_cookie(response, request, cookie)
    raise response


async def sign_in(request: web.Request) -> web.Response:
    """Signs in with a name and a password."""
    auth = request.app[AUTH]
    form = await request.post()
    name, password = str(form.get("name", "")).strip(), str(form.get("password", ""))
    device = auth.device_of(request, name)
    keys = attempt_keys(name, auth.address_of(request), device)
    wait = auth.attempts.wait(keys)
    if wait > 0:
        raise _fail(request, FailedSignIn(name, round(wait + 0.5)))
    # Counted before the password is checked, so that parallel guesses are no faster.
    auth.attempts.failed(keys)
    lines = request.app[LINES]
    async with lines.unknown if device is None else lines.known:
        right = await asyncio.to_thread(auth.users.verify, name, password)
    if not right:
        raise _fail(request, FailedSignIn(name))
    auth.attempts.succeeded(keys)
    cookie, begun = auth.sessions.begin(name, auth.users.password_version(name))
    response = web.HTTPSeeOther(local_path(request.query.get("next")))
    auth.set_cookie(response, request, cookie)
    auth.remember_device(response, request, begun)
    response.del_cookie(_failed_cookie(request), path="/login")
    raise response


def _fail(request: web.Request, failed: FailedSignIn) -> web.HTTPSeeOther:
    """Leads back to the sign-in page, which then says why it failed. There is no session to keep that in."""
    response = web.HTTPSeeOther(request.path_qs)
    response.set_cookie(
        _failed_cookie(request),
        failed.stored(),
        httponly=True,
        samesite="Strict",
        path="/login",
        max_age=_FAILED_LASTS,
        secure=is_secure(request),
    )
    return response


def _failed_cookie(request: web.Request) -> str:
    return f"{request.app[AUTH].cookie}-failed"


async def sign_out(request: web.Request) -> web.Response:
    """Ends the session."""
    auth = request.app[AUTH]
    auth.sessions.end(request.cookies.get(auth.cookie))
    response = web.HTTPSeeOther("/login")
    response.del_cookie(auth.cookie, path="/")
    raise response


async def another_browser(request: web.Request) -> web.Response:
    """Makes another link that works once, for a user who came in by a link."""
    auth, current = request.app[AUTH], session(request)
    if request.app[BY_LINK] and not current.is_named:
        current.link = auth.links.issue(lasts=LINK_LASTS)
    raise web.HTTPSeeOther("/link")


async def show_link(request: web.Request) -> web.Response:
    """Shows the link that was made last."""
    token = session(request).link
    if not token:
        raise web.HTTPSeeOther("/")
    return page(request, "link.html.j2", link=f"{request.scheme}://{request.host}/enter?token={token}")


def _page(
    request: web.Request,
    *,
    status: int = 401,
    name: str = "",
    wait: int = 0,
    wrong: bool = False,
    wrong_link: bool = False,
) -> web.Response:
    return page(
        request,
        "login.html.j2",
        status=status,
        by_link=request.app[BY_LINK],
        by_name=bool(request.app[AUTH].users.names()),
        next=request.query_string,
        name=name,
        wait=wait,
        wrong=wrong,
        wrong_link=wrong_link,
    )
