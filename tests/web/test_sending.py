"""Sending from the web console: only what the user saw, and only once. The command line sees all of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from faked_time import ClockFile
from openpyxl import load_workbook
from web_client import Clicker, Served, serving
from workbooks import new_workbook
from world import CAMPAIGN, Sandbox, World, customers, running_sandbox

from batchsend.campaigns.file import load_campaign
from batchsend.errors import SettingsError
from batchsend.exits import Exit
from batchsend.runs.api import prepare
from batchsend.runs.start import planned
from batchsend.web import server
from batchsend.web.jobs.confirmation import CheckedPlan, differences

SPRING = "/campaign/here/campaign"
RUN = f"{SPRING}/run/1"


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    world.write(customers(12))
    with serving(world) as server:
        yield server


def send(clicker: Clicker, texts: int, choice: str = "all", **fields: str) -> str:
    """Checks the campaign and confirms the number of texts; returns the check's address."""
    address, checked = clicker.check(SPRING, **fields)
    assert f"Review and send {texts:,} text" in checked.plain or choice == "first", checked.plain
    clicker.get(f"{address}/send")
    answer = clicker.submit(f"{address}/send", {"choice": choice, "number": f"{texts:,}", "sure": "yes"})
    assert answer.status == 303, answer.plain
    return address


def prepared(server: Served) -> psutil.Process:
    """The process that waits for the answer to the question before sending."""
    alive = [
        child
        for child in psutil.Process(server.process.pid).children()
        if child.status() != psutil.STATUS_ZOMBIE
    ]
    (found,) = (child for child in alive if "--wait" in child.cmdline())
    return found


@pytest.mark.system
def test_sending_needs_no_prepared_process_and_leaves_none_behind(served: Served, sandbox: Sandbox) -> None:
    clicker = served.signed_in()
    address, _ = clicker.check(SPRING)
    assert "Your answer" in clicker.get(f"{address}/send").plain
    killed = prepared(served)
    assert "Your answer" in clicker.get(f"{address}/send").plain
    assert prepared(served) == killed
    killed.kill()
    psutil.wait_procs([killed], timeout=60)
    clicker.submit(f"{address}/send", {"choice": "first", "number": "10"})
    clicker.wait_for_run(address)
    assert "10 texts accepted by myKaarma" in clicker.wait_for_end(RUN).plain
    assert sorted(sandbox.texts().values()) == [1] * 10

    address, _ = clicker.check(SPRING)
    assert "Your answer" in clicker.get(f"{address}/send").plain
    left = prepared(served)
    served.kill()
    assert psutil.wait_procs([left], timeout=60)[1] == []


@pytest.mark.parametrize(
    "ledger_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)], indirect=True
)
def test_from_a_check_to_results_and_back_to_the_command_line(
    tmp_path: Path, sandbox: Sandbox, ledger_url: str
) -> None:
    folder = tmp_path / "dealership"
    folder.mkdir()
    world = World(folder, sandbox.base_url, {"BATCHSEND_LEDGER": ledger_url}).write(customers(12))
    with serving(world) as served:
        clicker = served.signed_in()
        assert "Never sent" in clicker.get("/").plain
        address = send(clicker, 10, "first")
        page = clicker.wait_for_run(address)
        page = clicker.wait_for_end(RUN)
        assert "10 texts accepted by myKaarma" in page.plain
        assert "2 rows wait" in page.plain
        assert sorted(sandbox.texts().values()) == [1] * 10

        # The command line sees the run and continues it.
        assert "12 rows = 10 accepted by myKaarma" in world.run("runs").out
        assert world.send().code == 0
        assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(12)), 1)

        # The console sees what the command line did.
        assert "12 texts accepted by myKaarma" in clicker.get(RUN).plain
        assert "This run is over" in clicker.get(RUN).plain
        assert "Done" in clicker.get("/").plain
        assert clicker.get(f"{RUN}?find=customer-11#table").text.count('data-label="Row"') == 1
        found = clicker.get("/history?q=(312)+500-0011").plain
        assert "accepted" in found
        assert "customer-11" in found
        by_name = clicker.get("/history?q=name11")
        assert "One customer with this name was found." in by_name.plain
        assert "Name11" in by_name.plain
        assert 'href="/history?customer=customer-11"' in by_name.text
        assert "accepted" in clicker.get("/history?customer=customer-11").plain
        assert "No customer with this phone, name or id was found" in clicker.get("/history?q=Nobody").plain
        assert "No texts were sent to this customer" in clicker.get("/history?customer=customer-99").plain
        _, checked = clicker.check(SPRING)
        assert "There is nothing to send" in checked.plain
        clicker.get(f"{RUN}/workbook")
        book = load_workbook(world.folder / "results" / "campaign-1.xlsx", read_only=True)
        assert book["Results"].max_row == 13
        book.close()


