"""The steps of a campaign: their states come from a check of the present files, and nothing typed is lost."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lists import rows_of
from openpyxl import load_workbook
from web_client import Answer, Clicker, Served, serving
from workbooks import new_workbook
from world import CAMPAIGN, World, customers

from batchsend.campaigns.file import load_campaign
from batchsend.errors import (
    BatchsendError,
    ColumnsError,
    CombinedError,
    ListError,
    SettingsError,
    TemplateError,
)
from batchsend.lists.cells import clean
from batchsend.lists.customer_list import open_list
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.jobs.problem_rows import version_of, write_corrected
from batchsend.web.jobs.registry import JobState
from batchsend.web.rendering import part
from batchsend.web.steps import Facts, Page, Problem, State, Step, next_step, problems_of, statuses
from batchsend.web.views import list_rows
from batchsend.web.views.all_steps import ALL_STEPS
from batchsend.web.views.opening import open_file
from batchsend.web.views.step_page import PresentSteps

#: Cells as people type them, and some that spreadsheets turn into something else.
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=6) | st.sampled_from(
    ["007", "=1+1", "1.5E+10", "TRUE", "2026-03-01", "#N/A", " x ", "'a", "_x0041_", ""]
)
NAMES = [step.name for step in ALL_STEPS]
SPRING = "/campaign/here/campaign"


@pytest.fixture
def new_world(tmp_path: Path) -> World:
    folder = tmp_path / "dealership"
    folder.mkdir()
    rows = [{**row, "OK": "Y" if number % 2 else "N"} for number, row in enumerate(customers(10))]
    return World(folder).write(rows, campaign='[recipients]\nconsent = { column = "OK", yes = ["Y"] }')


@pytest.fixture
def served(new_world: World) -> Iterator[Served]:
    with serving(new_world) as server:
        yield server


def checked(clicker: Clicker, campaign: str = SPRING) -> Answer:
    """Returns the campaign's page once its check has ended."""
    deadline = time.monotonic() + 60
    while "hx-get" in (answer := clicker.get(campaign)).text:
        assert time.monotonic() < deadline, answer.plain
        time.sleep(0.1)
    return answer


def states_of(answer: Answer) -> dict[str, str]:
    """Returns what the campaign's page says of each step."""
    found = re.findall(r'<li class="([\w-]+)">.*?id="step-(\w+)"', answer.text, re.DOTALL)
    return {name: state for state, name in found}


problems = st.builds(
    Problem, st.sampled_from(NAMES), st.text(min_size=1), st.booleans(), unbegun=st.booleans()
)
any_facts = st.builds(
    Facts,
    checked=st.booleans(),
    complete=st.booleans(),
    problems=st.lists(problems, max_size=4),
    texts=st.integers(0, 5),
    sent=st.booleans(),
)


@given(any_facts)
def test_no_step_is_done_without_a_check_that_judged_every_row(found: Facts) -> None:
    status = statuses(ALL_STEPS, found)
    for name in NAMES:
        mine = [problem for problem in found.problems if problem.step == name]
        assert (status[name].state is State.ATTENTION) == bool(mine)
        if status[name].state is State.DONE:
            assert found.checked
            assert found.complete
    if any(problem.blocks for problem in found.problems):
        assert State.DONE not in (status["check"].state, status["send"].state)


@given(any_facts)
def test_the_next_step_is_the_first_that_keeps_texts_from_being_sent(found: Facts) -> None:
    """Or an earlier one that still has the sample's list or text, if anything keeps texts from being sent."""
    step = next_step(ALL_STEPS, statuses(ALL_STEPS, found))
    left = [
        name
        for name in NAMES
        if any(one.step == name and (one.blocks or one.unbegun) for one in found.problems)
    ]
    blocked = any(one.blocks for one in found.problems)
    assert (step.name if step else None) == (left[0] if blocked else None)


def test_each_error_belongs_to_the_step_in_which_it_is_fixed() -> None:
    suppress = Path("optouts.csv")
    error = CombinedError(
        [
            ListError("list.csv", ["empty", "too large"]),
            ListError(suppress, "no such file"),
            ColumnsError("list.csv", "no customers"),
            TemplateError("text.j2", "line 1"),
            SettingsError("no password"),
            BatchsendError("another name"),
        ]
    )
    steps = [problem.step for problem in problems_of(error, [suppress])]
    assert steps == ["list", "list", "when", "columns", "text", "sender", "check"]


