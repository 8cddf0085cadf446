"""Looks up the customers of a list at myKaarma, and keeps the answers in the ledger.

Each row is judged by `planning.customer_match`, which says what to ask next. Questions wait for the rate, and an
answer that is kept is not asked for again, so a look-up that was interrupted continues where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from batchsend.campaigns.tables import Sending
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.lookups import Question, answers_of, keep_answers
from batchsend.mykaarma.customer_search import (
    PERMISSION,
    Found,
    Search,
    found_json,
    found_of,
    read_found,
    search_params,
    search_path,
)
from batchsend.mykaarma.protocol import Refused, RetryLater
from batchsend.mykaarma.reader import ApiReader
from batchsend.mykaarma.reading import NotRead, Reading, read_json
from batchsend.planning.customer_match import Person, find_match
from batchsend.sending.pacing import Pacer, Pause
from batchsend.utils.progress import report
from batchsend.utils.timestamps import now
from batchsend.utils.wording import time_span

#: Answers are kept this often, in seconds: a killed look-up asks again for those in between.
_KEEP_SECONDS = 1.0


@dataclass(frozen=True)
class LookupPace:
    """How fast to ask, and when to stop; named as the keys of a campaign's `[sending]`."""

    rate: float
    concurrency: int
    timeout: float
    stop_after_failures: int
    give_up_after: float


def pace_of(sending: Sending) -> LookupPace:
    """The pace that a campaign's `[sending]` sets."""
    return LookupPace(
        rate=sending.rate,
        concurrency=sending.concurrency,
        timeout=sending.timeout,
        stop_after_failures=sending.stop_after_failures,
        give_up_after=sending.give_up_after.total_seconds(),
    )


class Answers:
    """The answers that are known, of one API. `ledger`: keeps them; `None` keeps them in memory only."""

    def __init__(self, ledger: Ledger | None, base_url: str) -> None:
        self._ledger = ledger
        self._base_url = base_url
        self._kept = answers_of(ledger, base_url, now()) if ledger is not None else {}
        self._new: dict[Question, str] = {}

    def __call__(self, search: Search) -> Found | None:
        """What is known; `None` if it was not asked."""
        text = self._kept.get(Question(*search))
        return None if text is None else found_of(text)

    def add(self, search: Search, found: Found) -> None:
        question = Question(*search)
        self._kept[question] = self._new[question] = found_json(found)

    def forget_ledger(self) -> None:
        """Keeps new answers in memory only from now on."""
        self._ledger = None

    def keep(self) -> None:
        """Stores new answers in the ledger. Raises `LedgerError`."""
        if self._ledger is not None and self._new:
            keep_answers(self._ledger, self._base_url, self._new, now())
        self._new.clear()


def look_up(
    people: Iterable[Person],
    total: int,
    answers: Answers,
    reader: ApiReader,
    pace: LookupPace,
    listener: Callable[[Pause], None],
) -> str | None:
    """Asks until the customer of each person is known or not found. Returns why it ended early, a sentence.

    `total`: the number of people, for the progress. Raises `LedgerError` if answers cannot be kept.
    """
    asker = Asker(answers, reader, pace, listener)
    left = unknown(people, total, answers)
    first = next(left, None)
    if first is not None:
        asyncio.run(asker.run(chain([first], left)))
    return asker.problem


def unknown(people: Iterable[Person], total: int, answers: Answers) -> Iterator[Person]:
    """The people about whom something has to be asked, and how far that is."""
    for number, person in enumerate(people, 1):
        report(number, total)
        if isinstance(find_match(person, answers), Search):
            yield person


class Asker:
    """Asks for some people at the same time. Belongs to one event loop."""

    def __init__(
        self, answers: Answers, reader: ApiReader, pace: LookupPace, listener: Callable[[Pause], None]
    ) -> None:
        self._answers = answers
        self._reader = reader
        self._pace = pace
        self._listener = listener
        #: Questions that are being asked, or could not be answered. One task asks, others wait for it.
        self._asking: dict[Search, asyncio.Task[bool]] = {}
        self._failures = 0
        self.problem: str | None = None

    async def run(self, people: Iterator[Person]) -> None:
        self._pacer = Pacer(self._pace.rate)
        self._answered_at = asyncio.get_running_loop().time()
        self._kept_at = self._answered_at
        async with self._reader:
            try:
                await asyncio.gather(*(self._work(people) for _ in range(self._pace.concurrency)))
            finally:
                for task in self._asking.values():
                    task.cancel()
                self._answers.keep()

    async def _work(self, people: Iterator[Person]) -> None:
        for person in people:
            while isinstance(search := find_match(person, self._answers), Search):
                if not await self._ask_once(search):
                    break
            if self.problem is not None:
                return

    async def _ask_once(self, search: Search) -> bool:
        """Asks, unless another task does. Returns whether there is an answer."""
        if search not in self._asking:
            self._asking[search] = asyncio.create_task(self._ask(search))
        return await asyncio.shield(self._asking[search])

    async def _ask(self, search: Search) -> bool:
        while self.problem is None:
            await self._pacer.slot()
            await self._pacer.departure()
            departed = asyncio.get_running_loop().time()
            answer = await self._answer(search)
            if isinstance(answer, RetryLater):
                self._back_off(departed, answer)
                continue
            return self._note(search, answer)
        return False

    async def _answer(self, search: Search) -> Found | NotRead | RetryLater | Refused:
        path = search_path(search)
        reading = await self._reader.ask("GET", path, params=search_params(search))
        if not isinstance(reading, Reading):
            return reading
        answer = read_json(f"{self._reader.base_url}{path}", reading, PERMISSION, now())
        if isinstance(answer, NotRead | RetryLater | Refused):
            return answer
        return read_found(answer)

    def _note(self, search: Search, answer: Found | NotRead | Refused) -> bool:
        """Keeps an answer. Returns whether it is one."""
        time = asyncio.get_running_loop().time()
        self._pacer.reset_backoff()
        self._answered_at = time
        if isinstance(answer, Found):
            self._failures = 0
            self._answers.add(search, answer)
            del self._asking[search]
            if time - self._kept_at >= _KEEP_SECONDS:
                self._kept_at = time
                self._answers.keep()
            return True
        self._failures += 1
        if isinstance(answer, Refused) or self._failures >= self._pace.stop_after_failures:
            self.problem = self.problem or answer.reason
        return False

    def _back_off(self, departed: float, retry: RetryLater) -> None:
        lasted = asyncio.get_running_loop().time() - self._answered_at
        if lasted >= self._pace.give_up_after:
            self.problem = f"{retry.reason}, for {time_span(lasted)}. {retry.advice}"
            return
        pause = self._pacer.back_off(
            departed, retry.retry_after, slow_down=retry.slow_down, reason=retry.reason
        )
        if pause is not None:
            self._listener(pause)
