"""The preview page and the report page: what they say, and that customers' text stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import Page, outside_addresses
from world import World, customers, running_sandbox

from batchsend import load_campaign, preview
from batchsend.reports.output_files import write_preview_page
from batchsend.reports.pages.charts import charts, shares
from batchsend.reports.pages.html import marked, script_json
from batchsend.reports.pages.sample_messages import EvenSample, MessageSampler
from batchsend.utils.wording import age, ranges

CHICAGO = ZoneInfo("America/Chicago")
OPTIONAL = (
    "Hi {{ first_name or 'there' }}, {% if model %}your {{ model }}{% else %}your car{% endif %} is due."
)


# --- rules


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], []),
        ([2], ["2"]),
        # Two in a row are no range yet.
        ([2, 3, 5], ["2", "3", "5"]),
        ([2, 3, 4, 9, 11, 12, 13, 14], ["2–4", "9", "11–14"]),
    ],
)
def test_row_numbers_in_a_row_are_joined(numbers: list[int], words: list[str]) -> None:
    assert ranges(numbers) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute"), (7300, "2 hours"), (86400 * 3, "3 days")],
)
def test_ages(seconds: float, words: str) -> None:
    assert age(seconds) == words


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=6))
def test_a_bar_is_filled_and_every_part_of_it_can_be_seen(counts: list[int]) -> None:
    bar = shares(*((f"kind{number}", "words", count) for number, count in enumerate(counts)))
    assert [share.count for share in bar] == [count for count in counts if count]
    assert all(share.width >= 1 for share in bar)
    if bar:
        assert bar[-1].x + bar[-1].width == pytest.approx(100, abs=0.1)


@given(st.lists(st.integers(1, 40), max_size=300), st.integers(40, 400), st.integers(1, 50))
def test_a_sample_keeps_to_its_budget_and_spreads_evenly(sizes: list[int], budget: int, at_once: int) -> None:
    sample: EvenSample[int] = EvenSample(budget)
    for start in range(0, len(sizes), at_once):
        some = sizes[start : start + at_once]
        sample.extend(len(some), lambda number, start=start: (start + number, sizes[start + number]))
    kept = sample.items
    assert sum(sizes[number] for number in kept) <= budget
    assert sample.complete == (len(kept) == len(sizes))
    assert len({b - a for a, b in pairwise(kept)}) <= 1
    if sum(sizes) <= budget:
        assert kept == list(range(len(sizes)))


def test_items_that_are_not_kept_are_never_made() -> None:
    made = []

    def make(number: int) -> tuple[int, int]:
        made.append(number)
        return number, 1

    sample: EvenSample[int] = EvenSample(10)
    for number in range(1000):
        sample.add(lambda number=number: make(number))
    assert len(made) < 100


@given(st.text())
def test_json_in_a_script_element_cannot_end_it(text: str) -> None:
    written = str(script_json({"value": text}))
    assert json.loads(written) == {"value": text}
    assert not re.search("[<>&\u2028\u2029]", written)


def test_only_the_characters_that_cost_are_marked() -> None:
    assert marked("<b>Lucía ñ</b>") == "&lt;b&gt;Luc<mark>í</mark>a ñ&lt;/b&gt;"


def _message(
    row: int, body: str, cells: list[str], *, phone: str | None = "+13125550100", segments: int = 1
) -> dict[object, object]:
    named = {"row": row, "phone": phone, "body": body, "segments": segments, "encoding": "GSM-7"}
    return {**named, **dict(enumerate(cells))}


def _add(sampler: MessageSampler, used: list[int], template: str, *messages: dict[object, object]) -> None:
    sampler.add(pd.DataFrame(list(messages), dtype=object), used, template)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_the_messages_worth_checking_are_found(at_once: int) -> None:
    sampler = MessageSampler(["First Name", "Model"], [0, 1], phone_in_list=True)
    ordinary = [_message(row, f"Hi Ann{row}", ["Ann", "Civic"]) for row in range(2, 40)]
    odd = [
        _message(40, "Hi there", ["", "Civic"]),
        _message(41, "Hi", ["Bo", ""], phone=None),
        _message(42, "Hi " + "x" * 200, ["Bo", "Civic"], segments=2),
        _message(43, "Hi y", ["Wolfeschlegelsteinhausenbergerdorff", "Civic"]),
    ]
    messages = [*ordinary, *odd]
    for start in range(0, len(messages), at_once):
        _add(sampler, [0, 1], "a", *messages[start : start + at_once])
    samples = sampler.samples()
    assert [one.row for one in samples.first] == [2, 3, 4]
    assert [(one.row, one.why) for one in samples.extreme] == [
        (42, ["the longest", "among the most expensive"])
    ]
    assert [(one.row, one.why) for one in samples.odd] == [
        (40, ["First Name is blank"]),
        (41, ["Model is blank", "the phone is blank: goes to the preferred number"]),
        (43, ["a very long value in First Name"]),
    ]
    assert (sampler.blanks(0), sampler.blanks(1), sampler.preferred) == (1, 1, 1)


def test_of_several_templates_each_is_shown_and_its_own_columns_count() -> None:
    sampler = MessageSampler(["First Name", "Model"], [0, 1], phone_in_list=False)
    _add(sampler, [0], "en.txt.j2", *(_message(row, "Hi", ["Ann", ""]) for row in range(2, 9)))
    _add(sampler, [0, 1], "es.txt.j2", _message(9, "Hola", ["Ana", "Civic"]))
    samples = sampler.samples()
    assert [(one.row, one.why) for one in samples.first] == [
        (2, ["from en.txt.j2"]),
        (3, []),
        (4, []),
        (9, ["from es.txt.j2", "the longest"]),
    ]
    assert samples.odd == []


@pytest.mark.parametrize(
    ("seconds", "span", "bars"),
    [
        # A second or less is one bar, an hour a bar a minute, ten days less than sixty bars.
        (0.3, 1, 1),
        (59, 1, 60),
        (60, 2, 31),
        (3599, 60, 60),
        (864_000, 28800, 31),
    ],
)
def test_a_chart_has_few_bars_and_loses_no_request(seconds: float, span: int, bars: int) -> None:
    def moment(offset: float) -> str:
        days, rest = divmod(36_000 + offset, 86_400)
        hours, rest = divmod(rest, 3600)
        return f"2026-11-{2 + int(days):02}T{int(hours):02}:{int(rest // 60):02}:{rest % 60:06.3f}Z"

    moments = [moment(seconds * number / 99) for number in range(100)]
    (chart,) = charts([(7, at, at, 1) for at in moments], CHICAGO)
    assert (chart.start, chart.span, len(chart.bars)) == (7, span, bars)
    assert sum(bar.requests for bar in chart.bars) == 100
    assert all(0 <= bar.height <= 100 for bar in chart.bars)
    assert chart.top >= max(bar.rate for bar in chart.bars)
    assert chart.begins.startswith("2026-11-02 04:00:00")


def test_each_start_has_a_chart_of_its_own() -> None:
    found = charts(
        [
            (start, at, at, 1)
            for start, at in ((2, "2026-11-02T10:00:00.000Z"), (1, "2026-11-01T10:00:00.000Z"))
        ],
        CHICAGO,
    )
    assert [(chart.start, chart.requests) for chart in found] == [(1, 1), (2, 1)]


# --- pages of the installed command


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def _rows() -> list[dict[str, str]]:
    sound = customers(4)
    for row in sound:
        row["Model"] = "Civic"
    sound[1]["First Name"] = HOSTILE
    sound[2]["First Name"] = ""
    sound[3]["Model"] = ""
    broken = [
        {"Customer UUID": "customer-8", "First Name": "Bo", "Phone": "555", "Model": "Pilot"},
        {"Customer UUID": "", "First Name": "Cy", "Phone": "", "Model": "Pilot"},
        {"Customer UUID": "sandbox-locked-1", "First Name": "Dee", "Phone": "(312) 555-0199", "Model": "Fit"},
        {"Customer UUID": "sandbox-500-1", "First Name": "Eve", "Phone": "(312) 555-0198", "Model": "Fit"},
        # The second car of a customer.
        {**sound[0], "Model": "Odyssey"},
    ]
    return [*sound, *broken]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A folder after a preview, a start with a limit, and a second start with trouble in two rows."""
    folder = tmp_path_factory.mktemp("sent")
    with running_sandbox(folder) as sandbox:
        world = World(folder / "dealership", sandbox.base_url)
        world.folder.mkdir()
        world.write(_rows(), template=OPTIONAL)
        shown = world.run("preview", "campaign.toml")
        assert shown.out.endswith(
            f"Preview: {Path('previews/campaign.xlsx')}\nPage: {Path('previews/campaign.html')}\n"
        )
        world.send("--limit", "1")
        done = world.send()
        assert done.out.endswith(f"Report: {Path('results/campaign-1.html')}\n")
        yield world


