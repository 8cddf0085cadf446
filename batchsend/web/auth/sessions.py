"""Sessions, links that work once, and the delay after wrong passwords. All of it is kept in memory."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

V = TypeVar("V")

#: A session ends after this many seconds without a request, and after this many seconds in all.
IDLE, LONGEST = 12 * 3600.0, 7 * 86400.0
#: Seconds that a link made on a page works. The server's first link works until it is used.
LINK_LASTS = 600.0
_MOST_SESSIONS, _MOST_LINKS, _MOST_KEYS, _MOST_DRAFTS, _MOST_VERSIONS = 1000, 20, 10_000, 5, 20
#: Wrong passwords before the first delay: from one place for one name, from one place, and for one name.
_FREE, _FREE_OF_PLACE, _FREE_OF_NAME = 5, 50, 100
#: The longest delay, and when wrong passwords are forgotten, in seconds.
_LONGEST_WAIT, _FORGOTTEN = 60.0, 3600.0

Clock = Callable[[], float]


@dataclass(frozen=True)
class Difference:
    """Something in two versions: a setting in words, or, without a `name`, a whole text."""

    name: str
    mine: str
    theirs: str


@dataclass(frozen=True)
class Conflict:
    """A form whose file was changed meanwhile. `action` and `form`: saves the form over the other change."""

    action: str
    form: tuple[tuple[str, str], ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Draft:
    """A form that could not be saved. `typed`: field -> what was typed; `errors`: field -> what is wrong with it."""

    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    conflict: Conflict | None = None


@dataclass
class Session:
    """A user in one browser.

    `password_version`: changes with the user's password; `None` if the user did not use one. `by_proxy`: the proxy
    named the user. `notices`: a CSS class and a sentence each, for the next page. `drafts`: address of a page -> its
    form, if it could not be saved. `versions`: fingerprint -> a file's content from which a form was made. `link`:
    the token of the latest link for another browser.
    """

    user: str
    csrf: str
    password_version: str | None
    began: float
    seen: float
    by_proxy: bool = False
    ended: bool = False
    notices: list[tuple[str, str]] = field(default_factory=list)
    drafts: dict[str, Draft] = field(default_factory=dict)
    versions: dict[str, bytes] = field(default_factory=dict)
    link: str = ""

    @property
    def is_named(self) -> bool:
        """Is the user known by name? A user who came in by a link is the one who started the server."""
        return self.by_proxy or self.password_version is not None

    def notify(self, sentence: str) -> None:
        """Shows a sentence on the next page, once."""
        self.notices.append(("", sentence))

    def warn(self, sentence: str) -> None:
        """Shows a problem on the next page, once."""
        self.notices.append(("problem", sentence))

    def take_notices(self) -> list[tuple[str, str]]:
        """Returns the notices and forgets them."""
        taken, self.notices = self.notices, []
        return taken

    def keep(self, path: str, draft: Draft) -> None:
        """Keeps a form until it is saved or given up. Of many forms, the latest are kept.

        `path`: decoded, as in `request.path`.
        """
        _keep_latest(self.drafts, path, draft, _MOST_DRAFTS)

    def remember(self, version: str, content: bytes) -> None:
        """Keeps the content of a file from which a form is made. Of many versions, the latest are kept."""
        _keep_latest(self.versions, version, content, _MOST_VERSIONS)


class Sessions:
    """The sessions, by a hash of their cookie."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def begin(
        self, user: str, password_version: str | None, *, by_proxy: bool = False
    ) -> tuple[str, Session]:
        """Begins a session; returns the cookie's value and the session."""
        now = self._clock()
        self._drop_old()
        cookie = secrets.token_urlsafe(32)
        session = Session(user, secrets.token_urlsafe(32), password_version, now, now, by_proxy)
        self._sessions[_digest(cookie)] = session
        return cookie, session

    def find(self, cookie: str | None) -> Session | None:
        """Returns the session of a cookie, unless it has ended."""
        now = self._clock()
        session = self._sessions.get(_digest(cookie)) if cookie else None
        if session is None or self.has_ended(session):
            return None
        session.seen = now
        return session

    def has_ended(self, session: Session) -> bool:
        """Is a session over? Asking does not prolong it."""
        now = self._clock()
        return session.ended or now - session.seen > IDLE or now - session.began > LONGEST

    def end(self, cookie: str | None) -> None:
        session = self._sessions.pop(_digest(cookie), None) if cookie else None
        if session is not None:
            session.ended = True

    def _drop_old(self) -> None:
        for key, session in list(self._sessions.items()):
            if self.has_ended(session):
                del self._sessions[key]
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].seen)]