def test_choices_that_a_list_leaves_are_named_as_on_its_page() -> None:
    error = ListError("list.xlsx", ['Choose under [list_options]: sheet = "May"', "hidden_rows = ..."])
    error.options, error.hidden_rows = frozenset({"sheet", "hidden_rows"}), 2
    assert problems_of(error) == [
        Problem("list", "Choose the sheet that has the customers."),
        Problem("list", "2 rows are hidden or filtered out. Say whether these customers get the text."),
    ]


def test_a_step_needs_one_line() -> None:
    async def show(_: object) -> object: ...

    more = (*ALL_STEPS, Step("thanks", "Thanks", "Who says thanks?", (Page("GET", "", show),)))  # type: ignore[arg-type]
    assert statuses(more, Facts())["thanks"].state is State.UNCHECKED


@pytest.mark.parametrize("step", [name for name in NAMES if name not in ("check", "send")])
def test_every_step_has_a_page_with_the_bar_and_a_way_back(served: Served, step: str) -> None:
    page = served.signed_in().get(f"{SPRING}/{step}")
    assert page.status == 200
    assert re.findall(r'id="step-(\w+)" href="[^"]+" aria-current="step"', page.text) == [step]
    assert [f"{SPRING}/{name}" in page.text for name in NAMES] == [True] * len(NAMES)
    assert f"Step {NAMES.index(step) + 1} of {len(NAMES)}" in page.plain
    assert "Back" in page.plain


def test_errors_are_shown_whatever_the_file_of_a_campaign_is_called(served: Served, new_world: World) -> None:
    (new_world.folder / "campaign.toml").rename(new_world.folder / "May #2 at 50% off.toml")
    campaign = "/campaign/here/May%20%232%20at%2050%25%20off"
    clicker = served.signed_in()
    shown = clicker.shown(f"{campaign}/when")
    wrong = clicker.post(f"{campaign}/when", {**shown, "start": "hand", "sending.rate": "fast"})
    assert wrong.status == 200
    assert 'value="fast"' in wrong.text
    shown = clicker.shown(f"{campaign}/list")
    assert "There is a problem" in clicker.post(f"{campaign}/list/how", {**shown, "header_row": "0"}).plain
    assert 'id="tested"' in clicker.post(f"{campaign}/sender/test").text


def test_the_states_follow_the_files(served: Served, new_world: World) -> None:
    clicker = served.signed_in()
    assert set(states_of(clicker.get(SPRING)).values()) <= {"unchecked", "done", "not-yet"}
    done = checked(clicker)
    # The campaign has no quiet hours.
    assert states_of(done) == {**dict.fromkeys(NAMES, "done"), "when": "attention", "send": "not-yet"}
    assert "5 texts ready to send" in done.plain

    text = new_world.folder / "message.txt.j2"
    text.write_text("Hi {{ first_nam }}", encoding="utf-8")
    # The page never shows the state of the earlier files.
    assert "done" not in states_of(clicker.get(SPRING)).values()
    wrong = checked(clicker)
    assert states_of(wrong) == {**dict.fromkeys(NAMES, "not-yet"), "text": "attention"}
    assert "Next: Text" in wrong.plain

    text.write_text("It's {{ first_name }} {% include 'footer.txt' %} isn't it", encoding="utf-8")
    (new_world.folder / "footer.txt").write_text("Bye {{ last_name }}", encoding="utf-8")
    assert states_of(checked(clicker))["text"] == "attention"
    (new_world.folder / "footer.txt").write_text("Bye", encoding="utf-8")
    assert states_of(checked(clicker))["text"] == "done"

    rows = [
        {**row, "OK": "Y", "Phone": "555-01" if not number else row["Phone"]}
        for number, row in enumerate(customers(4))
    ]
    new_world.write_list(rows)
    listed = checked(clicker)
    assert states_of(listed)["list"] == "attention"
    assert "1 row cannot be sent as it is." in listed.plain
    assert "3 texts ready to send" in listed.plain


@pytest.mark.parametrize(
    ("working", "words"),
    [
        (JobState("reading", percent=40), "Reading the list and making every text: 40%"),
        (JobState("writing", percent=80, facts={"texts": 5}), "Writing the preview of 5 texts: 80%"),
        (JobState(percent=0, ahead=2), "Waiting for other checks to end: number 2 in the queue"),
    ],
)
def test_the_overview_says_how_much_is_checked(working: JobState, words: str) -> None:
    steps = PresentSteps(ALL_STEPS, statuses(ALL_STEPS, Facts()), check="x", working=working)
    shown = part("overview.html.j2", file=CampaignFile(Path("campaign.toml"), "here"), steps=steps)
    assert f'for="bar">{words}</label>' in shown
    assert f'value="{working.percent}"' in shown or not working.percent


