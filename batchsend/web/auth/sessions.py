"""Sessions, links that work once, and the delay after wrong passwords. All of it is kept in memory."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: A session ends after this many seconds without a request, and after this many seconds in all.
IDLE, LONGEST = 12 * 3600.0, 7 * 86400.0
#: Seconds that a link made on a page works. The server's first link works until it is used.
LINK_LASTS = 600.0
_MOST_SESSIONS, _MOST_LINKS, _MOST_KEYS, _MOST_DRAFTS = 1000, 20, 10_000, 5
#: Wrong passwords before the first delay, and the longest delay in seconds.
_FREE_GUESSES, _LONGEST_WAIT = 5, 60.0
#: The same for an address: many people can share one, for example a proxy's.
FREE_GUESSES_OF_ADDRESS = 50

Clock = Callable[[], float]


@dataclass(frozen=True)
class Draft:
    """A form that could not be saved. `typed`: field -> what was typed; `errors`: field -> what is wrong with it."""

    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Session:
    """A user in one browser.

    `password_version`: changes with the user's password; `None` for a user who came in by a link. `notices`: a CSS
    class and a sentence each, for the next page. `drafts`: address of a page -> its form, if it could not be saved.
    """

    user: str
    csrf: str
    password_version: str | None
    began: float
    seen: float
    notices: list[tuple[str, str]] = field(default_factory=list)
    drafts: dict[str, Draft] = field(default_factory=dict)

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
        """Keeps a form until it is saved or given up. Of many forms, the latest are kept."""
        self.drafts.pop(path, None)
        self.drafts[path] = draft
        while len(self.drafts) > _MOST_DRAFTS:
            del self.drafts[next(iter(self.drafts))]


class Sessions:
    """The sessions, by a hash of their cookie."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def begin(self, user: str, password_version: str | None) -> tuple[str, Session]:
        """Begins a session; returns the cookie's value and the session."""
        now = self._clock()
        self._drop_old(now)
        cookie = secrets.token_urlsafe(32)
        session = Session(user, secrets.token_urlsafe(32), password_version, now, now)
        self._sessions[_digest(cookie)] = session
        return cookie, session

    def find(self, cookie: str | None) -> Session | None:
        """Returns the session of a cookie, unless it has ended."""
        now = self._clock()
        session = self._sessions.get(_digest(cookie)) if cookie else None
        if session is None or _has_ended(session, now):
            return None
        session.seen = now
        return session

    def end(self, cookie: str | None) -> None:
        if cookie:
            self._sessions.pop(_digest(cookie), None)

    def _drop_old(self, now: float) -> None:
        for key, session in list(self._sessions.items()):
            if _has_ended(session, now):
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
        self._failures: dict[str, tuple[int, float]] = {}

    def wait(self, key: str) -> float:
        """Returns the seconds until the next password for `key` is checked."""
        _, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - self._clock())

    def failed(self, key: str, free: int = _FREE_GUESSES) -> None:
        count = self._failures.get(key, (0, 0.0))[0] + 1
        pause = min(_LONGEST_WAIT, 2.0 ** min(count - free, 10)) if count >= free else 0.0
        self._failures.pop(key, None)
        while len(self._failures) >= _MOST_KEYS:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = (count, self._clock() + pause)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)


def is_token(given: str | None, session: Session) -> bool:
    """Is this the session's form token?"""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())


def _has_ended(session: Session, now: float) -> bool:
    return now - session.seen > IDLE or now - session.began > LONGEST


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