class Links:
    """Tokens that let one browser in, once."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._links: dict[str, float | None] = {}

    def issue(self, *, lasts: float | None = None) -> str:
        """Returns a new token that works for `lasts` seconds; `None`: until it is used."""
        while len(self._links) >= _MOST_LINKS:
            del self._links[next(iter(self._links))]
        token = secrets.token_urlsafe(32)
        self._links[_digest(token)] = None if lasts is None else self._clock() + lasts
        return token

    def redeem(self, token: str) -> bool:
        """Uses a token up; returns whether it was valid."""
        try:
            until = self._links.pop(_digest(token))
        except KeyError:
            return False
        return until is None or self._clock() < until


class Attempts:
    """The delay after wrong passwords: it doubles with each one, up to a minute."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    def wait(self, keys: Iterable[str]) -> float:
        """Returns the seconds until the next password is checked."""
        return max(self._of(key).until for key in keys) - self._clock()

    def failed(self, keys: Mapping[str, int]) -> None:
        """Counts a wrong password. `keys`: as `attempt_keys` returns them."""
        now = self._clock()
        for key, free in keys.items():
            count = self._of(key).wrong + 1
            pause = min(_LONGEST_WAIT, 2.0 ** min(count - free, 10)) if count >= free else 0.0
            self._failures.pop(key, None)
            while len(self._failures) >= _MOST_KEYS:
                del self._failures[next(iter(self._failures))]
            self._failures[key] = _Failures(count, now + pause, now)

    def succeeded(self, keys: Mapping[str, int]) -> None:
        """Takes back what `failed` counted, and forgives this place its wrong passwords for this name."""
        for key, free in keys.items():
            before = self._of(key)
            self._failures.pop(key, None)
            if free > _FREE:
                self._failures[key] = _Failures(before.wrong - 1, 0.0, before.at)

    def _of(self, key: str) -> _Failures:
        found = self._failures.get(key, _NO_FAILURES)
        return found if self._clock() - found.at < _FORGOTTEN else _NO_FAILURES


class _Failures(NamedTuple):
    """Wrong passwords. `until`: when the next one is checked; `at`: when the last one was given."""

    wrong: int
    until: float
    at: float


_NO_FAILURES = _Failures(0, 0.0, 0.0)


def attempt_keys(name: str, address: str | None, device: str | None) -> dict[str, int]:
    """Returns what wrong passwords are counted by -> how many are free.

    `device`: the browser, if this user has signed in with it before. It has a count of its own, so nobody else can
    delay it. Elsewhere, one place is delayed before the others. `address`: `None` if it is a proxy's, which says
    nothing about the client.
    """
    name = name.casefold()[:64]
    if device is not None:
        return {f"device {device}": _FREE}
    if address is None:
        return {f"name {name}": _FREE}
    place = _place(address)
    return {f"name {name} at {place}": _FREE, f"at {place}": _FREE_OF_PLACE, f"name {name}": _FREE_OF_NAME}


def _place(address: str) -> str:
    """Returns what one client can hardly change: its IPv4 address, or the network of its IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


def device_token(password_version: str) -> str:
    """Returns a new cookie for a browser in which a user has signed in. It is void once the password changes."""
    device = secrets.token_urlsafe(16)
    return f"{device}.{_signature(device, password_version)}"


def device_of(token: str, password_version: str | None) -> str | None:
    """Returns the browser that a `device_token` was made for; `None` if it was not made for this user."""
    device, _, signature = token.partition(".")
    if password_version is None:
        return None
    made = _signature(device, password_version)
    return device if hmac.compare_digest(signature.encode("utf-8", "replace"), made.encode()) else None


def _signature(device: str, password_version: str) -> str:
    return hmac.new(password_version.encode(), device.encode("utf-8", "replace"), "sha256").hexdigest()


def is_token(given: str | None, session: Session) -> bool:
    """Is this the session's form token?"""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())


def _keep_latest(kept: dict[str, V], key: str, value: V, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