def test_the_same_files_are_checked_once(served: Served, new_world: World) -> None:
    first, second = served.signed_in(), served.signed_in()
    checked(first)
    requests = new_world.folder / ".batchsend" / "web"
    names = sorted(requests.glob("*.request.json"))
    for step in ("", "/list", "/text", "/check"):
        second.get(f"{SPRING}{step}")
    assert sorted(requests.glob("*.request.json")) == names
    assert "Review and send 5 texts" in second.get(f"{SPRING}/check").plain


def test_an_opt_out_is_noticed(served: Served, new_world: World) -> None:
    clicker = served.signed_in()
    checked(clicker)
    new_world.run(
        "optouts", "add", "--customer", "customer-5", "--reason", "x", "--ledger", ".batchsend/ledger.db"
    )
    assert "4 texts ready to send" in checked(clicker).plain


def test_no_consent_column_is_said(served: Served) -> None:
    clicker = served.signed_in()
    saved = clicker.post(
        f"{SPRING}/columns", {**clicker.shown(f"{SPRING}/columns"), "consent": "", "yes": "Y"}
    )
    assert "The columns are saved" in saved.plain
    page = checked(clicker)
    assert states_of(page)["columns"] == "attention"
    assert "No column says who agreed to texts." in page.plain
    # It does not keep anyone from sending.
    assert "10 texts ready to send" in page.plain


def test_the_check_writes_columns_as_the_text_does(served: Served) -> None:
    clicker = served.signed_in()
    checked(clicker)
    page = clicker.get(f"{SPRING}/check").plain
    assert "((First Name))" in page
    assert "{{" not in page


def test_missing_quiet_hours_are_said(served: Served) -> None:
    clicker = served.signed_in()
    sentence = "No quiet hours are set: texts may go out at any hour of the day or night."
    clicker.submit(f"{SPRING}/when", {**clicker.shown(f"{SPRING}/when"), "sending.quiet_hours": ""})
    page = checked(clicker)
    assert states_of(page)["when"] == "attention"
    assert sentence in page.plain
    assert f"{sentence} Look at this" in clicker.get(f"{SPRING}/send").plain
    clicker.submit(f"{SPRING}/when", {**clicker.shown(f"{SPRING}/when"), "sending.quiet_hours": "TCPA"})
    page = checked(clicker)
    assert states_of(page)["when"] == "done"
    assert sentence not in page.plain


def test_saving_leads_to_the_next_step(served: Served) -> None:
    clicker = served.signed_in()
    text = clicker.get(f"{SPRING}/text")
    forms = {
        "columns": {"column.phone": "Phone", "consent": "OK", "yes": "Y"},
        "text": {"text": "Hi {{ first_name }}", "number": "0", "loaded": text.hidden("loaded")},
        "sender": {"department_label": "Service"},
        "when": {"sending.rate": "5", "sending.quiet_hours": "TCPA"},
    }
    for step, form in forms.items():
        answer = clicker.submit(
            f"{SPRING}/{step}", {**form, **clicker.shown(f"{SPRING}/{step}")} if step != "text" else form
        )
        following = NAMES[NAMES.index(step) + 1]
        assert (answer.status, answer.headers["Location"]) == (303, f"{SPRING}/{following}"), step


def test_what_was_typed_is_kept_until_it_is_saved_or_given_up(served: Served, new_world: World) -> None:
    clicker = served.signed_in()
    before = (new_world.folder / "campaign.toml").read_bytes()
    typed = {"department_uuid": "not an id!", "user_uuid": "mine", "department_label": "Parts"}
    refused = clicker.submit(f"{SPRING}/sender", {**clicker.shown(f"{SPRING}/sender"), **typed})
    assert (refused.status, refused.headers["Location"]) == (303, f"{SPRING}/sender")
    page = clicker.get(f"{SPRING}/sender")
    assert re.search(r"<title>\s*Error: ", page.text)
    assert re.search(
        r'id="department_uuid"[^>]*aria-describedby="[^"]*department_uuid-error"[^>]*aria-invalid', page.text
    )
    assert 'href="#department_uuid"' in page.text
    for _ in range(2):  # also after the page was loaded again
        page = clicker.get(f"{SPRING}/sender")
        assert 'value="not an id!"' in page.text
        assert 'value="Parts"' in page.text
    assert (new_world.folder / "campaign.toml").read_bytes() == before
    # Another user does not see it.
    assert "not an id!" not in served.signed_in().get(f"{SPRING}/sender").text
    given_up = clicker.post(f"{SPRING}/sender", {**typed, "discard": "yes"})
    assert "not an id!" not in given_up.text
    assert "Error: " not in given_up.text