@pytest.mark.system
def test_the_results_can_be_downloaded_in_the_list_itself(world: World) -> None:
    rows = customers(3)
    workbook, sheet = new_workbook([list(rows[0]), *(list(row.values()) for row in rows)])
    sheet.auto_filter.ref = "A1:B4"
    workbook.save(world.folder / "customers.xlsx")
    world.write(campaign=CAMPAIGN.replace("customers.csv", "customers.xlsx"))
    with serving(world) as served:
        clicker = served.signed_in()
        clicker.wait_for_run(send(clicker, 3))
        assert "Download the list with results" in clicker.wait_for_end(RUN).plain
        offer = clicker.raw("GET", f"{RUN}/list/offer")
        assert (offer.plain, f'href="{RUN}/list"' in offer.text) == ("Download the list with results", True)
        copy = clicker.raw("GET", f"{RUN}/list")
        assert copy.status == 200
        assert copy.headers["Content-Disposition"] == "attachment; filename*=UTF-8''campaign-1-list.xlsx"
        written = load_workbook(world.folder / "results" / "campaign-1-list.xlsx").active
        assert [cell.value for cell in written["D"]] == ["status", *["accepted"] * 3]
        assert "campaign-1-list.xlsx: The filter still covers A1:B4 only." in clicker.get(RUN).plain

        sheet["B2"] = "Somebody else"
        workbook.save(world.folder / "customers.xlsx")
        offer = clicker.raw("GET", f"{RUN}/list/offer")
        assert "Your own list with the results cannot be downloaded." in offer.plain
        assert "the list has changed since run 1" in offer.plain
        refused = clicker.raw("GET", f"{RUN}/list")
        assert refused.status == 400
        assert "the list has changed since run 1" in refused.plain


def test_any_other_answer_sends_nothing(served: Served, sandbox: Sandbox) -> None:
    clicker = served.signed_in()
    address, _ = clicker.check(SPRING)
    for typed in ("", "11", "1", "12 texts", "twelve", "-12"):  # only "12" means yes
        answer = clicker.submit(f"{address}/send", {"choice": "all", "number": typed})
        assert (answer.status, answer.headers["Location"]) == (303, f"{address}/send")
        for _ in range(2):  # also after the page was loaded again
            page = clicker.get(f"{address}/send")
            error = re.search(r'<p id="number-error"[^>]*>(.*?)</p>', page.text, re.DOTALL)
            assert error is not None
            assert "Nothing was sent" in error[1]
            assert "type 12" in error[1]
            assert re.search(
                r'id="number"[^>]*aria-describedby="[^"]*number-error"[^>]*aria-invalid', page.text
            )
            assert f'value="{typed}"' in page.text
            assert re.search(r'value="all" checked', page.text)
    assert "type 10" in clicker.post(f"{address}/send", {"choice": "first", "number": "12"}).plain
    assert "choose how many" in clicker.post(f"{address}/send", {"number": "12"}).plain
    assert sandbox.requests() == []


