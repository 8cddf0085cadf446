"""Guards: a list that cannot be right sends nothing, and a rest that is right is sent."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from world import Sandbox, World, customers

from batchsend.planning.guards import Bounds, Facts, refusals, unusual

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def facts(texts: int = 100, age: timedelta = timedelta(hours=1)) -> Facts:
    return Facts(texts, NOW - age, NOW)


@pytest.mark.parametrize(
    ("bounds", "judged", "refused"),
    [
        (Bounds(), facts(1_000_000, timedelta(days=900)), []),
        (Bounds(max_texts=100), facts(100), []),
        (Bounds(max_texts=99), facts(100), ["max_texts"]),
        (Bounds(min_texts=100), facts(100), []),
        (Bounds(min_texts=101), facts(100), ["min_texts"]),
        (Bounds(list_max_age=timedelta(hours=20)), facts(age=timedelta(hours=20)), []),
        (
            Bounds(list_max_age=timedelta(hours=20)),
            facts(age=timedelta(hours=20, seconds=1)),
            ["list_max_age"],
        ),
        # A file from the future (a clock set back) is not old.
        (Bounds(list_max_age=timedelta(hours=20)), facts(age=timedelta(hours=-3)), []),
        (Bounds(99, 5, timedelta(hours=1)), facts(100, timedelta(days=3)), ["max_texts", "list_max_age"]),
    ],
)
def test_what_refuses(bounds: Bounds, judged: Facts, refused: list[str]) -> None:
    found = refusals(bounds, judged)
    assert [sentence.partition(" is ")[0] for sentence in found] == [f"guards.{name}" for name in refused]


@pytest.mark.parametrize(
    ("age", "sentence"),
    [
        (timedelta(days=3), "saved 3 days ago"),
        (timedelta(hours=30), "saved 30 hours ago"),
        (timedelta(minutes=90), "saved 1.5 hours ago"),
        # Tenths say nothing more from ten on.
        (timedelta(hours=36, minutes=20), "saved 36 hours ago"),
        # One day is 24 hours, because the limit is usually written in hours.
        (timedelta(days=1), "saved 24 hours ago"),
        (timedelta(seconds=61), "saved 1 minute ago"),
    ],
)
def test_ages_are_worded_as_people_say_them(age: timedelta, sentence: str) -> None:
    assert sentence in refusals(Bounds(list_max_age=timedelta(minutes=1)), facts(age=age))[0]


@pytest.mark.parametrize(
    ("texts", "earlier", "warns"),
    [
        (1000, [], False),
        (1000, [10, 12], False),  # two runs say little
        (1000, [10, 12, 11], True),
        (24, [10, 12, 11], False),
        (25, [10, 12, 11], True),
        (5, [10, 12, 11], False),
        (4, [10, 12, 11], True),
        (0, [10, 12, 11], False),  # nothing to send is its own sentence
        (25, [10, 12, 0], False),  # an empty day is no run of texts
    ],
)
def test_far_more_or_fewer_than_ever(texts: int, earlier: list[int], warns: bool) -> None:
    assert (unusual(texts, earlier) is not None) is warns


def test_a_guard_refuses_before_anything_is_sent_and_the_preview_says_so(
    world: World, sandbox: Sandbox
) -> None:
    world.write(customers(3), campaign="[guards]\nmin_texts = 5\n")
    looked = world.run("preview", "campaign.toml")
    assert looked.code == 2
    assert "`send` will be refused." in looked.err
    refused = world.send()
    assert refused.code == 2
    assert "guards.min_texts is 5, but only 3 texts would be sent." in refused.err
    assert refused.err.endswith("Nothing was sent.\n")
    assert sandbox.requests() == []


def test_the_rest_of_a_list_is_not_too_short(world: World, sandbox: Sandbox) -> None:
    world.write(customers(12), campaign="[guards]\nmin_texts = 10\n")
    assert world.send("--limit", "9").code == 0
    # Three are left, and they are the rest of a list of twelve.
    assert world.send().code == 0
    assert len(sandbox.texts()) == 12
    # With nothing to send, no guard has anything to refuse.
    assert world.send().code == 0


def test_a_list_without_rows_is_an_error_or_not(world: World, sandbox: Sandbox) -> None:
    world.write()
    (world.folder / "customers.csv").write_text("Customer UUID,First Name\n", encoding="utf-8")
    refused = world.send()
    assert refused.code == 2
    assert "It has only a header and no rows." in refused.err
    world.write(campaign='[guards]\nempty_list = "ok"\nmin_texts = 3\n')
    done = world.send()
    assert done.code == 0
    assert "0 rows = 0 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting" in done.out
    # A file of no bytes at all has no header that could be checked: it may have been cut short.
    (world.folder / "customers.csv").write_bytes(b"")
    assert world.send().code == 2
    assert sandbox.requests() == []


def test_todays_file_is_found_by_its_pattern(world: World, sandbox: Sandbox) -> None:
    world.write(
        customers(2, "yesterday"),
        list_name="due-1.csv",
        campaign="""
name = "Daily"
list = "due-*.csv"
template = "message.txt.j2"
department_uuid = "d"
user_uuid = "u"
""",
    )
    assert world.send().code == 0
    world.write_list(customers(2, "today"), "due-2.csv")
    os.utime(world.folder / "due-1.csv", (1, 1))
    done = world.send()
    assert done.code == 0
    assert "due-2.csv" in done.out
    # The file that matches the pattern is one that the campaign reads, so results must not overwrite it.
    for rehearsal in ((), ("--sandbox",)):
        refused = world.send("--results", "due-2.csv", *rehearsal)
        assert refused.code == 2
        assert "due-2.csv is a file that the campaign reads" in refused.err
    assert sorted(sandbox.texts()) == ["today-0", "today-1", "yesterday-0", "yesterday-1"]


def test_the_daily_cap_counts_over_starts(world: World, sandbox: Sandbox) -> None:
    world.write(customers(5), campaign="[sending]\nper_day = 3\n")
    done = world.send()
    assert done.code == 5
    assert "5 rows = 3 accepted by myKaarma + 0 skipped + 0 need attention + 2 waiting" in done.out
    assert "Some rows are waiting: run the same command again from" in done.out
    again = world.send()
    assert again.code == 5
    assert "Nothing was left to send." not in again.out
    assert len(sandbox.requests()) == 3
    # The cap applies to the campaign, with any list.
    world.write_list(customers(7, "other"))
    assert world.send().code == 5
    assert len(sandbox.requests()) == 3
