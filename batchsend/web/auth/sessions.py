"""Who has come in: sessions, links that work once, and how often somebody may guess. All of it is in memory."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Seconds without a request, and seconds in all, after which somebody has to come in again.
IDLE, LONGEST = 12 * 3600.0, 7 * 86400.0
#: How long a link works that was asked for on a page; the server's first one works until it is used.
LINK_LASTS = 600.0
_MOST_SESSIONS, _MOST_LINKS, _MOST_KEYS = 1000, 20, 10_000
#: Wrong passwords until somebody has to wait, and the longest wait in seconds.
_FREE_GUESSES, _LONGEST_WAIT = 5, 60.0
#: Many people may come from one address: that of a proxy.
FREE_GUESSES_OF_ADDRESS = 50

Clock = Callable[[], float]


@dataclass
class Session:
    """Somebody in one browser. `mark` changes with their password; `None` for who came in by the link."""

    user: str
    csrf: str
    mark: str | None
    began: float
    seen: float
    notices: list[tuple[str, str]] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """On the next page, once."""
        self.notices.append(("", sentence))

    def warn(self, sentence: str) -> None:
        """The same for what went wrong."""
        self.notices.append(("problem", sentence))

    def take_notices(self) -> list[tuple[str, str]]:
        """What is to be said on the page that is made now: how it looks, and a sentence."""
        said, self.notices = self.notices, []
        return said


class Sessions:
    """Sessions by what their cookie holds, of which only a hash is kept."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def begin(self, user: str, mark: str | None) -> tuple[str, Session]:
        """A new session, and what its cookie holds."""
        now = self._clock()
        self._drop_old(now)
        cookie = secrets.token_urlsafe(32)
        session = Session(user, secrets.token_urlsafe(32), mark, now, now)
        self._sessions[_digest(cookie)] = session
        return cookie, session

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, unless it has ended."""
        now = self._clock()
        session = self._sessions.get(_digest(cookie)) if cookie else None
        if session is None or now - session.seen > IDLE or now - session.began > LONGEST:
            return None
        session.seen = now
        return session

    def end(self, cookie: str | None) -> None:
        if cookie:
            self._sessions.pop(_digest(cookie), None)

    def _drop_old(self, now: float) -> None:
        for key, session in list(self._sessions.items()):
            if now - session.seen > IDLE or now - session.began > LONGEST:
                del self._sessions[key]
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].seen)]


class Links:
    """Tokens that let somebody in once."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._links: dict[str, float | None] = {}

    def issue(self, *, lasts: float | None = None) -> str:
        """A new token; `lasts` seconds, `None`: until it is used."""
        while len(self._links) >= _MOST_LINKS:
            del self._links[next(iter(self._links))]
        token = secrets.token_urlsafe(32)
        self._links[_digest(token)] = None if lasts is None else self._clock() + lasts
        return token

    def redeem(self, token: str) -> bool:
        """Lets somebody in by this token, if nobody has come in by it before."""
        try:
            until = self._links.pop(_digest(token))
        except KeyError:
            return False
        return until is None or self._clock() < until


class Attempts:
    """How long somebody has to wait after wrong passwords: twice as long after each, a minute at most."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def wait(self, key: str) -> float:
        """Seconds until the next attempt of `key` is looked at."""
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
    """Was this form made for this session?"""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
