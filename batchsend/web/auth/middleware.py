"""Who is let in, and what every answer carries.

Each request has to name a host that is ours (a page of somebody else's whose name suddenly means this computer does
not), each one that changes anything has to come from our own pages and carry the session's token.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from aiohttp import BodyPartReader, web

from batchsend.utils.net import is_this_machine
from batchsend.web.auth.sessions import Attempts, Links, Session, Sessions, is_token
from batchsend.web.auth.users import Users

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: What a form's token is called, and the header that carries it where a script sends.
TOKEN_FIELD, TOKEN_HEADER = "csrf", "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD"})
#: Reached without a session.
_OPEN = frozenset({"/login", "/enter", "/health"})
STATIC = "/static/"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would take the Origin away from our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass
class Auth:
    """`hosts`: names by which this server may be called; addresses of this computer's are, where `any_address`."""

    users: Users
    hosts: frozenset[str]
    port: int
    any_address: bool = False
    sessions: Sessions = field(default_factory=Sessions)
    links: Links = field(default_factory=Links)
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def cookie(self) -> str:
        """Browsers keep cookies by host and not by port: each server has a name of its own."""
        return f"batchsend-{self.port}"

    def session_of(self, request: web.Request) -> Session | None:
        session = self.sessions.find(request.cookies.get(self.cookie))
        if session is not None and session.mark is not None and self.users.mark(session.user) != session.mark:
            return None
        return session

    def is_our_host(self, host: str) -> bool:
        """Is this one of our names? `host` is what stands in the header."""
        name, port = _split(host)
        if name is None:
            return False
        if name in self.hosts:
            # A proxy in front has a port of its own; on this computer's own names it has to be ours.
            return port == self.port if is_this_machine(name) else True
        return self.any_address and port == self.port and _is_address(name)

    def let_in(self, response: web.StreamResponse, request: web.Request, cookie: str) -> None:
        """Gives the browser its session."""
        response.set_cookie(
            self.cookie, cookie, httponly=True, samesite="Lax", path="/", secure=_is_secure(request)
        )


class RequestRefusedError(Exception):
    """A request that is not answered. `status` is HTTP's."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


AUTH = web.AppKey("auth", Auth)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets a request through to its page, or not. Raises `RequestRefusedError`."""
    auth = request.app[AUTH]
    if not auth.is_our_host(request.headers.get("Host", "")):
        raise RequestRefusedError(
            421,
            "This address is not one that these pages are known by. Use the link that `batchsend web` printed; where "
            "a proxy stands in front, start it with --name and the proxy's name.",
        )
    if request.method not in _SAFE and not _is_ours(request):
        raise RequestRefusedError(
            403, "This request came from another page, and nothing was done. Open our page again."
        )
    if request.path in _OPEN or request.path.startswith(STATIC):
        return await handler(request)
    session = auth.session_of(request)
    if session is None:
        return _to_login(request)
    request["session"] = session
    if request.method not in _SAFE and request.content_type != "multipart/form-data":
        given = request.headers.get(TOKEN_HEADER) or (await request.post()).get(TOKEN_FIELD)
        check_token(given if isinstance(given, str) else None, session)
    return await handler(request)


def check_token(given: str | None, session: Session) -> None:
    """Raises `RequestRefusedError` where a form was not made for this session."""
    if not is_token(given, session):
        raise RequestRefusedError(
            403,
            "This form is from before you came in, and nothing was done. Go back, load the page again, and repeat.",
        )


async def check_token_part(part: object, session: Session) -> None:
    """The same for a form with a file in it, whose first field has to be the token."""
    given = None
    if isinstance(part, BodyPartReader) and part.name == TOKEN_FIELD:
        given = (await part.read_chunk(256)).decode("ascii", "replace")
    check_token(given, session)


def session(request: web.Request) -> Session:
    """Whose request this is."""
    found = request["session"]
    if not isinstance(found, Session):
        raise TypeError("a page behind the auth has a session")
    return found


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries; a file of ours may be kept, a page never."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def local_path(given: str | None) -> str:
    """A page of ours to go to, whatever was given."""
    if not given or not given.startswith("/") or given.startswith(("//", "/\\")) or not given.isprintable():
        return "/"
    return given


def _to_login(request: web.Request) -> web.StreamResponse:
    if request.headers.get("HX-Request"):
        return web.Response(status=401, headers={"HX-Redirect": "/login"})
    if request.method not in _SAFE:
        raise RequestRefusedError(
            401,
            "You are not signed in (any more), and nothing was done. Sign in, then go back and repeat it.",
        )
    where = "" if request.path_qs == "/" else f"?next={quote(request.path_qs, safe='')}"
    raise web.HTTPSeeOther(f"/login{where}")


def _is_ours(request: web.Request) -> bool:
    """Did one of our own pages send this? Browsers say so, and a page of somebody else's cannot make them lie."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and parts.netloc.lower() == request.headers.get("Host", "").lower()
    )


def _split(host: str) -> tuple[str | None, int]:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None, 0
    if parts.path or parts.query or parts.username is not None:
        return None, 0
    return (name.rstrip(".").lower() if name else None), port or 80


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_secure(request: web.Request) -> bool:
    """Does the browser speak TLS, to us or to a proxy? Who lies about it spoils only their own cookie."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
