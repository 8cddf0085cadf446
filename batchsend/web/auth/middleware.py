"""Checks every request, and adds the security headers to every response.

A request must name one of this server's hosts: that stops another website whose name is made to point to this
computer. A request that changes anything must also come from one of our own pages and carry the session's token.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from aiohttp import BodyPartReader, MultipartReader, web

from batchsend.ledger.optouts import Person
from batchsend.utils.net import is_this_machine
from batchsend.web.auth.proxy import Proxy
from batchsend.web.auth.sessions import (
    Attempts,
    Links,
    Session,
    Sessions,
    device_of,
    device_token,
    is_token,
)
from batchsend.web.auth.users import Users
from batchsend.web.connections import SERVER, RequestRefusedError, connection_of, receiving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: The form field that carries the token, and the header that carries it in a script's request.
TOKEN_FIELD, TOKEN_HEADER = "csrf", "X-CSRF-Token"
#: The handlers whose form has a file, which is not kept in memory.
_UPLOADS: set[Handler] = set()
_UPLOAD = "upload"
_SAFE = frozenset({"GET", "HEAD"})
#: The largest form of a client without a session, in bytes.
_LARGEST_SIGN_IN = 16_384
#: Addresses that need no session.
_HEALTH = "/health"
_OPEN = frozenset({"/login", "/enter", _HEALTH})
#: Seconds for which a browser is known: half a year.
_DEVICE_LASTS = 180 * 86400
STATIC = "/static/"

HEADERS = {
    "Server": SERVER,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With `no-referrer`, browsers would send our own forms without an Origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass
class Auth:
    """What decides who may come in.

    `hosts`: the names of this server. `named`: those that it was given, which a proxy may have at another port.
    `any_address`: requests may also name it by an IP address and its port.
    `proxy`: a proxy whose headers are trusted. `is_hidden`: a proxy is in front, so the addresses of requests are its
    own unless it is trusted.
    """

    users: Users
    hosts: frozenset[str]
    port: int
    named: frozenset[str] = frozenset()
    any_address: bool = False
    proxy: Proxy | None = None
    is_hidden: bool = False
    sessions: Sessions = field(default_factory=Sessions)
    links: Links = field(default_factory=Links)
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def cookie(self) -> str:
        """The name of the session's cookie. Browsers share cookies between ports, so the port is part of it."""
        return f"batchsend-{self.port}"

    @property
    def by_proxy(self) -> bool:
        """Does the proxy sign the users in?"""
        return self.proxy is not None and self.proxy.user_header is not None

    def session_of(self, request: web.Request) -> Session | None:
        session = self.sessions.find(request.cookies.get(self.cookie))
        return session if session is not None and self.is_valid(session) else None

    def is_valid(self, session: Session) -> bool:
        """Is the user still signed in? They are not after signing out, a new password, or their removal."""
        if self.sessions.has_ended(session):
            return False
        version = session.password_version
        return version is None or version == self.users.password_version(session.user)

    def address_of(self, request: web.Request) -> str | None:
        """Returns the client's address; `None` if only a proxy's address is known."""
        if self.proxy is not None:
            return self.proxy.client_of(request)
        return None if self.is_hidden else request.remote

    def is_our_host(self, host: str) -> bool:
        """Is this one of the server's names? `host`: the value of the `Host` header."""
        name, port = _split(host)
        if name is None:
            return False
        if name in self.named:
            return True
        if name in self.hosts:
            # A proxy has its own port; with a name of this computer the port must be the server's.
            return port == self.port if is_this_machine(name) else True
        return self.any_address and port == self.port and _is_address(name)

    def session_by_proxy(self, request: web.Request, proxy: Proxy) -> Session:
        """Returns the session of the user whom the proxy names, perhaps a new one. Raises `RequestRefusedError`."""
        user = proxy.user_of(request)
        session = self.session_of(request)
        if session is None or session.user != user or not session.by_proxy:
            request[_NEW_COOKIE], session = self.sessions.begin(user, None, by_proxy=True)
        return session

    def set_cookie(self, response: web.StreamResponse, request: web.Request, cookie: str) -> None:
        """Gives the browser its session's cookie."""
        response.set_cookie(
            self.cookie, cookie, httponly=True, samesite="Lax", path="/", secure=is_secure(request)
        )

    def device_of(self, request: web.Request, name: str) -> str | None:
        """Returns the browser that sent a request, if this user has signed in with it before."""
        token = request.cookies.get(f"{self.cookie}-device", "")
        return device_of(token, self.users.password_version(name))

    def remember_device(self, response: web.StreamResponse, request: web.Request, session: Session) -> None:
        """Lets the browser sign this user in again, no matter how many wrong passwords come from elsewhere."""
        response.set_cookie(
            f"{self.cookie}-device",
            device_token(session.password_version or ""),
            httponly=True,
            samesite="Strict",
            path="/login",
            max_age=_DEVICE_LASTS,
            secure=is_secure(request),
        )