@pytest.mark.system
def test_two_clicks_two_tabs_and_two_people_send_once(served: Served, sandbox: Sandbox) -> None:
    """All click at the same time, on the same check and on two checks."""
    first, second = served.signed_in(), served.signed_in()
    one, _ = first.check(SPRING)
    other, _ = second.check(SPRING)
    clicks = [(first, one), (first, one), (second, one), (second, other), (first, other)]
    tokens = {id(clicker): clicker.token() for clicker, _ in clicks}
    with ThreadPoolExecutor(len(clicks)) as pool:
        answers = list(
            pool.map(
                lambda click: click[0].submit(
                    f"{click[1]}/send", {"choice": "all", "number": "12"}, token=tokens[id(click[0])]
                ),
                clicks,
            )
        )
    assert [answer.status for answer in answers] == [303] * 5
    pages = [first.wait_for_run(one), second.wait_for_run(other)]
    first.wait_for_end(RUN)
    assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(12)), 1)
    refused = [page.plain for page in pages if "Nothing was sent" in page.plain]
    assert len(refused) == 1
    assert (
        "Something has changed since the check" in refused[0] or "being sent by another process" in refused[0]
    )
    # The used check says so, and its form does nothing.
    assert "This check was already used" in first.get(one).plain
    again = first.submit(f"{one}/send", {"choice": "all", "number": "12"})
    assert again.headers["Location"] == f"{one}/sent"
    first.get(f"{one}/sent")
    assert sum(sandbox.texts().values()) == 12


@pytest.mark.system
@pytest.mark.parametrize(
    "which",
    [pytest.param(("list", "opt_out")), pytest.param(("text", "campaign", "swap"), marks=pytest.mark.system)],
)
def test_nothing_is_sent_if_anything_has_changed_since_the_check(
    world: World, served: Served, sandbox: Sandbox, which: tuple[str, ...]
) -> None:
    clicker = served.signed_in()
    ledger = ("--ledger", ".batchsend/ledger.db")
    file = world.folder / "campaign.toml"

    def change_list() -> None:
        world.write_list([*customers(11), *customers(1, "another")])

    def change_text() -> None:
        (world.folder / "message.txt.j2").write_text("Hello {{ first_name }}", encoding="utf-8")

    def change_campaign() -> None:
        file.write_text(file.read_text(encoding="utf-8") + "[sending]\nrate = 5\n", encoding="utf-8")

    def opt_out() -> None:
        world.run("optouts", "add", "--customer", "customer-5", "--reason", "x", *ledger)

    def swap() -> None:
        opt_out()
        world.run("optouts", "remove", "--customer", "customer-3", *ledger)

    if "swap" in which:
        world.run("optouts", "add", "--customer", "customer-3", "--reason", "x", *ledger)
    changes = {
        "list": (change_list, "The list was changed"),
        "text": (change_text, "The text was changed"),
        "campaign": (change_campaign, "The campaign file was changed"),
        "opt_out": (opt_out, "You confirmed 12 texts, but 11 would be sent now"),
        "swap": (swap, "Other customers would be texted"),
    }
    texts = 11 if "swap" in which else 12
    for change, difference in (changes[name] for name in which):
        world.write(customers(12))
        address, checked = clicker.check(SPRING)
        assert f"Review and send {texts} texts" in checked.plain
        change()
        answer = clicker.submit(f"{address}/send", {"choice": "all", "number": str(texts)})
        assert answer.status == 303
        page = clicker.wait_for_run(address)
        assert "Something has changed since the check" in page.plain
        assert difference in page.plain
    assert sandbox.requests() == []


@pytest.mark.system
def test_refusals_have_the_same_words_as_on_the_command_line(world: World, served: Served) -> None:
    world.write(campaign="\n[guards]\nmax_texts = 5\n")
    clicker = served.signed_in()
    address, checked = clicker.check(SPRING)
    (line,) = [line for line in world.send().err.splitlines() if "max_texts" in line]
    # Only where the limit is set differs: a page names its own fields, and no file.
    same = "12 texts would be sent"
    assert f"guards.max_texts is 5, but {same}. Check that this is the right list." in line
    assert (
        f"{same}, but the safety checks allow at most 5. Check that this is the right list." in checked.plain
    )
    refused = clicker.post(f"{address}/send", {"choice": "all", "number": "12"})
    assert (refused.url, "Nothing was sent" in refused.plain) == (address, True)
    (world.folder / "message.txt.j2").write_text("Hi {{ first_nam }}", encoding="utf-8")
    _, failed = clicker.check(SPRING)
    assert 'no column "first_nam"; the nearest is "First Name"' in failed.plain
    assert "no column for `first_nam`; the nearest is `first_name`" in world.send().err