def test_a_text_that_others_changed_is_not_overwritten_at_once(served: Served, new_world: World) -> None:
    clicker = served.signed_in()
    form = {"number": "0", "loaded": clicker.get(f"{SPRING}/text").hidden("loaded"), "text": "Hi from me"}
    text = new_world.folder / "message.txt.j2"
    text.write_text("Hi from others", encoding="utf-8")
    page = clicker.post(f"{SPRING}/text", form)
    assert "changed by someone else" in page.plain
    assert "Hi from me" in page.text
    assert text.read_text(encoding="utf-8") == "Hi from others"
    clicker.post(f"{SPRING}/text", {**form, "loaded": page.hidden("loaded")})
    assert text.read_text(encoding="utf-8") == "Hi from me"


def test_the_page_says_which_other_campaigns_change_with_a_text(served: Served, new_world: World) -> None:
    clicker, folder = served.signed_in(), new_world.folder
    assert "changes there as well" not in clicker.get(f"{SPRING}/text").plain
    same = (folder / "campaign.toml").read_text(encoding="utf-8")
    for name in ("may", "june"):
        (folder / f"{name}.toml").write_text(re.sub('name = ".*"', f'name = "{name}"', same), "utf-8")
    page = clicker.get(f"{SPRING}/text").plain
    assert (
        "The campaigns “june” and “may” use this text too. What you save here changes there as well." in page
    )


CHANGES = {
    "when": {"sending.rate": "7"},
    "when/more/safety": {"guards.max_texts": "9", "guards.approval": "false"},
    "sender": {"department_label": "Mine"},
    "columns": {"column.phone": "", "consent": "OK", "yes": "Mine"},
}


#: The same settings with other values.
OTHER_CHANGES = {
    "when": {"sending.rate": "6"},
    "when/more/safety": {"guards.max_texts": "8"},
    "sender": {"department_label": "Theirs"},
    "columns": {"consent": "OK", "yes": "Theirs"},
}


@pytest.mark.parametrize("step", CHANGES)
def test_a_form_that_was_made_before_another_change_does_not_overwrite_it(
    served: Served, new_world: World, step: str
) -> None:
    ann, bo = served.signed_in(), served.signed_in()
    page, safety = f"{SPRING}/{step}", f"{SPRING}/when/more/safety"
    file = new_world.folder / "campaign.toml"
    mine = {**ann.shown(page), **CHANGES[step]}
    bo.post(page, {**bo.shown(page), **OTHER_CHANGES[step]})
    before = file.read_bytes()

    told = ann.post(page, mine)
    assert file.read_bytes() == before
    assert "campaign.toml was changed by someone else" in told.plain
    assert any(f'value="{value}"' in told.text for value in CHANGES[step].values() if value)
    # Another change after that is not overwritten either.
    bo.post(safety, {**bo.shown(safety), "guards.min_texts": "2"})
    again = {**mine, "campaign_file": told.hidden("campaign_file")}
    before = file.read_bytes()
    told = ann.post(page, again)
    assert file.read_bytes() == before
    # Saving again is a decision.
    ann.post(page, {**mine, "campaign_file": told.hidden("campaign_file")})
    assert file.read_bytes() != before
    assert tomllib.loads(file.read_text(encoding="utf-8"))["guards"]["min_texts"] == 2


@pytest.mark.parametrize("step", CHANGES)
def test_a_form_that_was_made_before_a_change_of_other_settings_is_saved_with_it(
    served: Served, new_world: World, step: str
) -> None:
    ann, bo = served.signed_in(), served.signed_in()
    page, safety = f"{SPRING}/{step}", f"{SPRING}/when/more/safety"
    file = new_world.folder / "campaign.toml"
    mine = {**ann.shown(page), **CHANGES[step]}
    bo.post(safety, {**bo.shown(safety), "guards.approval": "true"})
    before = tomllib.loads(file.read_text(encoding="utf-8"))
    ann.post(page, mine)
    after = tomllib.loads(file.read_text(encoding="utf-8"))
    assert after != before
    assert after["guards"]["approval"] is True


