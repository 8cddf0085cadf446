"""Asking myKaarma for customers: what stops it, what waits, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from ledgers import sqlite_url
from sqlalchemy import text

from batchsend.errors import LedgerError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.lookups import Question, keep_answers
from batchsend.ledger.opening import open_ledger
from batchsend.mykaarma.customer_search import Candidate, Field, Found, Search, found_json
from batchsend.mykaarma.reader import ApiReader
from batchsend.planning.customer_match import Match, Person, Verdict, find_match
from batchsend.runs.customer_lookup import Answers, Asker, LookupPace
from batchsend.sending.pacing import Pause
from batchsend.settings import Credentials
from batchsend.utils.timestamps import now

PACE = LookupPace(rate=2000, concurrency=5, timeout=10, stop_after_failures=3, give_up_after=600)
PEOPLE = [Person("department", customer_key=str(number), last_name="Smith") for number in range(100, 120)]

#: The number of the request, from 1, and the search term -> the answer.
Script = Callable[[int, str], web.Response]


def answer(_number: int, term: str) -> web.Response:
    customer = {"uuid": f"u-{term}", "customerKey": term, "lastName": "Smith"}
    return web.json_response([{"customer": customer, "vehicles": []}])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(sqlite_url(tmp_path / "ledger.db"))
    yield opened
    opened.close()


def ask(
    script: Script, ledger: Ledger | None = None, people: list[Person] | None = None, pace: LookupPace = PACE
) -> tuple[Asker, Answers, list[str], list[Pause]]:
    """Asks about people. Returns the asker, the answers, the terms that were asked, and the pauses."""
    asked: list[str] = []
    pauses: list[Pause] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(request.query["searchTerm"])
        return script(len(asked), asked[-1])

    async def run() -> tuple[Asker, Answers]:
        app = web.Application()
        app.router.add_get("/customer/v2/department/{department}/customer/list", respond)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        # The answers belong to one API, whose port is another one in each test.
        answers = Answers(ledger, "https://api.example.com")
        reader = ApiReader(f"http://127.0.0.1:{port}", Credentials("name", "word"), timeout=pace.timeout)
        asker = Asker(answers, reader, pace, pauses.append)
        try:
            await asker.run(iter(PEOPLE if people is None else people))
        finally:
            await runner.cleanup()
        return asker, answers

    asker, answers = asyncio.run(run())
    return asker, answers, asked, pauses


def found(answers: Answers) -> list[str]:
    verdicts = [find_match(person, answers) for person in PEOPLE]
    return [one.match if isinstance(one, Verdict) else "unknown" for one in verdicts]


def test_each_question_is_asked_once(ledger: Ledger) -> None:
    asker, answers, asked, _ = ask(answer, ledger, [*PEOPLE, *PEOPLE])
    assert asker.problem is None
    assert sorted(asked) == [person.customer_key for person in PEOPLE]
    assert found(answers) == [Match.ONE] * len(PEOPLE)
    # Another process finds them in the ledger.
    assert found(Answers(ledger, "https://api.example.com")) == [Match.ONE] * len(PEOPLE)
    assert (
        Answers(ledger, "https://other.example.com")(Search("department", Field.CUSTOMER_KEY, "100")) is None
    )


REFUSALS: list[tuple[Script, list[str]]] = [
    (
        lambda *_: web.json_response({}, status=401),
        ["HTTP 401", "`customer.search`", "texts can still be sent"],
    ),
    (lambda *_: web.json_response({}, status=403), ["HTTP 403", "`customer.search`"]),
    (
        lambda *_: web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html"),
        ["/customer/v2/department/department/customer/list", "a web page", "`customer.search`"],
    ),
]


@pytest.mark.parametrize(("script", "sentences"), REFUSALS, ids=["401", "403", "web-page"])
def test_a_missing_permission_ends_it_at_the_first_answer(script: Script, sentences: list[str]) -> None:
    one_by_one = LookupPace(2000, 1, 10, 3, 600)
    asker, answers, asked, _ = ask(script, pace=one_by_one)
    assert len(asked) == 1
    for sentence in sentences:
        assert sentence in str(asker.problem)
    assert set(found(answers)) == {"unknown"}


def test_what_was_answered_before_it_ended_is_kept_and_not_asked_again(ledger: Ledger) -> None:
    one_by_one = LookupPace(2000, 1, 10, 3, 600)
    refused = lambda number, term: answer(number, term) if number < 8 else web.Response(status=403)  # noqa: E731
    asker, answers, asked, _ = ask(refused, ledger, pace=one_by_one)
    assert asker.problem is not None
    assert found(answers) == [Match.ONE] * 7 + ["unknown"] * 13
    asker, answers, again, _ = ask(answer, ledger)
    assert asker.problem is None
    assert set(again) == {person.customer_key for person in PEOPLE[7:]}
    assert not set(again) & set(asked[:7])


def test_it_waits_when_it_is_asked_to_and_goes_on() -> None:
    busy = lambda number, term: (  # noqa: E731
        web.Response(status=429, headers={"Retry-After": "0.05"})
        if number in (3, 4)
        else answer(number, term)
    )
    asker, answers, _, pauses = ask(busy)
    assert asker.problem is None
    assert found(answers) == [Match.ONE] * len(PEOPLE)
    assert pauses
    assert pauses[0].reason == "myKaarma does not answer now (HTTP 429)"


def test_it_gives_up_after_a_while() -> None:
    impatient = LookupPace(2000, 2, 10, 3, give_up_after=0.0)
    asker, _, _, _ = ask(lambda *_: web.Response(status=503), pace=impatient)
    assert "does not answer now (HTTP 503)" in str(asker.problem)


def test_one_question_that_fails_costs_no_other_and_many_in_a_row_end_it() -> None:
    strange = lambda number, term: web.json_response({}) if term == "105" else answer(number, term)  # noqa: E731
    asker, answers, _, _ = ask(strange)
    assert asker.problem is None
    assert found(answers) == [Match.ONE] * 5 + ["unknown"] + [Match.ONE] * 14
    asker, _, asked, _ = ask(lambda *_: web.json_response({}), pace=LookupPace(2000, 1, 10, 3, 600))
    assert len(asked) == 3
    assert "does not understand" in str(asker.problem)


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchsend.sending.pacing.backoff", lambda *_: 0.0)


ONE_BY_ONE = LookupPace(2000, 1, 10, 3, 600)


@pytest.mark.usefixtures("_no_waiting")
def test_a_question_that_never_has_an_answer_costs_no_other(ledger: Ledger) -> None:
    def stubborn(number: int, term: str) -> web.Response:
        return web.Response(status=504) if term == "105" else answer(number, term)

    asker, answers, asked, _ = ask(stubborn, ledger, pace=ONE_BY_ONE)
    assert asker.problem is None
    assert found(answers) == [Match.ONE] * 5 + ["unknown"] + [Match.ONE] * 14
    assert asked.count("105") == 5
    # Nothing else is left to ask, so one of the known questions shows that myKaarma answers.
    asker, _, again, _ = ask(stubborn, ledger, [PEOPLE[5]], pace=ONE_BY_ONE)
    assert asker.problem is None
    assert again[:5] == ["105"] * 5
    assert len(again) == 6


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize(("errors", "match"), [(2, Match.ONE), (3, "unknown")])
def test_an_error_of_the_server_is_asked_again(errors: int, match: str) -> None:
    failed: list[str] = []

    def script(number: int, term: str) -> web.Response:
        if term == "105" and len(failed) < errors:
            failed.append(term)
            return web.Response(status=500)
        return answer(number, term)

    asker, answers, _, _ = ask(script, pace=ONE_BY_ONE)
    assert asker.problem is None
    assert found(answers)[5] == match
    assert found(answers).count(Match.ONE) >= 19


def test_a_department_that_is_refused_costs_only_its_own_rows() -> None:
    others = [Person("other", customer_key=str(number)) for number in range(900, 910)]
    blank = Person("", customer_key="77", last_name="Smith")
    refused = lambda number, term: web.Response(status=403) if term >= "900" else answer(number, term)  # noqa: E731
    by_column = replace(ONE_BY_ONE, one_department=False)
    asker, answers, asked, _ = ask(refused, people=[*others, blank, *PEOPLE], pace=by_column)
    assert asker.problem is None
    assert found(answers) == [Match.ONE] * len(PEOPLE)
    assert asked[0] == "900"
    assert len(asked) == 1 + len(PEOPLE)
    verdict = find_match(blank, answers)
    assert isinstance(verdict, Verdict)
    assert "no id of a department" in verdict.why
    asker, _, _, _ = ask(refused, people=others, pace=by_column)
    assert "HTTP 403" in str(asker.problem)


def test_a_ledger_that_fails_is_left_alone_if_answers_need_not_be_kept(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(text("DROP TABLE lookups"))
    with pytest.raises(LedgerError):
        Answers(ledger, "https://api.example.com")
    answers = Answers(ledger, "https://api.example.com", must_keep=False)
    answers.add(Search("department", Field.CUSTOMER_KEY, "100"), Found())
    answers.keep()
    assert answers(Search("department", Field.CUSTOMER_KEY, "100")) == Found()


def test_answers_without_one_customer_are_asked_again_after_a_day(ledger: Ledger) -> None:
    nobody, somebody = (Question("department", Field.CUSTOMER_KEY, key) for key in ("100", "101"))
    ann = Found((Candidate("u-1", "101", "Ann", "Smith"),))
    kept = {nobody: found_json(Found()), somebody: found_json(ann)}
    url = "https://api.example.com"
    for hours, forgotten in ((23, False), (25, True)):
        keep_answers(ledger, url, kept, now() - timedelta(hours=hours))
        answers = Answers(ledger, url)
        for person in PEOPLE[:2]:
            answers.forget_old(person)
        assert (answers(Search(*nobody)) is None) is forgotten  # type: ignore[arg-type]
        assert answers(Search(*somebody)) == ann  # type: ignore[arg-type]