@pytest.mark.system
def test_a_new_campaign_and_an_unusual_number_are_confirmed_by_a_person(
    world: World, served: Served, sandbox: Sandbox
) -> None:
    world.write(campaign='[guards]\nrequire_history = true\nunusual = "refuse"\n')
    clicker = served.signed_in()
    address, checked = clicker.check(SPRING)
    assert "This cannot be sent yet" in checked.plain
    assert "Check it as a new campaign" in checked.plain
    refused = clicker.post(f"{address}/send", {"choice": "all", "number": "12"})
    assert (refused.url, "Nothing was sent" in refused.plain) == (address, True)
    assert sandbox.requests() == []
    clicker.wait_for_run(send(clicker, 12, new_campaign="yes"))
    clicker.wait_for_end(RUN)
    assert sandbox.texts().total() == 12
    for number in (2, 3):
        world.write_list(customers(2, f"list-{number}"))
        # The console's process holds the campaign until it has written the page of its run.
        while (done := world.send()).code == Exit.BUSY:
            assert "is being sent by another process" in done.err
        assert done.code == 0
    world.write_list(customers(40, "whole-base"))
    assert world.send().code == 2
    clicker.wait_for_run(send(clicker, 40))
    clicker.wait_for_end(f"{SPRING}/run/4")
    assert sandbox.texts().total() == 56


@pytest.mark.system
def test_a_check_says_that_it_waits_for_the_list(world: World, served: Served) -> None:
    world.write(campaign="[guards]\nlist_settle = 3\n")
    in_an_hour = time.time() + 3600
    os.utime(world.folder / "customers.csv", (in_an_hour, in_an_hour))
    clicker = served.signed_in()
    address = clicker.submit(f"{SPRING}/check", {}).headers["Location"]
    seen = ""
    while "Nothing is sent by a check" in (page := clicker.get(address).plain):
        seen += page
    assert "Waiting until the list is no longer being written" in seen
    assert "Review and send 12 texts" in page


@pytest.mark.system
def test_a_run_can_be_paused_and_continued_and_survives_its_server(tmp_path: Path) -> None:
    """The server is killed while the run is sent. The next server sees the run, and the command line can stop it."""
    with running_sandbox(tmp_path, "--latency", "0.02") as sandbox:
        folder = tmp_path / "dealership"
        folder.mkdir()
        world = World(folder, sandbox.base_url).write(customers(400), campaign="\n[sending]\nrate = 40\n")
        with serving(world) as served:
            clicker = served.signed_in()
            address = send(clicker, 400)
            sandbox.wait_for(20)
            page = clicker.wait_for_run(address)
            assert "Pause or stop" in page.plain
            events = clicker_events(clicker, RUN)
            assert "event: progress" in events
            assert "of 400 texts tried" in events
            clicker.post(f"{RUN}/pause")
            page = clicker.wait_for_end(RUN)
            assert "a stop was requested" in page.plain
            sent = len(sandbox.requests())
            assert sent < 400
            send(clicker, 400 - sent)
            sandbox.wait_for(sent + 20)
            served.kill()
        seen = len(sandbox.requests())
        sandbox.wait_for(seen + 20)
        with serving(world) as served:
            clicker = served.signed_in()
            assert "Sending now" in clicker.get("/").plain
            # The command line stops a run that the console started.
            assert "was asked to stop" in world.run("stop", "campaign.toml").out
            clicker.wait_for_end(RUN)
            left = 400 - len(sandbox.requests())
            assert left > 0
            send(clicker, left)
            clicker.wait(RUN, "This run is over", 90)
        assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(400)), 1)


