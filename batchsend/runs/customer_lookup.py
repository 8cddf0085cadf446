"""Looks up the customers of a list at myKaarma, and keeps the answers in the ledger.

Each row is judged by `planning.customer_match`, which says what to ask next. Questions wait for the rate, and an
answer that is kept is not asked for again, so a look-up that was interrupted continues where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, count

from batchsend.campaigns.tables import Sending
from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.lookups import KeptAnswer, Question, answers_of, keep_answers
from batchsend.mykaarma.customer_search import (
    PERMISSION,
    Field,
    Found,
    Search,
    customers_path,
    found_json,
    found_of,
    read_found,
    search_params,
)
from batchsend.mykaarma.protocol import Refused, RetryLater
from batchsend.mykaarma.reader import ApiReader
from batchsend.mykaarma.reading import NotRead, Reading, read_json
from batchsend.planning.customer_match import Match, Person, Verdict, find_match, searches_of
from batchsend.sending.pacing import Pacer, Pause
from batchsend.utils.progress import report
from batchsend.utils.timestamps import now, to_text
from batchsend.utils.wording import time_span

#: Answers are kept this often, in seconds: a killed look-up asks again for those in between.
_KEEP_SECONDS = 1.0
#: After so many tries, a question that has no answer is left out if others have one.
_TRIES = 5
#: After so many tries, a question that is answered with an error of the server is left out.
_TRIES_AT_ERRORS = 3


@dataclass(frozen=True)
class LookupPace:
    """How fast to ask, and when to stop; named as the keys of a campaign's `[sending]`.

    `one_department`: all rows are of one, so the look-up ends if myKaarma refuses it.
    """

    rate: float
    concurrency: int
    timeout: float
    stop_after_failures: int
    give_up_after: float
    one_department: bool = True


def pace_of(sending: Sending, *, one_department: bool = True) -> LookupPace:
    """The pace that a campaign's `[sending]` sets."""
    return LookupPace(
        rate=sending.rate,
        concurrency=sending.concurrency,
        timeout=sending.timeout,
        stop_after_failures=sending.stop_after_failures,
        give_up_after=sending.give_up_after.total_seconds(),
        one_department=one_department,
    )


class Answers:
    """The answers that are known, of one API. `ledger`: keeps them; `None` keeps them in memory only.

    Without `must_keep`, a ledger that fails is left alone from then on. With it, `LedgerError` is raised.
    """

    def __init__(self, ledger: Ledger | None, base_url: str, *, must_keep: bool = True) -> None:
        self._ledger = ledger
        self._base_url = base_url
        self._must_keep = must_keep
        kept = self._kept_in_ledger()
        self._kept = {question: answer.found for question, answer in kept.items()}
        day_ago = to_text(now() - timedelta(days=1))
        self._old = {question for question, answer in kept.items() if answer.asked_at < day_ago}
        self._new: dict[Question, str] = {}

    def __call__(self, search: Search) -> Found | None:
        """What is known; `None` if it was not asked."""
        text = self._kept.get(Question(*search))
        return None if text is None else found_of(text)

    def add(self, search: Search, found: Found) -> None:
        question = Question(*search)
        self._kept[question] = self._new[question] = found_json(found)

    def forget_old(self, person: Person) -> None:
        """Forgets answers of another day that did not lead to one customer: myKaarma may know more by now."""
        searches = [search for search in searches_of(person) if Question(*search) in self._old]
        verdict = find_match(person, self) if searches else None
        if isinstance(verdict, Verdict) and verdict.match is not Match.ONE:
            for search in searches:
                self._kept.pop(Question(*search), None)

    def example(self, department_uuid: str) -> Search | None:
        """A question of this department that was answered before."""
        found = (one for one in self._kept if one.department_uuid == department_uuid)
        one = next(found, None)
        return Search(one.department_uuid, Field(one.field), one.term) if one is not None else None

    def forget_ledger(self) -> None:
        """Keeps new answers in memory only from now on."""
        self._ledger = None

    def keep(self) -> None:
        """Stores new answers in the ledger. Raises `LedgerError`."""
        try:
            if self._ledger is not None and self._new:
                keep_answers(self._ledger, self._base_url, self._new, now())
        except LedgerError:
            if self._must_keep:
                raise
            self.forget_ledger()
        self._new.clear()

    def _kept_in_ledger(self) -> dict[Question, KeptAnswer]:
        try:
            return answers_of(self._ledger, self._base_url, now()) if self._ledger is not None else {}
        except LedgerError:
            if self._must_keep:
                raise
            self.forget_ledger()
            return {}


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
    left = unknown(_without_old(people, answers), total, answers)
    first = next(left, None)
    if first is not None:
        asyncio.run(asker.run(chain([first], left)))
    return asker.problem


def _without_old(people: Iterable[Person], answers: Answers) -> Iterator[Person]:
    for person in people:
        answers.forget_old(person)
        yield person


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
        self._failures = self._answered = 0
        #: Departments about which this account may not ask -> why.
        self._refused: dict[str, str] = {}
        self.problem: str | None = None

    async def run(self, people: Iterator[Person]) -> None:
        self._pacer = Pacer(self._pace.rate)
        self._answered_at = asyncio.get_running_loop().time()
        self._kept_at = self._answered_at
        async with self._reader:
            try:
                await asyncio.gather(*(self._work(people) for _ in range(self._pace.concurrency)))
                if self._refused and not self._answered:
                    self.problem = self.problem or next(iter(self._refused.values()))
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
        answered_before = self._answered
        for number in count(1):
            await self._pacer.slot()
            await self._pacer.departure()
            if self.problem is not None or search.department_uuid in self._refused:
                break
            departed = asyncio.get_running_loop().time()
            answer = await self._answer(search, number)
            if not isinstance(answer, RetryLater):
                return self._note(search, answer)
            is_stubborn = number % _TRIES == 0 and not answer.slow_down
            if is_stubborn and (self._answered > answered_before or await self._is_answering(search)):
                return self._note(search, NotRead(f"{answer.reason}."))
            self._back_off(departed, answer)
        return False

    async def _is_answering(self, search: Search) -> bool:
        """Whether myKaarma answers a question that it has answered before."""
        known = self._answers.example(search.department_uuid)
        return known is not None and isinstance(await self._answer(known, 1), Found)

    async def _answer(self, search: Search, number: int) -> Found | NotRead | RetryLater | Refused:
        """Asks for the `number`-th time."""
        path = customers_path(search.department_uuid)
        reading = await self._reader.ask("GET", path, params=search_params(search))
        if not isinstance(reading, Reading):
            return reading
        answer = read_json(f"{self._reader.base_url}{path}", reading, PERMISSION, now())
        if isinstance(answer, NotRead) and reading.status >= 500 and number < _TRIES_AT_ERRORS:
            return RetryLater(answer.reason.rstrip("."), "Try again later.", slow_down=False)
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
            self._answered += 1
            self._answers.add(search, answer)
            del self._asking[search]
            if time - self._kept_at >= _KEEP_SECONDS:
                self._kept_at = time
                self._answers.keep()
            return True
        self._failures += 1
        if isinstance(answer, Refused):
            self._refused[search.department_uuid] = answer.reason
        ends = isinstance(answer, Refused) and self._pace.one_department
        if ends or self._failures >= self._pace.stop_after_failures:
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