@pytest.fixture(scope="module")
def preview_page(sent: World) -> Page:
    return Page.read(sent.folder / "previews" / "campaign.html")


@pytest.fixture(scope="module")
def report_page(sent: World) -> Page:
    return Page.read(sent.folder / "results" / "campaign-1.html")


@pytest.mark.parametrize(
    "sentence",
    [
        "6 texts ready to send. 2 rows need attention. 1 row skipped.",
        "This campaign has never been sent.",
        'Phone holds "555"',
        "Customer UUID is blank",
        "First Name is blank",
        "Model is blank",
        "One text or two?",
        "Make this page again: batchsend preview campaign.toml",
        "Authorization: Basic ••••••••",
        f"Hi {HOSTILE}, your Civic is due.",
    ],
)
def test_the_preview_page_lets_one_person_decide(preview_page: Page, sentence: str) -> None:
    assert sentence in preview_page.text


@pytest.mark.parametrize(
    "sentence",
    [
        "Run 1 Spring",
        "4 texts accepted by myKaarma. 4 rows need attention. 1 row skipped.",
        "delivery is not known here",
        "1 text may or may not have been sent",
        "sandbox-500-1",
        "CUSTOMER_LOCKED",
        "1 refused, nothing was sent",
        "Start 1:",
        "Start 2:",
        "9 rows = 4 accepted by myKaarma + 1 skipped + 4 need attention + 0 waiting",
    ],
)
def test_the_report_page_tells_a_run(report_page: Page, sentence: str) -> None:
    assert sentence in report_page.text