@pytest.mark.system
def test_a_console_that_stops_its_campaigns_ends_after_them(world: World, sandbox: Sandbox) -> None:
    """As in a container, with a ledger in a file: texts in flight are recorded, the others wait."""
    world.write(customers(200), campaign="\n[sending]\nrate = 20\n")
    with serving(world, "--stop-campaigns") as served:
        assert "Campaigns that are being sent stop, too." in served.output
        send(served.signed_in(), 200)
        sandbox.wait_for(10)
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(60) == 0
        texted = len(sandbox.texts())
        assert f"{texted} accepted by myKaarma" in world.run("runs").out
    assert 0 < texted < 200
    assert world.send("--rate", "200").code == 0
    assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(200)), 1)


@pytest.mark.system
def test_a_run_whose_process_was_killed_can_be_continued(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--latency", "0.3") as sandbox:
        folder = tmp_path / "dealership"
        folder.mkdir()
        world = World(folder, sandbox.base_url)
        world.write(customers(200), campaign="\n[sending]\nrate = 40\nconcurrency = 5\n")
        sender = world.start("send", "campaign.toml", "--yes", "--quiet")
        sandbox.wait_for(10)
        sender.send_signal(signal.SIGKILL)
        sender.communicate()
        with serving(world) as served:
            clicker = served.signed_in()
            page = clicker.get(RUN)
            assert "The process that sent it was killed" in page.plain
            address, checked = clicker.check(SPRING)
            number = re.search(r"Review and send (\d+) texts", checked.plain)
            assert number is not None
            clicker.submit(f"{address}/send", {"choice": "all", "number": number[1]})
            clicker.wait_for_run(address)
            page = clicker.wait_for_end(RUN)
            assert "unconfirmed" in page.plain
        assert max(sandbox.texts().values()) == 1


@pytest.mark.system
def test_a_run_that_the_api_slows_down_says_so_and_can_be_paused(world: World, sandbox: Sandbox) -> None:
    world.write([*customers(3), {**customers(4)[3], "Customer UUID": "sandbox-429-always-1"}])
    with serving(world) as served:
        clicker = served.signed_in()
        clicker.wait_for_run(send(clicker, 4))
        page = clicker.wait(RUN, "Sending continues by itself at")
        assert "Waiting, continues by itself" in page.plain
        assert "myKaarma" in page.plain[page.plain.index("Waiting: ") :].partition(".")[0]
        clicker.post(f"{RUN}/pause")
        paused = clicker.wait(RUN, "Paused by")
        assert "It waits until a person continues it." in paused.plain
    assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(3)), 1)