@pytest.mark.parametrize("step", [*CHANGES, "list/how"])
def test_a_form_that_does_not_say_what_it_showed_is_not_saved(
    served: Served, new_world: World, step: str
) -> None:
    before = (new_world.folder / "campaign.toml").read_bytes()
    clicker = served.signed_in()
    told = clicker.post(f"{SPRING}/{step}", CHANGES.get(step, {"hidden_rows": "skip"}))
    assert "campaign.toml was changed by someone else" in told.plain
    assert (new_world.folder / "campaign.toml").read_bytes() == before


def test_of_texts_saved_at_once_only_one_is_kept(served: Served, new_world: World) -> None:
    clicker = served.signed_in()
    loaded = clicker.get(f"{SPRING}/text").hidden("loaded")
    people = [served.signed_in() for _ in range(8)]
    together = Barrier(len(people))

    def save(number: int) -> str:
        token = people[number].token()
        together.wait()
        form = {"number": "0", "loaded": loaded, "text": f"Hi from {number}"}
        return people[number].submit(f"{SPRING}/text", form, token=token).headers["Location"]

    with ThreadPoolExecutor(len(people)) as pool:
        answers = list(pool.map(save, range(len(people))))
    kept = [number for number, address in enumerate(answers) if "/conflict" not in address]
    text = (new_world.folder / "message.txt.j2").read_text(encoding="utf-8")
    assert [f"Hi from {number}" for number in kept] == [text]


def messy_list(folder: Path) -> bytes:
    """A workbook with a title above the headers, two sheets and a hidden row."""
    header = ["Account No", "First Name", "Home Phone", "Cell Phone", "SMS Opt-In"]
    rows = [
        [
            f"customer-{number}",
            f"NAME{number}",
            "(312) 555-0100",
            f"(312) 500-{number:04}",
            "Y" if number else "N",
        ]
        for number in range(6)
    ]
    workbook, sheet = new_workbook([["Lakeside Honda, spring service"], [], header, *rows])
    sheet.title = "Customers"
    sheet.row_dimensions[9].hidden = True
    workbook.create_sheet("Notes").append(["Call Dana"])
    workbook.save(folder / "messy.xlsx")
    return (folder / "messy.xlsx").read_bytes()


def how(clicker: Clicker, form: dict[str, str]) -> Answer:
    """Chooses how the list is read; returns the page once it is read."""
    clicker.post(f"{SPRING}/list/how", {**clicker.shown(f"{SPRING}/list"), **form})
    return clicker.get(f"{SPRING}/list")


def test_a_list_that_leaves_a_choice_is_read_as_a_person_chooses(
    served: Served, new_world: World, tmp_path: Path
) -> None:
    clicker = served.signed_in()
    page = clicker.upload(f"{SPRING}/list", "export.xlsx", messy_list(tmp_path))
    assert "export.xlsx is now the campaign's list" in page.plain
    page = clicker.get(f"{SPRING}/list")
    assert "Which sheet has the customers?" in page.plain
    assert not re.search(r">Continue<", page.text)
    page = how(clicker, {"sheet": "Customers"})
    assert "1 row is hidden or filtered out." in page.plain
    page = how(clicker, {"hidden_rows": "skip"})
    assert "The first row looks like a title" in page.plain
    page = how(clicker, {"header_row": "3"})
    assert "6 rows" in page.plain
    assert re.search(r">Continue<", page.text)

    # The guesses are shown with values, and what is chosen is what is sent.
    page = clicker.get(f"{SPRING}/columns")
    selects = re.findall(r'<select id="([\w-]+)"(.*?)</select>', page.text, re.DOTALL)
    chosen = {name: re.findall(r" selected>([^<]*)", options) for name, options in selects}
    assert chosen["column-phone"] == ["Cell Phone"]
    assert chosen["consent"] == ["SMS Opt-In"]
    assert "For example: (312) 500-0000 · (312) 500-0001 · (312) 500-0002" in page.plain
    form = {
        "column.customer_uuid": "Account No",
        "column.phone": "Cell Phone",
        "consent": "SMS Opt-In",
        "yes": "Y",
    }
    clicker.post(f"{SPRING}/columns", {**clicker.shown(f"{SPRING}/columns"), **form})
    page = checked(clicker)
    assert states_of(page)["columns"] == "done"
    assert "4 texts ready to send" in page.plain

    # Another list begins without these choices, so none of its rows are passed over.
    other = b"Account No,First Name,Cell Phone,SMS Opt-In\n" + b"".join(
        b"customer-%d,Ann,(312) 500-%04d,Y\n" % (number, number) for number in range(3)
    )
    clicker.upload(f"{SPRING}/list", "other.csv", other)
    assert "header_row" not in (new_world.folder / "campaign.toml").read_text(encoding="utf-8")
    assert "3 texts ready to send" in checked(clicker).plain