AUTH = web.AppKey("auth", Auth)
_NEW_COOKIE = "new_cookie"


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets a request through to its page. Raises `RequestRefusedError`."""
    auth = request.app[AUTH]
    connection_of(request).begin(signed_in=False)
    if not auth.is_our_host(request.headers.get("Host", "")):
        raise RequestRefusedError(
            421,
            "This server does not have that name. Use the link that it printed when it started. If a proxy "
            "is in front, the person who runs the server can allow that name.",
        )
    if request.method not in _SAFE and not _is_ours(request):
        raise RequestRefusedError(
            403, "This request came from another page, and nothing was done. Open the web console again."
        )
    session = _session_of(request, auth)
    connection_of(request).begin(signed_in=session is not None)
    if request.path in _OPEN or request.path.startswith(STATIC):
        return await handler(await _with_small_form(request))
    if session is None:
        return _to_login(request)
    request["session"] = session
    if request.method not in _SAFE:
        await _check_token(request, session)
    response = await handler(request)
    if _NEW_COOKIE in request and not response.prepared:
        auth.set_cookie(response, request, request[_NEW_COOKIE])
    return response


def _session_of(request: web.Request, auth: Auth) -> Session | None:
    """Returns the session. Raises `RequestRefusedError` if only the proxy can sign a user in and did not."""
    if auth.proxy is None or not auth.by_proxy or request.path == _HEALTH:
        return auth.session_of(request)
    session = auth.session_by_proxy(request, auth.proxy)
    if request.path in _OPEN:
        raise web.HTTPSeeOther("/")
    return session


async def _with_small_form(request: web.Request) -> web.Request:
    if request.method in _SAFE:
        return request
    small = request.clone(client_max_size=_LARGEST_SIGN_IN)
    async with receiving(small):
        await small.post()
    return small


async def _check_token(request: web.Request, session: Session) -> None:
    """Receives the form. Raises `RequestRefusedError` if it was not made for this session.

    Of a form with a file only the first field is received, which must be the token; `upload_of` has the rest.
    """
    if request.match_info.handler in _UPLOADS:
        async with receiving(request):
            request[_UPLOAD] = reader = await request.multipart()
            part = await reader.next()
            given: object = None
            if isinstance(part, BodyPartReader) and part.name == TOKEN_FIELD:
                given = (await part.read_chunk(256)).decode("ascii", "replace")
    else:
        async with receiving(request):
            form = await request.post()
        given = request.headers.get(TOKEN_HEADER) or form.get(TOKEN_FIELD)
    if not is_token(given if isinstance(given, str) else None, session):
        raise RequestRefusedError(
            403,
            "This form is from an earlier session, and nothing was done. Go back, reload the page and try again.",
        )


def receives_upload(handler: Handler) -> Handler:
    """Marks a handler that reads the file of its form in pieces, with `upload_of`."""
    _UPLOADS.add(handler)
    return handler


def upload_of(request: web.Request) -> MultipartReader:
    """Returns the parts of an upload that follow the token."""
    found = request[_UPLOAD]
    if not isinstance(found, MultipartReader):
        raise TypeError("only a handler that receives an upload has one")
    return found


def session(request: web.Request) -> Session:
    """Returns the session of a request."""
    found = request["session"]
    if not isinstance(found, Session):
        raise TypeError("only a request with a session reaches this page")
    return found


def person_of(request: web.Request) -> Person:
    """Returns who asks: the user who signed in, or the one who started the console, and the console's computer."""
    return Person(session(request).user, socket.gethostname())


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Adds the security headers. Browsers may keep our static files, but no page."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")


def local_path(given: str | None) -> str:
    """Returns the given address if it is one of our own pages, else the first page."""
    if not given or not given.startswith("/") or given.startswith(("//", "/\\")) or not given.isprintable():
        return "/"
    return given


def _to_login(request: web.Request) -> web.StreamResponse:
    if request.headers.get("HX-Request"):
        return web.Response(status=401, headers={"HX-Redirect": "/login"})
    if request.method not in _SAFE:
        raise RequestRefusedError(
            401,
            "You are not signed in, and nothing was done. Sign in, then go back and try again.",
        )
    where = "" if request.path_qs == "/" else f"?next={quote(request.path_qs, safe='')}"
    raise web.HTTPSeeOther(f"/login{where}")


def _is_ours(request: web.Request) -> bool:
    """Did one of our own pages send this? Browsers set these headers themselves, so no page can forge them."""
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


def is_secure(request: web.Request) -> bool:
    """Does the browser use TLS, to this server or to a proxy? A false header harms only the sender's own cookie."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
