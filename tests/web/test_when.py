"""The step "When": starts, quiet hours, speed and all further settings, saved into the campaign file by forms."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from web_client import Clicker, Served, serving
from world import CAMPAIGN, World, customers

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign, parse_campaign
from batchsend.campaigns.problems import keys_of
from batchsend.campaigns.tables import Columns
from batchsend.lists.newest import newest_match
from batchsend.web.auth.users import Users
from batchsend.web.differences import label_of
from batchsend.web.folder import users_file
from batchsend.web.key_fields import changes_of, value_of
from batchsend.web.more_settings import GROUPS, SPEED
from batchsend.web.start_choice import (
    DAYS,
    cron_of,
    next_start_words,
    next_starts,
    shown_start,
    start_changes,
    start_words,
)
from batchsend.web.toml_edit import edited

CAMPAIGN_PAGE = "/campaign/here/campaign"
WHEN = f"{CAMPAIGN_PAGE}/when"
FIELDS = [*SPEED, *(field for group in GROUPS for field in group.fields)]
#: Keys with a form that is not one of `FIELDS`.
ELSEWHERE = {
    "list": "List",
    "list_options.sheet": "List",
    "list_options.hidden_rows": "List",
    "list_options.header_row": "List",
    "columns": "Columns",
    "recipients.consent": "Columns",
    "template": "Text",
    "department_uuid": "Sender",
    "user_uuid": "Sender",
    "department_label": "Sender",
    "timezone": "When",
    "sending.quiet_hours": "When",
    "hours": "When",
    "schedule.cron": "When",
    "schedule.at": "When",
    "recipients.suppress": "When",
    "template_by": "Columns",
    # Only in the campaign file, under Advanced.
    "name": "",
    "formerly": "",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, World]]:
    world = World(tmp_path_factory.mktemp("dealership")).write(customers(3))
    with serving(world) as server:
        yield server, world


@pytest.fixture
def form(served: tuple[Served, World]) -> Form:
    server, world = served
    world.write(
        campaign="# My comment\n[sending]\nrate = 10.0  # slow\n\n# Checks\n[guards]\nmin_texts = 1\n"
    )
    return Form(server.signed_in(), world.folder / "campaign.toml")


class Form:
    """The form of the step, and the campaign file that it changes."""

    def __init__(self, clicker: Clicker, file: Path) -> None:
        self.clicker, self.file = clicker, file

    @property
    def data(self) -> dict[str, Any]:
        return tomllib.loads(self.file.read_text(encoding="utf-8"))

    def save(self, fields: Mapping[str, str], below: str = "") -> str:
        """Returns the address that the answer leads to."""
        answer = self.clicker.submit(f"{WHEN}{below}", {**self.clicker.shown(f"{WHEN}{below}"), **fields})
        assert answer.status == 303, answer.plain
        return answer.headers["Location"]


def campaign_of(text: str) -> Campaign:
    return parse_campaign(Path.cwd() / "campaign.toml", (CAMPAIGN + text).encode())


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for key, inner in keys_of(model).items():
        name = f"{above}{key}"
        if name in ELSEWHERE or inner is None:
            yield name
        else:
            yield from _keys(inner, f"{name}.")


def test_every_key_of_the_campaign_file_has_a_form() -> None:
    forms = {field.name for field in FIELDS}
    assert set(_keys(Campaign)) == forms | set(ELSEWHERE)
    assert not forms & set(ELSEWHERE)


def test_every_key_that_a_form_changes_has_a_name_in_plain_words() -> None:
    changed = {name for name, step in ELSEWHERE.items() if step} - {"columns"}
    changed |= {f"columns.{name}" for name in keys_of(Columns)}
    assert [name for name in changed if label_of(tuple(name.split("."))) == name] == []


FULL = """
[recipients]
repeat_after_days = 30
max_messages = 2
max_messages_days = 7
key = ["Customer UUID", "Appointment, Date"]
where = 'model == "CR-V"'
[message]
max_segments = 3
callback_url = "https://example.com/x"
callback_metadata = { source = "spring", why = "a: b" }
[sending]
rate = 2.5
give_up_after = "1h30m"
quiet_hours = { from = "20:00", to = "09:00", timezone = "America/Chicago" }
[guards]
list_max_age = "20h"
list_settle = 90
approval = true
lint_ignore = ["capitals", "plain_link"]
[schedule]
cron = "0 10 * * 1-5"
wait = true
expires_after = "2d"
[list_options]
delimiter = "\\t"
"""


@pytest.mark.parametrize("text", ["", FULL], ids=["usual", "full"])
def test_what_a_form_shows_changes_nothing_when_it_is_saved(text: str) -> None:
    campaign = campaign_of(text)
    shown = {name: value for field in FIELDS for name, value in field.shown(campaign).items()}
    assert changes_of(FIELDS, shown, campaign) == {}
    assert start_changes(shown_start(campaign.schedule), campaign.schedule) == ({}, {})


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_what_is_typed_into_an_empty_form_gives_the_same_campaign(field: Any) -> None:
    full = campaign_of(FULL)
    typed = field.shown(full)
    empty = campaign_of('[schedule]\ncron = "@daily"\n')
    changes = changes_of([field], typed, empty)
    again = campaign_of("")
    content = edited(f'{CAMPAIGN}\n[schedule]\ncron = "@daily"\n'.encode(), changes)
    if field.name.startswith("recipients.max_messages"):  # each needs the other
        content = edited(content, {("recipients", "max_messages"): 2, ("recipients", "max_messages_days"): 7})
    again = parse_campaign(full.path, content)
    assert value_of(again, field.key) == value_of(full, field.key)


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
patterns = st.one_of(
    st.fixed_dictionaries({"repeat": st.sampled_from(["daily", "weekdays"]), "time": times}),
    st.fixed_dictionaries(
        {"repeat": st.just("monthly"), "time": times, "monthday": st.integers(1, 28).map(str)}
    ),
    st.builds(
        lambda time, days: {"repeat": "days", "time": time, **{f"day.{day}": "on" for day in days}},
        times,
        st.sets(st.sampled_from(list(DAYS)), min_size=1),
    ),
)
NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)


@given(patterns)
def test_a_choice_starts_at_its_time_on_its_days_and_is_shown_again(form: dict[str, str]) -> None:
    errors: dict[str, str] = {}
    cron = cron_of(form, errors)
    assert errors == {}
    campaign = campaign_of(f'[schedule]\ncron = "{cron}"\n')
    shown = shown_start(campaign.schedule)
    assert {name: shown.get(name) for name in form} == form
    assert {name for name in shown if name.startswith("day.")} == {
        name for name in form if name.startswith("day.")
    }
    hour, minute = (int(part) for part in form["time"].split(":"))
    clock = f"{hour % 12 or 12}:{minute:02} {'AM' if hour < 12 else 'PM'}"
    starts = next_starts(campaign, NOW, 5)
    assert len(starts) == 5
    weekdays = {
        "daily": set(DAYS.values()),
        "weekdays": set(list(DAYS.values())[:5]),
        "days": {DAYS[name[4:]] for name in form if name.startswith("day.")},
    }
    for start in starts:
        # A time that does not exist when clocks change becomes the next one.
        assert start.endswith(clock) or clock.startswith(("2:", "3:"))
        if form["repeat"] == "monthly":
            assert f" {form['monthday']}, " in start
        else:
            assert start.partition(",")[0] in weekdays[form["repeat"]]
    assert clock in start_words(campaign.schedule) if campaign.schedule else False


def test_a_start_is_chosen_and_removed_again(form: Form) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    once = {"start": "once", "at_day": f"{tomorrow:%Y-%m-%d}", "at_time": "10:30"}
    assert form.save(once) == f"{WHEN}#scheduler"
    at = datetime.fromisoformat(f"{tomorrow:%Y-%m-%d}T10:30")
    assert form.data["schedule"] == {"at": at, "wait": True}
    page = form.clicker.get(WHEN)
    assert f"{tomorrow:%A}, {tomorrow:%B} {tomorrow.day}, {tomorrow.year}, 10:30 AM" in page.plain
    assert "scheduled starts are off" in page.plain
    assert f"It does not start by itself on {tomorrow:%A}" in form.clicker.get(CAMPAIGN_PAGE).plain
    form.file.write_text(
        form.file.read_text(encoding="utf-8").replace(f"{at.year}-", "2020-"), encoding="utf-8"
    )
    assert "It was to start once, on" in form.clicker.get(CAMPAIGN_PAGE).plain
    # What is not in the form stays.
    text = form.file.read_text(encoding="utf-8")
    form.file.write_text(
        text.replace("wait = true", 'wait = false # mine\nexpires_after = "4h"'), encoding="utf-8"
    )
    form.save({"start": "repeat", "repeat": "days", "time": "09:05", "day.MON": "on", "day.FRI": "on"})
    assert form.data["schedule"] == {"cron": "5 9 * * MON,FRI", "wait": False, "expires_after": "4h"}
    assert "wait = false # mine" in form.file.read_text(encoding="utf-8")
    assert "This campaign starts every Monday and Friday at 9:05 AM" in form.clicker.get(WHEN).plain
    assert form.save({"start": "hand"}) == "/campaign/here/campaign/check"
    assert "schedule" not in form.data
    for comment in ("# My comment", "rate = 10.0  # slow", "# Checks\n[guards]"):
        assert comment in form.file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "at", "words"),
    [
        ({"start": "once", "at_day": "", "at_time": "10:00"}, "at_day", "Choose a day."),
        ({"start": "once", "at_day": "2026-12-01", "at_time": ""}, "at_time", "Choose a time."),
        ({"start": "once", "at_day": "soon", "at_time": "10:00"}, "at_day", "a date and time"),
        ({"start": "repeat", "repeat": "daily", "time": ""}, "time", "Choose a time."),
        ({"start": "repeat", "repeat": "daily", "time": "25:00"}, "time", "0 to 23"),
        ({"start": "repeat", "repeat": "days", "time": "10:00"}, "day", "at least one day"),
        ({"start": "repeat", "repeat": "own", "cron": "0 10 * *"}, "cron", "five fields"),
        ({"start": "repeat", "repeat": "own", "cron": "0 10 31 2 *"}, "cron", "no such day"),
        ({"timezone": "Chicago"}, "timezone", "America/Chicago"),
        ({"sending.rate": "fast"}, "sending.rate", "a number"),
        ({"sending.rate": "0"}, "sending.rate", "above 0"),
        ({"sending.per_day": "1.5"}, "sending.per_day", "a whole number"),
        (
            {
                "sending.quiet_hours": "other",
                "sending.quiet_hours.from": "20:00",
                "sending.quiet_hours.to": "20:00",
            },
            "sending.quiet_hours",
            "begin and end at different times",
        ),
        (
            {
                "sending.quiet_hours": "other",
                "sending.quiet_hours.from": "25:00",
                "sending.quiet_hours.to": "20:00",
            },
            "sending.quiet_hours.from",
            "a time of day",
        ),
    ],
)
def test_a_wrong_value_is_said_next_to_its_field_and_kept(
    form: Form, fields: dict[str, str], at: str, words: str
) -> None:
    before = form.file.read_bytes()
    assert form.save(fields) == WHEN
    page = form.clicker.get(WHEN)
    error = re.search(rf'<p id="{at.replace(".", "-")}-error".*?</p>', page.text, re.DOTALL)
    assert error is not None, page.plain
    assert words in error[0]
    assert "crontab" not in page.plain
    for name, text in fields.items():
        assert not text or f'value="{text}"' in page.text or f"selected>{text}" in page.text, name
    assert form.file.read_bytes() == before
    form.clicker.post(WHEN, {"discard": "yes"})


@pytest.mark.parametrize(
    ("fields", "hours"),
    [
        ({"sending.quiet_hours": "TCPA"}, "TCPA"),
        ({"sending.quiet_hours": "early"}, {"from": "20:00", "to": "08:00"}),
        ({"sending.quiet_hours": "US-states"}, "US-states"),
        (
            {
                "sending.quiet_hours": "other",
                "sending.quiet_hours.from": "20:00",
                "sending.quiet_hours.to": "09:00",
                "sending.quiet_hours.states": "on",
            },
            {"from": "20:00", "to": "09:00", "timezone": "recipient", "states": True},
        ),
        (
            {
                "sending.quiet_hours": "other",
                "sending.quiet_hours.from": "19:00",
                "sending.quiet_hours.to": "09:30",
                "sending.quiet_hours.timezone": "America/Denver",
            },
            {"from": "19:00", "to": "09:30", "timezone": "America/Denver"},
        ),
    ],
)
def test_quiet_hours_are_chosen_and_left_out_again(form: Form, fields: dict[str, str], hours: Any) -> None:
    form.save(fields)
    assert form.data["sending"] == {"rate": 10.0, "quiet_hours": hours}
    saved = form.file.read_bytes()
    page = form.clicker.get(WHEN)
    assert re.search(
        rf'name="sending.quiet_hours"[^>]* value="{fields["sending.quiet_hours"]}" checked', page.text
    )
    form.save(fields)
    assert form.file.read_bytes() == saved
    form.save({"sending.quiet_hours": ""})
    assert form.data["sending"] == {"rate": 10.0}


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("America/Chicago", "Monday, November 30, 2026, 10:00 AM, Central time"),
        ("Europe/Berlin", "Monday, November 30, 2026, 10:00 AM, Europe/Berlin"),
    ],
)
def test_a_next_start_names_the_campaigns_time_zone(zone: str, expected: str) -> None:
    text = CAMPAIGN.replace("America/Chicago", zone) + '[schedule]\ncron = "0 10 * * 1"\n'
    campaign = parse_campaign(Path.cwd() / "campaign.toml", text.encode())
    moment = datetime(2026, 11, 28, 4, tzinfo=UTC)
    assert next_start_words(campaign, moment) == expected
    assert next_start_words(campaign_of(""), moment) is None


def test_the_next_starts_are_shown_before_they_are_saved(form: Form) -> None:
    before = form.file.read_bytes()
    token = form.clicker.get(WHEN).csrf
    fields = {"start": "repeat", "repeat": "weekdays", "time": "10:00", "timezone": "America/New_York"}
    shown = form.clicker.post(f"{WHEN}/starts", fields, token=token)
    assert "The next 5 starts" in shown.plain
    assert shown.plain.count("10:00 AM") == 5
    assert "Saturday" not in shown.plain
    past = {"start": "once", "at_day": "2020-01-01", "at_time": "10:00"}
    assert "no start after now" in form.clicker.post(f"{WHEN}/starts", past, token=token).plain
    wrong = {"start": "repeat", "repeat": "own", "cron": "every day"}
    assert "five fields" in form.clicker.post(f"{WHEN}/starts", wrong, token=token).plain
    assert form.file.read_bytes() == before


@pytest.mark.parametrize(
    "group", [group for group in GROUPS if not group.needs_schedule], ids=lambda g: g.name
)
def test_a_page_of_further_settings_shows_and_saves_its_keys(form: Form, group: Any) -> None:
    path = f"/more/{group.name}"
    page = form.clicker.get(f"{WHEN}{path}")
    assert page.status == 200
    for field in group.fields:
        assert f'name="{field.name}"' in page.text
    campaign, full = (parse_campaign(form.file, CAMPAIGN.encode()), campaign_of(FULL))
    shown = {name: text for field in group.fields for name, text in field.shown(full).items()}
    changed = changes_of(group.fields, shown, campaign)
    assert form.save(shown, path) == f"{WHEN}#more"
    for (section, key), value in changed.items():
        assert form.data[section][key] == value
    assert "# Checks" in form.file.read_text(encoding="utf-8")


def test_a_wrong_setting_is_kept_on_its_page(form: Form) -> None:
    before = form.file.read_bytes()
    fields = {"guards.max_texts": "0", "guards.list_max_age": "long", "guards.list_max_age.unit": "h"}
    assert form.save(fields, "/more/safety") == f"{WHEN}/more/safety"
    page = form.clicker.get(f"{WHEN}/more/safety")
    assert "This must be 1 or more, but it is 0." in page.plain
    assert "a length of time" in page.plain
    assert 'value="long"' in page.text
    assert form.file.read_bytes() == before
    form.clicker.post(f"{WHEN}/more/safety", {"discard": "yes"})


def test_a_problem_calls_fields_by_their_labels(form: Form) -> None:
    form.save({"recipients.max_messages": "2"}, "/more/again")
    page = form.clicker.get(f"{WHEN}/more/again")
    assert "Needs “Number of days for that limit” too." in page.plain
    assert "max_messages_days too" not in page.plain
    form.clicker.post(f"{WHEN}/more/again", {"discard": "yes"})


def test_pages_of_a_schedule_need_one(form: Form) -> None:
    assert form.clicker.get(f"{WHEN}/more/starts").status == 404
    form.save({"start": "repeat", "repeat": "daily", "time": "10:00"})
    assert "If the computer was off" in form.clicker.get(f"{WHEN}/more/starts").plain
    assert form.clicker.get(f"{WHEN}/more/nothing").status == 404


def test_a_guard_that_refuses_is_named_as_on_its_page(form: Form) -> None:
    form.save({"guards.max_texts": "2"}, "/more/safety")
    page = form.clicker.wait("/campaign/here/campaign", "3 texts would be sent")
    assert "3 texts would be sent, but the safety checks allow at most 2." in page.plain
    assert "allow more under When, Safety checks" in page.plain
    assert "guards" not in page.plain


def test_files_with_people_to_skip_are_added_and_taken_out(form: Form) -> None:
    page = f"{WHEN}/people"
    added = form.clicker.upload(page, "closed.csv", b"Customer UUID\ncustomer-0\ncustomer-1\n")
    assert "closed.csv names 2 people. They get no text from this campaign." in added.plain
    assert form.data["recipients"]["suppress"] == ["people-to-skip/closed.csv"]
    form.clicker.wait("/campaign/here/campaign", "1 text ready to send")
    text = form.file.read_text(encoding="utf-8")
    form.file.write_text(
        text.replace(
            'suppress = ["people-to-skip/closed.csv"]',
            'suppress = [\n  "people-to-skip/closed.csv", # sold\n]',
        ),
        encoding="utf-8",
    )
    form.clicker.upload(page, "more.csv", b"Phone\n312-500-0002\n")
    assert form.data["recipients"]["suppress"] == ["people-to-skip/closed.csv", "people-to-skip/more.csv"]
    assert '"people-to-skip/closed.csv", # sold' in form.file.read_text(encoding="utf-8")

    before = form.file.read_bytes()
    for name, content, words in (
        ("nobody.csv", b"Color\nred\n", "needs a column"),
        ("lost.csv", b"Phone\n5.55E+09\n", "lost.csv"),
        ("notes.docx", b"x", "not a list"),
    ):
        refused = form.clicker.upload(page, name, content)
        assert "Nothing was changed." in refused.plain
        assert words in refused.plain
        assert form.file.read_bytes() == before
        assert not (form.file.parent / "people-to-skip" / name).exists()

    path = form.file.parent / "people-to-skip" / "more.csv"
    taken = form.clicker.post(f"{page}/remove", {"path": str(path)})
    assert "more.csv is not used any more" in taken.plain
    assert form.data["recipients"]["suppress"] == ["people-to-skip/closed.csv"]
    form.clicker.post(f"{page}/remove", {"path": str(form.file.parent / "people-to-skip" / "closed.csv")})
    assert "suppress" not in form.data.get("recipients", {})
    assert path.exists()


def test_people_to_skip_never_become_the_newest_list(form: Form) -> None:
    text = form.file.read_text(encoding="utf-8")
    other = form.file.with_name("other.toml")
    other.write_text(text.replace('list = "customers.csv"', 'list = "*.csv"'), encoding="utf-8")
    campaign = load_campaign(other)
    form.clicker.upload(f"{WHEN}/people", "closed.csv", b"Customer UUID\ncustomer-0\n")
    assert newest_match(campaign.list, campaign.allows_list).name == "customers.csv"


def test_a_campaign_file_with_errors_keeps_its_people_to_skip(form: Form) -> None:
    page = f"{WHEN}/people"
    form.clicker.upload(page, "first.csv", b"Customer UUID\ncustomer-0\n")
    form.clicker.upload(page, "second.csv", b"Customer UUID\ncustomer-1\n")
    text = form.file.read_text(encoding="utf-8")
    form.file.write_text(text.replace("min_texts = 1", "min_texts = 0"), encoding="utf-8")
    before = form.file.read_bytes()
    refused = form.clicker.submit(f"{page}/remove", {"path": str(form.file.parent / "first.csv")})
    assert refused.status == 303
    told = form.clicker.get(refused.headers["Location"])
    assert "The campaign file must be fixed first. Nothing was changed." in told.plain
    assert form.file.read_bytes() == before


@pytest.mark.parametrize(
    ("template", "saved"), [("message.txt.j2", True), ("../templates/message.txt.j2", False)]
)
def test_on_an_office_server_no_form_saves_a_file_that_names_a_file_outside(
    tmp_path: Path, template: str, *, saved: bool
) -> None:
    world = World(tmp_path / "dealership")
    for folder in (world.folder, tmp_path / "templates"):
        folder.mkdir()
        (folder / "message.txt.j2").write_text("Hi", encoding="utf-8")
    world.write(customers(3), campaign=CAMPAIGN.replace("message.txt.j2", template))
    Users(users_file(world.folder)).put("dana", "four words are good")
    file = world.folder / "campaign.toml"
    before = file.read_bytes()
    with serving(world, "--name", "texts.example") as served:
        clicker = served.clicker()
        clicker.get("/login")
        body = urlencode({"name": "dana", "password": "four words are good"}).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert clicker.raw("POST", "/login", body, form).status == 303
        token = clicker.get("/").csrf
        told = clicker.upload(f"{WHEN}/people", "third.csv", b"Customer UUID\ncustomer-0\n", token=token)
        assert ("third.csv names 1 person" if saved else "it lies outside the folder") in told.plain
    assert (file.read_bytes() == before) is not saved
    assert (world.folder / "people-to-skip" / "third.csv").exists() is saved


def test_hours_of_a_state_are_added_and_removed(form: Form) -> None:
    fields = {
        "state": "FL",
        "from": "19:00",
        "to": "10:00",
        "sunday": "no texts",
        "holidays": "12-24\nUS-FL\n",
    }
    assert form.save(fields, "/states").endswith("/when/states")
    assert form.data["hours"] == {
        "FL": {"from": "19:00", "to": "10:00", "sunday": "no texts", "holidays": ["12-24", "US-FL"]}
    }
    page = form.clicker.get(f"{WHEN}/states")
    assert (
        "Florida Texts may go out: Monday to Saturday: 10:00 AM to 7:00 PM Sunday: no texts Holidays: no texts (12-24"
        in page.plain
    )
    assert "This is not legal advice." in page.plain
    form.save({"state": "LA", "saturday": "no texts"}, "/states")
    assert form.data["hours"].keys() == {"FL", "LA"}
    for state in ("FL", "LA"):
        form.clicker.post(f"{WHEN}/states/remove", {"state": state})
    assert "hours" not in form.data
    assert b"# My comment" in form.file.read_bytes()


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"state": "", "from": "20:00"}, "state", "Choose a state."),
        ({"state": "FL", "from": "20:00"}, "from", "both from and to"),
        ({"state": "FL"}, "from", "from and to, saturday, sunday or holidays"),
        ({"state": "FL", "holidays": "payday"}, "holidays", "This must be days such as"),
        ({"state": "FL", "from": "25:00", "to": "08:00"}, "from", "This must be a time of day"),
    ],
)
def test_hours_of_a_state_that_are_wrong(
    form: Form, fields: dict[str, str], field: str, problem: str
) -> None:
    before = form.file.read_bytes()
    form.save(fields, "/states")
    page = form.clicker.get(f"{WHEN}/states")
    assert re.search(rf'<p id="{field}-error"[^>]*>.*{re.escape(problem)}', page.text), page.plain
    assert form.file.read_bytes() == before
    form.clicker.post(f"{WHEN}/states", {"discard": "yes"})
