"""Guards: a list that cannot be right sends nothing, and a rest that is right is sent."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from world import CAMPAIGN, Sandbox, World, customers

from batchsend.campaigns.guards_table import Guards
from batchsend.errors import Sentence
from batchsend.planning.guards import Facts, refusals, unusual
from batchsend.planning.text_lint import LintFinding

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def facts(texts: int = 100, age: timedelta = timedelta(hours=1)) -> Facts:
    return Facts(texts, texts, NOW - age, NOW)


UNKNOWN = replace(facts(), unknown="the ledger /texts/ledger.db has no campaign")
ODD = replace(facts(), unusual="UNUSUAL: 100 texts", now_texts=100)


@pytest.mark.parametrize(
    ("guards", "judged", "refused"),
    [
        (Guards(), facts(1_000_000, timedelta(days=900)), []),
        (Guards(max_texts=100), facts(100), []),
        (Guards(max_texts=99), facts(100), ["max_texts"]),
        (Guards(min_texts=100), facts(100), []),
        (Guards(min_texts=101), facts(100), ["min_texts"]),
        (Guards(list_max_age=timedelta(hours=20)), facts(age=timedelta(hours=20)), []),
        (
            Guards(list_max_age=timedelta(hours=20)),
            facts(age=timedelta(hours=20, seconds=1)),
            ["list_max_age"],
        ),
        # A file from the future (a clock set back) is not old.
        (Guards(list_max_age=timedelta(hours=20)), facts(age=timedelta(hours=-3)), []),
        # One from far in the future would never be old.
        (Guards(list_max_age=timedelta(hours=20)), facts(age=timedelta(days=-3)), ["list_max_age"]),
        # All of yesterday's list was sent, so only its age says that today's is missing.
        (
            Guards(list_max_age=timedelta(hours=20), max_texts=10),
            replace(facts(age=timedelta(days=1)), untried=0),
            ["list_max_age"],
        ),
        (Guards(require_history=True), facts(), []),
        (Guards(require_history=True), UNKNOWN, ["require_history"]),
        (Guards(require_history=True), replace(UNKNOWN, texts=0, untried=0), ["require_history"]),
        (Guards(), UNKNOWN, []),
        (Guards(unusual="refuse"), facts(), []),
        (Guards(unusual="refuse"), ODD, ["unusual"]),
        (Guards(unusual="refuse"), replace(ODD, untried=0), []),
        (Guards(lint="error"), facts(), []),
        (Guards(lint="error"), replace(facts(), lint=["“the the” has a word twice."]), ["lint"]),
        (Guards(lint="error"), replace(facts(), lint=["“the the” has a word twice."], untried=0), []),
        (Guards(), replace(facts(), lint=["“the the” has a word twice."]), []),
        # `--expect` confirmed the number.
        (Guards(unusual="refuse"), replace(ODD, now_texts=None), []),
        (Guards(unusual="warn"), ODD, []),
        (
            Guards(max_texts=99, min_texts=5, list_max_age=timedelta(hours=1)),
            facts(100, timedelta(days=3)),
            ["max_texts", "list_max_age"],
        ),
    ],
)
def test_what_refuses(guards: Guards, judged: Facts, refused: list[str]) -> None:
    found = [one.sentence for one in refusals(guards, judged)]
    assert [sentence.partition(" is ")[0] for sentence in found] == [f"guards.{name}" for name in refused]


def test_only_pages_quote_what_the_lint_found() -> None:
    finding = LintFinding(
        "doubled_word", "“Gina Gina” has a word twice.", "Take one out.", 2, (7, 9), "A word twice"
    )
    found = [Sentence(finding.unquoted, finding.words)] * 11
    [refusal] = refusals(Guards(lint="error"), replace(facts(), lint=found))
    assert "Gina" not in refusal.sentence
    assert (
        "something that carriers block or customers dislike. A word twice (doubled_word): rows 7 and 9. `batchsend"
        in refusal.sentence
    )
    assert "“Gina Gina” has a word twice (rows 7 and 9). Take one out. And 2 more." in refusal.on_page


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
    assert sentence in refusals(Guards(list_max_age=timedelta(minutes=1)), facts(age=age))[0].sentence


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


def test_a_lost_ledger_texts_no_one_again(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3), campaign="[guards]\nrequire_history = true\n")
    ledger = world.folder / ".batchsend" / "ledger.db"
    for looked in (world.run("preview", "campaign.toml"), world.send("--sandbox"), world.send()):
        assert looked.code == 2
        assert "campaign.toml: guards.require_history is true" in looked.err
        assert f'the ledger {ledger} has no campaign "Spring" at {sandbox.base_url}' in looked.err
        assert "start it once by hand with --new-campaign" in looked.err
    assert sandbox.requests() == []
    assert world.run("preview", "campaign.toml", "--new-campaign").code == 0
    assert world.send("--new-campaign").code == 0
    assert world.send().code == 0
    # The history counts under the old name too.
    renamed = CAMPAIGN.replace('"Spring"', '"April"\nformerly = "Spring"')
    world.write(customers(4), campaign=renamed + "[guards]\nrequire_history = true\n")
    assert world.send().code == 0
    assert len(sandbox.texts()) == 4
    for file in ledger.parent.iterdir():
        file.unlink()
    assert world.send().code == 2
    # Quiet hours, caps and a list without a row to send do not make the campaign known.
    assert world.send("--limit", "0").code == 2
    world.write(
        customers(1), campaign=renamed + "[recipients]\nwhere = 'false'\n[guards]\nrequire_history = true\n"
    )
    assert world.send().code == 2
    assert len(sandbox.texts()) == 4


def test_the_first_start_may_have_nothing_to_send_yet(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2), campaign="[guards]\nrequire_history = true\n")
    assert world.send("--new-campaign", "--limit", "0").code == 0
    assert world.send().code == 0
    assert len(sandbox.texts()) == 2


def test_yesterdays_list_is_refused_even_if_all_of_it_was_sent(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2), campaign='[guards]\nlist_max_age = "20h"\n')
    assert world.send().code == 0
    yesterday = (datetime.now(UTC) - timedelta(hours=24)).timestamp()
    os.utime(world.folder / "customers.csv", (yesterday, yesterday))
    refused = world.send()
    assert refused.code == 2
    assert "guards.list_max_age is 20 hours, but the list was saved 24 hours ago" in refused.err
    # Exported again with the same rows, it is the same run.
    os.utime(world.folder / "customers.csv")
    again = world.send()
    assert again.code == 0
    assert "campaign-1.xlsx" in again.out


def test_an_unusual_number_is_refused_until_a_person_confirms_it(world: World, sandbox: Sandbox) -> None:
    for day in range(3):
        world.write(customers(2, f"day-{day}"), campaign='[guards]\nunusual = "refuse"\n')
        assert world.send().code == 0
    world.write(customers(5, "whole-base"))
    world.write(campaign='[guards]\nunusual = "refuse"\n')
    for looked in (world.run("preview", "campaign.toml"), world.send(), world.send("--limit", "1")):
        assert looked.code == 2
        assert "UNUSUAL: 5 texts; the largest earlier run of this campaign had 2." in looked.err
    assert "by hand with --expect 5." in world.send().err
    assert world.send("--expect", "4").code == 2
    assert len(sandbox.texts()) == 6
    assert world.send("--expect", "5").code == 0
    assert len(sandbox.texts()) == 11


def test_a_list_that_is_still_being_written_is_waited_for(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2), campaign="[guards]\nlist_settle = 0.5\n")
    # Just written, however long the command takes to start.
    in_an_hour = time.time() + 3600
    os.utime(world.folder / "customers.csv", (in_an_hour, in_an_hour))
    done = world.send("--log-format", "json")
    assert done.code == 0
    waiting, planned, *_ = map(json.loads, done.err.splitlines())
    assert (waiting["event"], planned["event"]) == ("waiting", "planned")
    assert 0 < waiting["seconds"] <= 0.5
    assert "customers.csv was changed less than 0.5 seconds ago (guards.list_settle)" in waiting["reason"]
    hour_ago = time.time() - 3600
    os.utime(world.folder / "customers.csv", (hour_ago, hour_ago))
    for looked in (world.run("preview", "campaign.toml"), world.send("--quiet"), world.send("--sandbox")):
        assert looked.code == 0
        assert "list_settle" not in looked.err
    # People who opted out are in a file that is not whole yet.
    world.write(campaign='[recipients]\nsuppress = ["opt_outs.csv"]\n[guards]\nlist_settle = 0.5\n')
    world.write_list([{"Customer UUID": "customer-1"}], "opt_outs.csv")
    os.utime(world.folder / "opt_outs.csv", (in_an_hour, in_an_hour))
    looked = world.run("preview", "campaign.toml")
    assert "waiting about 1 second" in looked.err
    assert "opt_outs.csv was changed" in looked.err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [(), ("--log-format", "json")])
def test_a_signal_ends_the_wait_for_a_list(
    world: World, sandbox: Sandbox, stop: signal.Signals, options: tuple[str, ...]
) -> None:
    world.write(customers(2), campaign='[guards]\nlist_settle = "1h"\n')
    process = world.start("send", "campaign.toml", "--yes", *options)
    assert process.stderr is not None
    assert "customers.csv was changed less than 1 hour ago" in process.stderr.readline()
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nterrupted" in err
    assert sandbox.requests() == []
    assert world.run("runs").out == ""


def test_a_list_that_was_cut_off_is_said(world: World) -> None:
    world.write(customers(3))
    file = world.folder / "customers.csv"
    whole = file.read_bytes().rstrip()
    file.write_bytes(whole)
    looked = world.run("preview", "campaign.toml")
    assert "its last line has no line end" in looked.out
    assert "looks cut off" not in looked.out
    file.write_bytes(whole[: whole.rindex(b",")])
    looked = world.run("preview", "campaign.toml")
    assert "The list looks cut off: its last row, 4, ends early and has no line end." in " ".join(
        looked.out.split()
    )
    page = (world.folder / "previews" / "campaign.html").read_text(encoding="utf-8")
    assert "The list looks cut off" in page


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