def test_the_report_page_has_a_chart_for_each_start_that_sent(report_page: Page) -> None:
    assert report_page.text.count("Requests in each 1 s") == 2
    assert "not ended" not in report_page.text


@pytest.mark.parametrize("name", ["previews/campaign.html", "results/campaign-1.html"])
def test_text_of_customers_is_text(sent: World, name: str) -> None:
    page = Page.read(sent.folder / name)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts in ([{}], [{"type": "application/json", "id": "rows"}, {}])
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert outside_addresses(re.sub(r"<(script|style)\b.*?</\1>", "", page.source, flags=re.DOTALL)) == []
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("name", ["previews/campaign.html", "results/campaign-1.html"])
def test_the_policy_allows_our_own_style_and_script_and_nothing_else(sent: World, name: str) -> None:
    source = Page.read(sent.folder / name).source
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', source)
    assert policy is not None
    allowed = dict(part.strip().split(" ", 1) for part in policy[1].replace("&#39;", "'").split(";"))
    for directive, tag in (("style-src", "style"), ("script-src", "script")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[directive] == f"'sha256-{digest}'"
    assert allowed["default-src"] == "'none'"


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind")
@pytest.mark.parametrize("name", ["previews/campaign.html", "results/campaign-1.html"])
def test_pages_are_for_their_owner_only(sent: World, name: str) -> None:
    assert stat.S_IMODE((sent.folder / name).stat().st_mode) == 0o600


def test_runs_names_the_report_and_results_writes_it_again_without_the_list(sent: World) -> None:
    page = sent.folder / "results" / "campaign-1.html"
    assert f"report: {Path('results/campaign-1.html')}" in sent.run("runs").out
    before = Page.read(page)
    page.unlink()
    (sent.folder / "customers.csv").rename(sent.folder / "away.csv")
    done = sent.run("results", "campaign.toml")
    (sent.folder / "away.csv").rename(sent.folder / "customers.csv")
    assert done.out.endswith(f"Report: {Path('results/campaign-1.html')}\n")
    again = Page.read(page)
    assert [tag for tag, _ in again.tags] == [tag for tag, _ in before.tags]


def test_what_the_preview_shows_of_a_row_is_what_the_api_receives_byte_for_byte(tmp_path: Path) -> None:
    """Except for the two values that are known only when sending starts: the ledger and the run."""
    rows = [*customers(3), {"Customer UUID": "a_b-C", "First Name": "D’Ándre ☂\tx", "Phone": ""}]
    with recording_api() as (base_url, received):
        world = World(tmp_path, base_url)
        world.write(rows, campaign='[message]\nadd_footer = true\ncallback_metadata = { source = "<b>" }\n')
        page = _page_of(world)
        assert world.send().code == 0
    shown = {row[6]: row[5] for row in page.data["rows"]}
    assert sorted(path for path, _ in received) == sorted(shown)
    for path, body in received:
        given = json.loads(body)["messageSendingAttributes"]["callbackMetaData"]
        later = [given["batchsendLedger"], given["batchsendRun"]]
        parts = shown[path].split("(given when sending starts)")
        assert "".join(map("".join, zip(parts, [*later, ""], strict=True))).encode() == body


@contextmanager
def recording_api() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Yields the base URL of a server, and (path, body) of each request that it received."""
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, body))
            answer = b'{"status": "SUCCESS", "messageUUID": "m"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _page_of(world: World, refusals: Sequence[str] = ()) -> Page:
    """The preview page, made in this process."""
    path = world.folder / "page.html"
    with preview(load_campaign(world.folder / "campaign.toml")) as plan:
        write_preview_page(plan, path, world.folder / "page.xlsx", refusals)
    return Page.read(path)


def test_a_long_list_makes_a_page_that_opens_at_once(tmp_path: Path) -> None:
    rows = customers(6000)
    rows[5000]["Phone"] = "12"
    page = _page_of(World(tmp_path).write(rows))
    assert len(page.source.encode()) < 2_000_000
    assert 500 < len(page.data["rows"]) < 6000
    assert not page.data["complete"]
    # Every row that needs attention can be looked up.
    assert page.row(5002)[1] == "invalid"
    assert f"This page has {len(page.data['rows']):,} of the 6,000 rows" in page.text


def test_the_preview_page_shows_why_nothing_can_be_sent(tmp_path: Path) -> None:
    page = _page_of(World(tmp_path).write(customers(3)), ["campaign.toml: 3 texts are too many"])
    assert "Nothing can be sent as it is." in page.text
    assert "campaign.toml: 3 texts are too many" in page.text


def test_nothing_to_send_is_no_alarm(tmp_path: Path) -> None:
    consent = '[recipients]\nconsent = { column = "First Name", yes = ["Y"] }\n'
    page = _page_of(World(tmp_path).write(customers(2), campaign=consent))
    assert "Nothing to send. 2 rows skipped." in page.text
    assert ("div", {"class": "verdict none"}) in page.tags


def test_the_page_names_the_columns_that_decide_the_hour_and_how_long_rows_wait(tmp_path: Path) -> None:
    rows = [{**row, "Zip": "60601", "State": "IL"} for row in customers(2)]
    always = '[sending]\nquiet_hours = { from = "09:00", to = "08:59", timezone = "recipient" }\n'
    page = _page_of(World(tmp_path).write(rows, campaign=always))
    assert "ZIP code, for quiet hours Zip" in page.text
    assert "state, for quiet hours State" in page.text
    assert "Some rows have to wait, the first until" in page.text
    assert "for quiet hours" not in _page_of(World(tmp_path).write(rows)).text


def test_open_shows_the_page_in_the_browser(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(1))
    browser = world.folder / "browser.py"
    browser.write_text(
        "import sys, pathlib; pathlib.Path('opened').write_text(sys.argv[1])", encoding="utf-8"
    )
    world.environment["BROWSER"] = f"{sys.executable} {browser} %s"
    assert world.run("preview", "campaign.toml", "--open").code == 0
    opened = (world.folder / "opened").read_text(encoding="utf-8")
    assert opened == (world.folder / "previews" / "campaign.html").as_uri()


def test_it_is_printed_that_no_browser_could_be_started(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(1))
    world.environment = {"BROWSER": "no-such-browser-anywhere", "PATH": str(world.folder)}
    done = world.run("preview", "campaign.toml", "--open")
    assert done.code == 0
    assert done.err == "Couldn't start a browser. Open the page yourself.\n"


def test_the_report_of_a_rehearsal_says_that_it_is_one(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(2))
    done = world.run("send", "campaign.toml", "--sandbox", "--yes")
    assert done.out.endswith(f"Report: {Path('results/campaign-rehearsal.html')}\n")
    page = Page.read(world.folder / "results" / "campaign-rehearsal.html")
    for sentence in (
        "Rehearsal · no text was sent",
        "2 texts accepted by the stand-in for myKaarma.",
        "This rehearsal:",
        "Sending rate",
    ):
        assert sentence in page.text


def test_a_page_that_cannot_be_written_fails_no_run(world: World) -> None:
    world.write(customers(1))
    page = world.folder / "results" / "campaign-1.html"
    page.mkdir(parents=True)
    done = world.send()
    assert done.code == 0
    assert f"Couldn't write the report page; the results are unaffected. {page}: " in done.out
    assert list(world.workbook()) == [2]
    assert done.out.endswith(f"Results: {Path('results/campaign-1.xlsx')}\n")