@pytest.mark.system
def test_a_run_that_waits_for_quiet_hours_says_until_when_and_goes_on(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    hours = '{ from = "20:00", to = "08:00", timezone = "America/Chicago" }'
    world.write(customers(3), campaign=f"[sending]\nquiet_hours = {hours}\n")
    clock = ClockFile(tmp_path / "clock", datetime(2026, 3, 3, 3, tzinfo=UTC))
    world.environment.update(clock.environment)
    process = world.start("send", "campaign.toml", "--yes", "--wait")
    try:
        with serving(world) as served:
            clicker = served.signed_in()
            clicker.wait(RUN, "Waiting: quiet hours. Sending continues by itself at 2026-03-03")
            assert "Waiting, continues by itself" in clicker.get("/").plain
            clock.move_to(datetime(2026, 3, 3, 14, 0, 5, tzinfo=UTC))
            assert "3 texts accepted by myKaarma" in clicker.wait_for_end(RUN).plain
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    finally:
        process.kill()
    assert len(sandbox.requests()) == 3


@pytest.mark.system
def test_giving_up_the_rest(world: World, served: Served, sandbox: Sandbox) -> None:
    clicker = served.signed_in()
    clicker.wait_for_run(send(clicker, 10, "first"))
    clicker.wait_for_end(RUN)
    page = clicker.post(f"{RUN}/stop")
    assert "2 texts given up" in page.plain
    assert "This run is over" in page.plain
    assert "2 skipped" in world.run("runs").out
    # A new check of the same list offers them again.
    _, checked = clicker.check(SPRING)
    assert "Review and send 2 texts" in checked.plain
    assert len(sandbox.requests()) == 10


@pytest.mark.system
def test_stopping_for_good_finishes_the_texts_under_way_and_gives_up_the_rest(
    world: World, served: Served, sandbox: Sandbox
) -> None:
    world.write(customers(300), campaign="\n[sending]\nrate = 20\n")
    clicker = served.signed_in()
    clicker.wait_for_run(send(clicker, 300))
    sandbox.wait_for(5)
    assert "the rest is given up" in clicker.post(f"{RUN}/stop").plain
    clicker.wait(RUN, "This run is over")
    taken = len(sandbox.requests())
    assert f"300 rows = {taken} accepted by myKaarma + {300 - taken} skipped" in world.run("runs").out
    assert max(sandbox.texts().values()) == 1


def test_a_check_made_before_a_stop_for_good_is_refused(
    world: World, served: Served, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.send("--limit", "10").code == 0
    clicker = served.signed_in()
    address, checked = clicker.check(SPRING)
    assert "Review and send 2 texts" in checked.plain
    # What is sent to the API is not for the people who look at this page.
    assert "request" not in re.sub("<script.*", "", checked.text, flags=re.DOTALL)
    shown = clicker.get(f"{SPRING}/check").url
    confirmed = CheckedPlan(**state_of_check(world, address)["checked"])
    assert "2 texts given up" in clicker.post(f"{RUN}/stop").plain

    # Neither the question nor its form, which another tab still shows, sends anything.
    for answer in (
        clicker.get(f"{address}/send"),
        clicker.post(f"{address}/send", {"choice": "all", "number": "2"}),
    ):
        assert answer.url == address
        assert "the campaign was stopped for good after this check" in answer.plain
        assert "This check is out of date" in answer.plain
    assert not list((world.folder / ".batchsend" / "web").glob("*.sent.*"))
    # A job that had begun before the stop sees it too.
    monkeypatch.setenv("MYKAARMA_BASE_URL", sandbox.base_url)
    monkeypatch.chdir(world.folder)
    with planned(prepare(load_campaign(world.folder / "campaign.toml"))) as plan:
        stopped = ["The campaign was stopped for good."]
        assert differences(confirmed.stored(), plan, first=False) == stopped
        # Even if the clock was set back since another run was stopped.
        earlier = replace(confirmed, stopped_at=["9 2999-01-01T00:00:00.000Z"])
        assert differences(earlier.stored(), plan, first=False) == stopped
    # The campaign's pages lead to a new check, which offers these rows again.
    assert clicker.get(f"{SPRING}/check").url != shown
    clicker.wait_for_run(send(clicker, 2))
    clicker.wait_for_end(RUN)
    assert sandbox.texts() == dict.fromkeys((f"customer-{number}" for number in range(12)), 1)


def state_of_check(world: World, address: str) -> dict[str, Any]:
    """Returns the facts that a check has stored."""
    file = world.folder / ".batchsend" / "web" / f"{address.rpartition('/')[2]}.state.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))["facts"])


def test_the_downloads_of_a_check(world: World, served: Served) -> None:
    rows = customers(6)
    rows[1]["Phone"], rows[4]["First Name"] = "555-01", ""
    world.write_list([{**row, "Problem": "none"} for row in rows])
    clicker = served.signed_in()
    address, checked = clicker.check(SPRING)

    def download(name: str) -> list[list[object]]:
        assert f'href="{address}/{name}"' in checked.text
        answer = clicker.raw("GET", f"{address}/{name}")
        assert re.search(r"''campaign-[\w-]+\.xlsx$", answer.headers["Content-Disposition"])
        kept = world.folder / ".batchsend" / "web" / f"{address.rpartition('/')[2]}.{name}.xlsx"
        sheet = load_workbook(kept).active
        return [[cell.value or "" for cell in row] for row in sheet.iter_rows()]

    assert download("list") == [[*rows[0], "Problem"], *([*row.values(), "none"] for row in rows)]
    problems = download("problems")
    assert problems[0] == [*rows[0], "Problem", "Row in the list", "Problem (check)", "What to do"]
    assert [row[len(rows[0]) + 1] for row in problems[1:]] == ["3", "6"]
    assert clicker.raw("GET", f"{address}/workbook").status == 200
    # What is written if the usual one is open in Excel.
    usual = world.folder / "previews" / "campaign.xlsx"
    second = usual.rename(usual.with_name("campaign (2).xlsx"))
    state = world.folder / ".batchsend" / "web" / f"{address.rpartition('/')[2]}.state.json"
    found = state.read_text(encoding="utf-8")
    state.write_text(found.replace('"campaign.xlsx"', '"campaign (2).xlsx"'), encoding="utf-8")
    assert clicker.raw("GET", f"{address}/workbook").status == 200
    state.write_text(found, encoding="utf-8")
    second.rename(usual)
    world.write_list(customers(2))
    assert clicker.raw("GET", f"{address}/list").status == 200, "it was kept"
    other, _ = clicker.check(SPRING)
    world.write_list(customers(3))
    assert "has changed since this check" in clicker.get(f"{other}/list").plain
    assert "A newer check has replaced this workbook" in clicker.get(f"{address}/workbook").plain
    assert "problems" not in clicker.check(SPRING)[1].text.partition("Downloads")[2].partition("</ul>")[0]


def test_missing_credentials_block_the_check(world: World) -> None:
    world.write(customers(2))
    world.environment["MYKAARMA_PASSWORD"] = ""
    with serving(world) as server:
        clicker = server.signed_in()
        address, checked = clicker.check(SPRING)
        assert "This cannot be sent yet" in checked.plain
        assert "Go to Sender" in checked.plain
        assert f"{address}/send" not in checked.text
        assert clicker.get(f"{address}/send").url == address
        assert "Next: Sender" in clicker.wait(SPRING, "Next:").plain


@pytest.mark.system
def test_each_resend_is_confirmed_separately(world: World, served: Served, sandbox: Sandbox) -> None:
    doubtful = [
        {"Customer UUID": f"sandbox-{what}-1", "First Name": "Eve", "Phone": ""} for what in ("500", "locked")
    ]
    world.write_list([*customers(1), *doubtful])
    clicker = served.signed_in()
    clicker.wait_for_run(send(clicker, 3))
    page = clicker.wait_for_end(RUN)
    assert "Send 1 refused text again?" in page.plain
    assert "Send 1 unconfirmed text again?" in page.plain
    assert "--resend" not in page.plain
    address, _ = clicker.check(SPRING, resend="unconfirmed")
    assert "1 text of these may have arrived the first time" in clicker.get(f"{address}/send").plain
    unsure = clicker.post(f"{address}/send", {"choice": "all", "number": "1"})
    assert unsure.url == f"{address}/send"
    assert "looked these customers up" in unsure.plain
    before = len(sandbox.requests())
    clicker.submit(f"{address}/send", {"choice": "all", "number": "1", "sure": "yes"})
    clicker.wait_for_run(address)
    clicker.wait_for_end(RUN)
    assert [request["customerUUID"] for request in sandbox.requests()[before:]] == ["sandbox-500-1"]


@pytest.mark.system
def test_the_question_says_who_got_the_text_from_another_list(
    world: World, served: Served, sandbox: Sandbox
) -> None:
    rows = [{"Customer UUID": f"c-{day}", "First Name": "Ann", "Due": f"3/{day}/2026"} for day in (5, 6)]
    world.write(rows, campaign='[recipients]\nkey = ["Customer UUID", "Due"]')
    assert world.send().code == 0
    # Excel spells the dates anew, and one row is new.
    spelled = [{**row, "Due": f"2026-03-0{day}"} for row, day in zip(rows, (5, 6), strict=True)]
    world.write_list([*spelled, {**rows[0], "Due": "3/7/2026"}])
    clicker = served.signed_in()
    address, _ = clicker.check(SPRING)
    question = clicker.get(f"{address}/send").plain
    assert "Send 1 text?" in question
    assert "2 rows skipped because an earlier run texted them." in question
    clicker.wait_for_run(send(clicker, 1))
    clicker.wait_for_end(f"{SPRING}/run/2")
    assert sandbox.texts() == {"c-5": 2, "c-6": 1}


def test_a_resend_of_nothing_known_sends_nothing(served: Served, sandbox: Sandbox) -> None:
    _, failed = served.signed_in().check(SPRING, resend="everything")
    assert "These rows cannot be sent again." in failed.plain
    assert sandbox.requests() == []


@pytest.mark.system
def test_a_test_goes_only_to_the_user(served: Served, sandbox: Sandbox) -> None:
    clicker = served.signed_in()
    address, _ = clicker.check(SPRING)
    nonce = clicker.get(f"{address}/trial").hidden("nonce")
    wrong = clicker.post(f"{address}/trial", {"customer": "not an id!", "row": "1", "nonce": nonce})
    assert wrong.url == f"{address}/trial"
    assert re.findall(r'<p id="(\w+)-error"', wrong.text) == ["customer", "row"]
    assert 'value="not an id!"' in wrong.text
    for _ in range(2):  # a double click
        begun = clicker.submit(f"{address}/trial", {"customer": "my-own-id", "row": "3", "nonce": nonce})
    page = clicker.wait(begun.headers["Location"], "Accepted by myKaarma")
    assert "Hi Name1" in page.plain
    assert [request["customerUUID"] for request in sandbox.requests()] == ["my-own-id"]
    assert "Never sent" in clicker.get("/").plain


@pytest.mark.system
def test_a_rehearsal_sends_nothing(served: Served, sandbox: Sandbox) -> None:
    clicker = served.signed_in()
    address, _ = clicker.check(SPRING)
    nonce = clicker.get(f"{address}/trial").hidden("nonce")
    begun = clicker.submit(f"{address}/rehearse", {"nonce": nonce})
    page = clicker.wait(begun.headers["Location"], "12 rows = 12 accepted")
    assert "No text left this computer" in page.plain
    assert sandbox.requests() == []


@pytest.mark.system
def test_the_signed_in_user_is_the_sender(tmp_path: Path, world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.run("web-users", "add", "dana.k", "--password-stdin", answer="four words are good\n")
    with serving(world, "--name", "texts.dealer.example") as served:
        clicker = served.clicker()
        body = b"name=dana.k&password=four+words+are+good"
        clicker.raw("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        clicker.wait_for_run(send(clicker, 2))
        page = clicker.wait_for_end(RUN)
        assert "dana.k on " in page.plain
    assert "by dana.k on " in world.run("runs").out
    assert "dana.k" in world.run("history", "--customer", "customer-1").out


def clicker_events(clicker: Clicker, run: str) -> str:
    """Returns a run's events up to the first progress."""
    connection = http.client.HTTPConnection("127.0.0.1", clicker.port, timeout=30)
    cookies = "; ".join(f"{name}={value}" for name, value in clicker.cookies.items())
    connection.request("GET", f"{run}/events", headers={"Cookie": cookies})
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    seen = ""
    deadline = time.monotonic() + 30
    while "texts tried" not in seen:
        assert time.monotonic() < deadline
        seen += response.readline().decode()
    connection.close()
    return seen


def test_on_windows_a_console_cannot_stop_its_campaigns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "os", SimpleNamespace(name="nt"))
    with pytest.raises(SettingsError, match="--stop-campaigns is for containers"):
        server.serve(server.Options(tmp_path, stop_campaigns=True), say=str)