def test_how_a_list_is_read_can_be_chosen_again(served: Served, tmp_path: Path) -> None:
    clicker = served.signed_in()
    clicker.upload(f"{SPRING}/list", "export.xlsx", messy_list(tmp_path))
    page = how(clicker, {"sheet": "Notes"})
    assert "the sheet “Notes”" in page.plain
    page = how(clicker, {"again": "yes"})
    assert "Which sheet has the customers?" in page.plain


@pytest.mark.parametrize(
    ("form", "field", "words"),
    [
        ({"column.customer_uuid": "OK", "column.phone": "OK"}, "column-phone", "already the customer's id"),
        ({"column.phone": "OK", "consent": "OK", "yes": "Y"}, "consent", "already the phone"),
        ({"consent": "OK", "yes": " "}, "yes", "Write the values that mean yes"),
        ({"same": "columns"}, "key", "Choose at least one column"),
    ],
)
def test_a_mistake_in_the_columns_is_said_next_to_its_field(
    served: Served, new_world: World, form: dict[str, str], field: str, words: str
) -> None:
    before = (new_world.folder / "campaign.toml").read_bytes()
    clicker = served.signed_in()
    clicker.post(f"{SPRING}/columns", {**clicker.shown(f"{SPRING}/columns"), **form})
    page = clicker.get(f"{SPRING}/columns")
    error = re.search(rf'<p id="{field}-error"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    assert error is not None
    assert words in error[1].replace("&#39;", "'")
    assert f'href="#{field}"' in page.text
    assert (new_world.folder / "campaign.toml").read_bytes() == before


def test_the_columns_of_another_list_are_named_in_plain_words(served: Served) -> None:
    clicker = served.signed_in()
    clicker.upload(f"{SPRING}/list", "other.csv", b"Account,Cell,Name\nc-1,(312) 500-0000,Ann\n")
    page = checked(clicker)
    assert "Choose the column with the customer's id in myKaarma." in page.plain
    assert 'The column "OK" (who agreed to texts) is not in this list. Choose another one.' in page.plain
    failed = clicker.get(f"{SPRING}/check")
    assert "Go to Columns" in failed.plain


def test_the_question_says_that_no_column_says_who_agreed(served: Served) -> None:
    clicker = served.signed_in()
    clicker.post(f"{SPRING}/columns", {**clicker.shown(f"{SPRING}/columns"), "consent": "", "yes": "Y"})
    address, page = clicker.check(SPRING)
    question = clicker.get(f"{SPRING}/send")
    assert "Send 10 texts?" in question.plain
    for shown in (page, question, clicker.get(f"{address}/send")):
        assert re.search(r'class="problem">No column says who agreed to texts\.', shown.text)


def test_what_carriers_dislike_is_said_on_the_check_and_in_the_question(
    served: Served, new_world: World
) -> None:
    (new_world.folder / "message.txt.j2").write_text("Hi {{ first_name }}, the the car", encoding="utf-8")
    clicker = served.signed_in()
    address, page = clicker.check(SPRING)
    found = "“the the” has a word twice"
    for shown in (page, clicker.get(f"{address}/send"), checked(clicker, SPRING)):
        assert found in shown.plain
    safety = f"{SPRING}/when/more/safety"
    clicker.post(safety, {**clicker.shown(safety), "guards.lint": "error"})
    _, page = clicker.check(SPRING)
    assert "This cannot be sent yet" in page.plain
    assert found in page.plain
    ignored = {"guards.lint_ignore": "", "guards.lint_ignore.doubled_word": "yes"}
    clicker.post(safety, {**clicker.shown(safety), **ignored})
    _, page = clicker.check(SPRING)
    assert found not in page.plain
    assert "Review and send" in page.plain


def test_a_campaign_file_with_errors_leads_to_its_own_page(served: Served, new_world: World) -> None:
    (new_world.folder / "campaign.toml").write_text('name = "Spring"\nlist = 5\n', encoding="utf-8")
    clicker = served.signed_in()
    for step in ("list", "text", "check"):
        page = clicker.get(f"{SPRING}/{step}")
        assert page.url == SPRING
        assert "Fix the campaign file first" in page.plain
    assert "list" in clicker.get(f"{SPRING}/file").plain


def test_the_sample_is_marked(served: Served) -> None:
    clicker = served.signed_in()
    clicker.post("/campaigns", {"name": "New"})
    page = checked(clicker, "/campaign/here/New")
    assert "This is the sample list." in page.plain
    assert "This is the sample text." in page.plain
    assert "still the sample's" in page.plain
    assert "Next: List" in page.plain
    sender = clicker.get("/campaign/here/New/sender")
    fields = dict(
        re.findall(
            r'id="(department_uuid|user_uuid|department_label)" name="[^"]*" value="([^"]*)"', sender.text
        )
    )
    assert fields == {"department_uuid": "", "user_uuid": "", "department_label": ""}
    assert "Sample" in clicker.get("/campaign/here/New/list").plain


def problem_page(clicker: Clicker) -> Answer:
    """Returns the page with the rows that cannot be sent, once they are checked."""
    checked(clicker)
    return clicker.get(f"{SPRING}/list/rows")


def test_rows_are_corrected_in_a_copy_of_the_list(served: Served, new_world: World) -> None:
    rows = [{**row, "OK": "Y"} for row in customers(6)]
    rows[1]["Phone"], rows[4]["Phone"] = "555-01", "12"
    new_world.write_list(rows)
    before = (new_world.folder / "customers.csv").read_bytes()
    clicker = served.signed_in()
    assert f'href="{SPRING}/list/rows"' in checked(clicker).text
    page = clicker.get(f"{SPRING}/list/rows")
    assert "2 rows cannot be sent" in page.plain
    fields = dict(re.findall(r'name="(cell\.[\d.]+)" value="([^"]*)"', page.text))
    assert {field.split(".")[1] for field in fields} == {"3", "6"}
    (phone,) = [field for field, value in fields.items() if value == "555-01"]
    form = {"sha256": page.hidden("sha256"), **fields}

    nothing = clicker.post(f"{SPRING}/list/rows", form)
    assert "Nothing was changed" in nothing.plain
    clicker.post(f"{SPRING}/list/rows", {**form, phone: "(312) 500-0001"})
    page = problem_page(clicker)
    assert "1 row cannot be sent" in page.plain
    assert (new_world.folder / "customers.csv").read_bytes() == before
    assert "5 texts ready to send" in checked(clicker).plain

    (other,) = re.findall(r'name="(cell\.[\d.]+)" value="12"', page.text)
    form = {"sha256": page.hidden("sha256")}
    clicker.post(f"{SPRING}/list/rows", {**form, other: "(312) 500-0004"})
    assert "No row has a problem." in problem_page(clicker).plain
    assert "6 texts ready to send" in checked(clicker).plain
    copies = sorted(path.name for path in new_world.folder.glob("*corrected*"))
    assert copies == ["customers (corrected 2).xlsx", "customers (corrected).xlsx"]
    book = load_workbook(new_world.folder / copies[0])
    assert [[cell.value for cell in row][:3] for row in book.active.iter_rows(min_row=2, max_row=3)] == [
        list(row.values())[:3] for row in ({**rows[0]}, {**rows[1], "Phone": "(312) 500-0001"})
    ]


def test_corrections_of_a_list_that_was_changed_are_kept_and_not_used(
    served: Served, new_world: World
) -> None:
    rows = [{**row, "OK": "Y"} for row in customers(3)]
    rows[1]["Phone"] = "555-01"
    new_world.write_list(rows)
    clicker = served.signed_in()
    page = problem_page(clicker)
    (phone,) = re.findall(r'name="(cell\.[\d.]+)" value="555-01"', page.text)
    form = {"sha256": page.hidden("sha256"), phone: "(312) 500-0009"}
    new_world.write_list([*rows, {**customers(1, "new")[0], "OK": "Y"}])
    clicker.post(f"{SPRING}/list/rows", form)
    page = problem_page(clicker)
    clicker.post(f"{SPRING}/list/rows", form)
    page = problem_page(clicker)
    assert "changed in the meantime" in page.plain
    assert 'value="(312) 500-0009"' in page.text
    assert not list(new_world.folder.glob("*corrected*"))


def test_corrections_of_one_sheet_are_not_used_for_another(served: Served, new_world: World) -> None:
    """Both sheets are in the same file, and another user chooses the other one meanwhile."""
    rows = [[*customers(3)[0], "OK"], *([*row.values(), "Y"] for row in customers(3))]
    rows[2] = ["555-01" if header == "Phone" else cell for header, cell in zip(rows[0], rows[2], strict=True)]
    workbook, sheet = new_workbook(rows)
    sheet.title = "March"
    april = workbook.create_sheet("April")
    for row in (rows[0], *rows[:0:-1]):
        april.append(row)
    workbook.save(new_world.folder / "list.xlsx")
    file = new_world.folder / "campaign.toml"
    text = file.read_text(encoding="utf-8").replace('"customers.csv"', '"list.xlsx"')
    file.write_text(f'{text}\n[list_options]\nsheet = "March"\n', encoding="utf-8")
    clicker = served.signed_in()
    page = problem_page(clicker)
    (phone,) = re.findall(r'name="(cell\.[\d.]+)" value="555-01"', page.text)
    form = {"sha256": page.hidden("sha256"), phone: "(312) 500-0009"}

    file.write_text(f'{text}\n[list_options]\nsheet = "April"\n', encoding="utf-8")
    assert "555-01" in problem_page(clicker).text
    clicker.post(f"{SPRING}/list/rows", form)
    assert "how it is read, was changed in the meantime" in problem_page(clicker).plain
    assert not list(new_world.folder.glob("*corrected*"))


def test_a_corrected_copy_takes_no_other_users_change_back(new_world: World) -> None:
    """The campaign file is changed while the copy is written."""
    path = new_world.folder / "campaign.toml"
    found = open_file(CampaignFile(path, "here"))
    copy = new_world.folder / "customers (corrected).xlsx"
    copy.write_bytes(b"a copy")
    changed = path.read_bytes().replace(b"customers.csv", b"others.csv")
    path.write_bytes(changed)
    with pytest.raises(BatchsendError, match="was changed in the meantime"):
        list_rows._use(WebFolder(new_world.folder), found, copy)
    assert path.read_bytes() == changed
    assert not copy.exists()


def test_a_check_is_made_again_once_the_credentials_are_corrected(new_world: World) -> None:
    secrets = new_world.folder / ".env"
    secrets.write_text("MYKAARMA_USERNAME=a:b\nMYKAARMA_PASSWORD=secret\n", encoding="utf-8")
    new_world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": ""}
    with serving(new_world) as served:
        clicker = served.signed_in()
        assert "contains a colon" in checked(clicker).plain
        secrets.write_text("MYKAARMA_USERNAME=ab\nMYKAARMA_PASSWORD=secret\n", encoding="utf-8")
        assert "contains a colon" not in checked(clicker).plain


def test_rows_that_another_program_writes_are_corrected_there(served: Served, new_world: World) -> None:
    new_world.write_list([{**customers(1)[0], "OK": "Y", "Phone": "555-01"}], "export-1.csv")
    file = new_world.folder / "campaign.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"customers.csv"', '"export-*.csv"'), encoding="utf-8")
    page = problem_page(served.signed_in())
    assert "Correct it there" in page.plain
    assert "555-01" in page.plain
    assert 'name="cell.' not in page.text


@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2).filter(any), min_size=1, max_size=6),
    st.dictionaries(st.integers(2, 7), st.dictionaries(st.integers(0, 1), CELLS, min_size=1), max_size=3),
    st.integers(0, 2),
)
def test_a_corrected_copy_has_the_same_rows_except_for_the_corrections(
    tmp_path: Path, rows: list[list[str]], corrections: dict[int, dict[int, str]], gap: int
) -> None:
    folder = Path(mkdtemp(dir=tmp_path))
    campaign = folder / "campaign.toml"
    campaign.write_text(CAMPAIGN.replace("customers.csv", "list.xlsx"), encoding="utf-8")
    workbook, _ = new_workbook([["Customer UUID", "Name"], *[[] for _ in range(gap)], *rows])
    workbook.save(folder / "list.xlsx")
    try:
        before = open_list(folder / "list.xlsx")
    except ListError:
        return
    wanted = rows_of(before)
    corrected = {row: cells for row, cells in corrections.items() if row in wanted}
    for row, cells in corrected.items():
        for position, cell in cells.items():
            wanted[row][position] = clean(cell)
    try:
        version = version_of(before, load_campaign(campaign))
        copy = write_corrected(campaign, campaign.read_bytes(), version, corrected)
    except BatchsendError:
        # A copy that would be read in another way is not kept.
        assert not list(folder.glob("*corrected*"))
        return
    assert rows_of(open_list(copy)) == {row: cells for row, cells in wanted.items() if any(cells)}
