"""The campaign file: what is accepted, what it becomes, and every sentence about its problems."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.campaigns.json_schema import campaign_schema
from batchsend.campaigns.types import parse_duration
from batchsend.campaigns.zones import nearest_zone
from batchsend.errors import BatchsendError, CampaignError

SMALLEST = """
name = "Spring"
list = "spring.csv"
template = "spring.txt.j2"
department_uuid = "d1"
user_uuid = "u1"
timezone = "America/Chicago"
"""

#: Every key once, with the values that the documentation shows.
SAMPLE = """
name = "Spring service reminder"
list = "../sample_data/spring_service.csv"
template = "../templates/spring_service.txt.j2"
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
department_label = "Honda Service"
timezone = "America/Chicago"

[columns]
customer_uuid = "Customer ID"
phone = "Mobile"

[recipients]
key = ["Customer ID"]
consent = { column = "OK to Text", yes = ["Y", "Yes"] }
suppress = ["../sample_data/opt_outs.csv"]
duplicate_phones = "skip"
blank_phones = "preferred"
repeat_after_days = 30
max_messages = 2
max_messages_days = 7
default_region = "US"

[message]
is_manual = false
add_tcpa_footer = true
add_signature = false
add_footer = false
send_vcard = false
send_synchronously = false
callback_url = "https://example.com/batchsend"
callback_metadata = { source = "batchsend" }
smart_encoding = true
opt_out_line = "Text STOP to opt-out"
max_segments = 6
segment_price = 0.0079
currency = "CAD"

[sending]
rate = 10
concurrency = 20
timeout = 30
stop_after_failures = 25
give_up_after = "15m"
quiet_hours = "TCPA"
per_day = 300

[guards]
max_texts = 600
min_texts = 10
list_max_age = "20h"
empty_list = "error"
require_history = true
unusual = "refuse"
approval = true

[schedule]
cron = "0 10 * * MON-FRI"
expires_after = "2h"
"""


def write(folder: Path, text: str | bytes, name: str = "spring.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def with_line(line: str) -> str:
    """The smallest campaign with `line` in place of the top-level key that it sets, or at the end."""
    key = line.partition("=")[0].strip()
    kept = [other for other in SMALLEST.strip().splitlines() if other.partition("=")[0].strip() != key]
    return "\n".join([*kept, line])


def load(folder: Path, text: str | bytes) -> Campaign:
    return load_campaign(write(folder, text))


def problems(folder: Path, text: str | bytes) -> tuple[str, ...]:
    path = write(folder, text)
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    assert caught.value.path == path
    assert caught.value.exit_code == 2
    return caught.value.problems


# --- what a campaign becomes


def test_smallest_campaign_has_the_documented_defaults(tmp_path: Path) -> None:
    campaign = load(tmp_path, SMALLEST)

    assert campaign.name == "Spring"
    assert campaign.list == tmp_path.resolve() / "spring.csv"
    assert campaign.template == tmp_path.resolve() / "spring.txt.j2"
    assert (campaign.department_uuid, campaign.user_uuid) == ("d1", "u1")
    assert campaign.zone.key == "America/Chicago"
    assert campaign.model_dump(
        exclude={"name", "list", "template", "department_uuid", "user_uuid", "timezone"}
    ) == {
        "formerly": None,
        "template_by": None,
        "department_label": None,
        "columns": dict.fromkeys(
            ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "zip", "state", "lookup")
        ),
        "recipients": {
            "key": None,
            "where": None,
            "consent": None,
            "suppress": (),
            "duplicate_phones": "skip",
            "blank_phones": "preferred",
            "repeat_after_days": None,
            "max_messages": None,
            "max_messages_days": None,
            "default_region": "US",
        },
        "message": {
            "is_manual": False,
            "add_tcpa_footer": True,
            "add_signature": False,
            "add_footer": False,
            "send_vcard": False,
            "send_synchronously": False,
            "callback_url": None,
            "callback_metadata": {},
            "smart_encoding": True,
            "opt_out_line": "Text STOP to opt-out",
            "max_segments": 6,
            "sender_name": None,
            "segment_price": None,
            "currency": "USD",
        },
        "sending": {
            "rate": 10.0,
            "concurrency": 20,
            "timeout": 30.0,
            "stop_after_failures": 25,
            "give_up_after": timedelta(minutes=15),
            "quiet_hours": None,
            "holidays": (),
            "per_day": None,
            "per_day_segments": None,
            "per_hour": None,
        },
        "hours": {},
        "guards": {
            "max_texts": None,
            "min_texts": None,
            "list_max_age": None,
            "list_settle": None,
            "empty_list": "error",
            "require_history": False,
            "unusual": "warn",
            "lint": "warn",
            "lint_ignore": (),
            "approval": False,
        },
        "notify": {"url": None, "email": (), "notifiers": {}, "when": "attention"},
        "schedule": None,
        "list_options": dict.fromkeys(("sheet", "hidden_rows", "header_row", "encoding", "delimiter")),
    }


def test_every_key_of_the_sample_is_read(tmp_path: Path) -> None:
    campaign = load(tmp_path, SAMPLE)

    assert campaign.list == tmp_path.resolve().parent / "sample_data" / "spring_service.csv"
    assert campaign.recipients.suppress == (tmp_path.resolve().parent / "sample_data" / "opt_outs.csv",)
    assert campaign.department_label == "Honda Service"
    assert campaign.columns.customer_uuid == "Customer ID"
    assert campaign.columns.phone == "Mobile"
    assert campaign.recipients.key == ("Customer ID",)
    assert campaign.recipients.consent is not None
    assert campaign.recipients.consent.yes == ("Y", "Yes")
    assert campaign.message.callback_metadata == {"source": "batchsend"}
    assert campaign.sending.quiet_hours is not None
    assert campaign.sending.quiet_hours.model_dump() == {
        "from_": time(21),
        "to": time(8),
        "timezone": "recipient",
        "states": False,
    }
    assert campaign.guards.list_max_age == timedelta(hours=20)
    assert campaign.schedule is not None
    assert campaign.schedule.model_dump() == {
        "cron": "0 10 * * MON-FRI",
        "at": None,
        "expires_after": timedelta(hours=2),
        "wait": False,
        "strict": False,
        "expect": None,
    }


def test_where_the_campaign_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, SMALLEST, "April reminder.toml")
    monkeypatch.chdir(tmp_path)

    campaign = load_campaign(Path("April reminder.toml"))

    assert campaign.path == tmp_path.resolve() / "April reminder.toml"
    assert campaign.directory == tmp_path.resolve()
    assert campaign.stem == "April reminder"
    assert campaign.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_linked_campaign_keeps_its_own_name_and_place(tmp_path: Path) -> None:
    # Servers mount configuration as links into a folder that changes with every deployment.
    real = tmp_path / "..2026_03_01"
    real.mkdir()
    write(real, SMALLEST)
    link = tmp_path / "spring.toml"
    try:
        link.symlink_to(real / "spring.toml")
    except OSError:
        pytest.skip("this system does not let everybody make links")

    campaign = load_campaign(link)

    assert campaign.path == tmp_path.resolve() / "spring.toml"
    assert campaign.list == tmp_path.resolve() / "spring.csv"


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))

    assert load(tmp_path, with_line('list = "~/lists/x.csv"')).list == tmp_path / "home" / "lists" / "x.csv"


def test_left_out_timezone_is_this_computers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.get_localzone", lambda: ZoneInfo("Pacific/Honolulu"))

    campaign = load(tmp_path, SMALLEST.replace('timezone = "America/Chicago"', ""))

    assert campaign.timezone is None
    assert campaign.zone.key == "Pacific/Honolulu"


def _unknown() -> ZoneInfo:
    raise LookupError("no such zone")


def _from_a_file() -> ZoneInfo:
    with (files("tzdata") / "zoneinfo/Asia/Tokyo").open("rb") as file:
        return ZoneInfo.from_file(file, key="local")


@pytest.mark.parametrize("unknown", [_unknown, _from_a_file])
def test_left_out_timezone_where_this_computer_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: Callable[[], ZoneInfo]
) -> None:

    monkeypatch.setattr("tzlocal.get_localzone", unknown)

    assert problems(tmp_path, SMALLEST.replace('timezone = "America/Chicago"', "")) == (
        '`timezone`: is missing, and this computer\'s time zone is unknown; write one such as "America/Chicago"',
    )


@pytest.mark.parametrize(("line", "given"), [("", False), ('blank_phones = "preferred"', True)])
def test_whether_blank_phones_is_written_out(tmp_path: Path, line: str, given: bool) -> None:
    assert load(tmp_path, f"{SMALLEST}\n[recipients]\n{line}").recipients.blank_phones_given is given


ACCEPTED: list[tuple[str, str, Any]] = [
    # A byte order mark is what Windows' Notepad writes.
    ("\ufeff" + SMALLEST, "name", "Spring"),
    # Windows' line ends.
    (SMALLEST.replace("\n", "\r\n"), "name", "Spring"),
    # Blanks around a name would make another campaign of it.
    (with_line('name = "  Spring  "'), "name", "Spring"),
    # The same letters composed otherwise look the same and so are the same campaign.
    (with_line('name = "Fru\\u0308hling"'), "name", "Frühling"),
    # The API's identifiers may begin with a hyphen or an underscore, and are pasted with blanks around.
    (with_line('user_uuid = " -_Gl2eDo "'), "user_uuid", "-_Gl2eDo"),
    # Fractions of a request a second are for great patience.
    (SMALLEST + "[sending]\nrate = 0.5", "sending.rate", 0.5),
    (SMALLEST + "[sending]\nrate = 100000", "sending.rate", 100_000.0),
    (SMALLEST + "[sending]\ngive_up_after = 90", "sending.give_up_after", timedelta(seconds=90)),
    # A web server on this machine may be called without encryption.
    (
        SMALLEST + '[message]\ncallback_url = "http://localhost:8000/x"',
        "message.callback_url",
        "http://localhost:8000/x",
    ),
    (
        SMALLEST + '[message]\ncallback_url = "http://127.8.8.8/x"',
        "message.callback_url",
        "http://127.8.8.8/x",
    ),
    (SMALLEST + '[message]\ncallback_url = "http://[::1]/x"', "message.callback_url", "http://[::1]/x"),
    (SMALLEST + '[list_options]\ndelimiter = "\\t"', "list_options.delimiter", "\t"),
    (SMALLEST + '[list_options]\nencoding = "Windows-1252"', "list_options.encoding", "Windows-1252"),
    (SMALLEST + '[list_options]\nhidden_rows = "skip"', "list_options.hidden_rows", "skip"),
    (SMALLEST + '[list_options]\nsheet = "March"', "list_options.sheet", "March"),
    (with_line('formerly = "Winter"'), "formerly", "Winter"),
    (SMALLEST + '[recipients]\nkey = ["Customer ID", "VIN"]', "recipients.key", ("Customer ID", "VIN")),
    (SMALLEST + '[columns]\ntimezone = "Zone"', "columns.timezone", "Zone"),
]


@pytest.mark.parametrize(("text", "key", "value"), ACCEPTED)
def test_accepted(tmp_path: Path, text: str, key: str, value: object) -> None:
    found: object = load(tmp_path, text)
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_a_download_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    assert load(tmp_path, with_line('list = "export[1].csv"')).list.name == "export[1].csv"


def test_who_sends_may_come_from_columns(tmp_path: Path) -> None:
    lines = [line for line in SMALLEST.splitlines() if "_uuid" not in line]
    columns = '\n[columns]\ndepartment_uuid = "Dept"\nuser_uuid = "Advisor"'

    campaign = load(tmp_path, "\n".join(lines) + columns)

    assert (campaign.department_uuid, campaign.columns.department_uuid) == (None, "Dept")
    assert (campaign.user_uuid, campaign.columns.user_uuid) == (None, "Advisor")


def test_a_campaign_cannot_be_changed(tmp_path: Path) -> None:
    campaign = load(tmp_path, SMALLEST)
    with pytest.raises(ValueError, match="frozen"):
        campaign.sending.rate = 99.0


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        (
            '[sending]\nquiet_hours = { from = "20:00", to = "8:30", timezone = "America/Denver" }',
            "sending.quiet_hours.from_",
            time(20),
        ),
        # TOML's own local time is as good as text.
        ("[sending]\nquiet_hours = { from = 20:00:00, to = 08:00:00 }", "sending.quiet_hours.to", time(8)),
        ('[sending]\nquiet_hours = "TCPA"', "sending.quiet_hours.timezone", "recipient"),
        ('[sending]\nquiet_hours = "US-states"', "sending.quiet_hours.states", True),
        (
            '[sending]\nholidays = ["us", "US-la", 2026-12-24, "12-31", "good friday"]',
            "sending.holidays",
            ("US", "US-LA", "2026-12-24", "12-31", "Good Friday"),
        ),
        ("[schedule]\nat = 2026-12-01T10:00:00", "schedule.at", datetime(2026, 12, 1, 10)),  # noqa: DTZ001
        ('[guards]\nempty_list = "ok"', "guards.empty_list", "ok"),
    ],
)
def test_keys_of_later_versions_are_known(tmp_path: Path, line: str, key: str, value: object) -> None:
    found: object = load(tmp_path, SMALLEST + line)
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_template_by(tmp_path: Path) -> None:
    text = SMALLEST.replace(
        'template = "spring.txt.j2"',
        'template_by = { column = "Language", default = "x.en.txt.j2", cases = { "x.es.txt.j2" = ["SPA", "es"] } }',
    )

    chosen = load(tmp_path, text).template_by

    assert chosen is not None
    assert chosen.default == tmp_path.resolve() / "x.en.txt.j2"
    assert chosen.cases == {tmp_path.resolve() / "x.es.txt.j2": ("SPA", "es")}


# --- lengths of time


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", 30),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172800),
        ("20H", 72000),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_duration(value: object, seconds: float) -> None:
    assert parse_duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "15", "m", "15 minutes", "-15m", "1.5h", "30m1h", "١٥m"),
        # Zero would give up immediately, and a very long time is a typo.
        *("0s", 0, -1, "9999999999d", "367d", 1e300, float("nan"), float("inf")),
        *(True, None, ["15m"]),
    ],
)
def test_not_a_duration(value: object) -> None:
    with pytest.raises(ValueError, match="length of time"):
        parse_duration(value)


@given(st.integers(0, 9), st.integers(0, 99), st.integers(0, 999), st.integers(1, 9999))
def test_duration_adds_its_parts_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected


@pytest.mark.parametrize(
    ("meant", "zone"),
    [
        ("EST", "America/New_York"),  # IANA's zone of this name has no daylight saving
        ("CST", "America/Chicago"),  # by spelling alone it would be CET
        ("Pacific Time", "America/Los_Angeles"),
        ("chicago", "America/Chicago"),
        ("America/New York", "America/New_York"),
        ("america/denver", "America/Denver"),
        ("America/Chigaco", "America/Chicago"),
        ("Berlin", "Europe/Berlin"),
        ("UTC+5", None),  # UTC is not nearer than others
        ("somewhere", None),
    ],
)
def test_nearest_zone(meant: str, zone: str | None) -> None:
    assert nearest_zone(meant) == zone


# --- problems, word for word

PATH_HINT = (
    "in double quotes \\n and \\t are a line break and a tab; write C:/lists/x.csv or use single quotes"
)
DURATION = 'expected a length of time such as "30s", "15m", "1h30m" or a number of seconds, at most 366 days'

WRONG: list[tuple[str, str]] = [
    (
        SMALLEST + '[columns]\ncustomer_uuid = "Id"\nlookup = { vin = "VIN" }',
        "`columns.lookup`: finds the customers' ids, so `customer_uuid` cannot be set too; keep one of them",
    ),
    # unknown keys
    (with_line('nmae = "x"'), '`nmae`: unknown key; did you mean "name"?'),
    (with_line('department-uuid = "x"'), '`department-uuid`: unknown key; did you mean "department_uuid"?'),
    (
        SMALLEST + "[sending]\nconcurency = 5",
        '`sending.concurency`: unknown key; did you mean "concurrency"?',
    ),
    (SMALLEST + "[mesage]\nis_manual = true", '`mesage`: unknown key; did you mean "message"?'),
    (
        SMALLEST + "[sending]\nzzz = 5",
        (
            "`sending.zzz`: unknown key; known here: rate, concurrency, timeout, stop_after_failures, give_up_after, "
            "quiet_hours, holidays, per_day, per_day_segments, per_hour"
        ),
    ),
    (
        SMALLEST + "[sending]\nper_day_segments = 5",
        (
            "`sending.per_day_segments`: is 5, but a text may have 6 segments, and would never be sent; raise it, or "
            "lower `max_segments` under [message]"
        ),
    ),
    (
        SMALLEST + '[recipients]\nconsent = { column = "OK", yes = ["Y"], no = ["N"] }',
        "`recipients.consent.no`: unknown key; known here: column, yes",
    ),
    # known keys in the wrong place
    (with_line("rate = 5"), "`rate`: belongs under [sending]"),
    (
        SMALLEST + '[sending]\nname = "x"',
        "`sending.name`: belongs at the top of the file, above the first [section]",
    ),
    (
        SMALLEST + "[sending]\nmax_segmentss = 3",
        '`sending.max_segmentss`: unknown key; did you mean "max_segments", which belongs under [message]?',
    ),
    # credentials and other settings: the value is not repeated
    (
        with_line('password = "s3cret"'),
        (
            "`password`: is a setting and does not belong in a campaign file: delete it, and set "
            "MYKAARMA_PASSWORD in the "
            "environment or in a file named .env in the same folder"
        ),
    ),
    (
        with_line('MYKAARMA_USERNAME = "s3cret"'),
        (
            "`MYKAARMA_USERNAME`: is a setting and does not belong in a campaign file: delete it, and set "
            "MYKAARMA_USERNAME "
            "in the environment or in a file named .env in the same folder"
        ),
    ),
    # wrong types, with the fix for the most common mistakes
    (with_line("name = 5"), '`name`: expected text in quotes, but it is 5; write it in quotes: "5"'),
    (
        SMALLEST + '[sending]\nrate = "20"',
        '`sending.rate`: expected a number, but it is "20"; write it without the quotes: 20',
    ),
    (SMALLEST + '[sending]\nrate = "fast"', '`sending.rate`: expected a number, but it is "fast"'),
    (SMALLEST + "[sending]\nrate = true", "`sending.rate`: expected a number, but it is true"),
    (SMALLEST + "[sending]\nrate = nan", "`sending.rate`: expected a number, but it is nan"),
    (
        SMALLEST + "[sending]\nconcurrency = 2.5",
        "`sending.concurrency`: expected a whole number, but it is 2.5",
    ),
    (
        SMALLEST + '[message]\nis_manual = "True"',
        '`message.is_manual`: expected true or false, but it is "True"; write it without the quotes: true',
    ),
    (SMALLEST + "[message]\nis_manual = 1", "`message.is_manual`: expected true or false, but it is 1"),
    (
        SMALLEST + '[recipients]\nkey = "VIN"',
        '`recipients.key`: expected a list in square brackets, but it is "VIN"; write ["VIN"]',
    ),
    (
        SMALLEST + "[recipients]\nkey = [1]",
        '`recipients.key[1]`: expected text in quotes, but it is 1; write it in quotes: "1"',
    ),
    (with_line("sending = 5"), "`sending`: expected a table, but it is 5"),
    (
        SMALLEST + "[[sending]]\nrate = 5",
        "`sending`: expected a table, but it is [a table]; write its name in single brackets",
    ),
    (with_line("list = 5"), "`list`: expected the path of a file, in quotes, but it is 5"),
    # bounds
    (SMALLEST + "[sending]\nrate = 0", "`sending.rate`: expected a number above 0, but it is 0"),
    (SMALLEST + "[sending]\nrate = 100001", "`sending.rate`: expected at most 100,000, but it is 100001"),
    (SMALLEST + "[sending]\nconcurrency = 0", "`sending.concurrency`: expected 1 or more, but it is 0"),
    (
        SMALLEST + "[sending]\nconcurrency = 1001",
        "`sending.concurrency`: expected at most 1,000, but it is 1001",
    ),
    (SMALLEST + "[sending]\ntimeout = 0", "`sending.timeout`: expected a number above 0, but it is 0"),
    # milliseconds by mistake
    (
        SMALLEST + "[sending]\ntimeout = 30000",
        "`sending.timeout`: expected at most 3,600, but it is 30000",
    ),
    (
        SMALLEST + "[sending]\nstop_after_failures = 0",
        "`sending.stop_after_failures`: expected 1 or more, but it is 0",
    ),
    (
        SMALLEST + '[sending]\ngive_up_after = "soon"',
        f'`sending.give_up_after`: {DURATION}, but it is "soon"',
    ),
    (
        SMALLEST + "[message]\nmax_segments = 0",
        "`message.max_segments`: expected 1 or more, but it is 0",
    ),
    (
        SMALLEST + "[message]\nsegment_price = 0",
        "`message.segment_price`: expected a number above 0, but it is 0",
    ),
    (
        SMALLEST + '[message]\ncurrency = "$"',
        '`message.currency`: expected a currency code of three capital letters, such as USD, but it is "$"',
    ),
    (
        SMALLEST + "[recipients]\nrepeat_after_days = 0",
        "`recipients.repeat_after_days`: expected 1 or more, but it is 0",
    ),
    (SMALLEST + "[recipients]\nkey = []", "`recipients.key`: expected at least one entry, but it is []"),
    (
        SMALLEST + '[recipients]\nconsent = { column = "OK", yes = [] }',
        "`recipients.consent.yes`: expected at least one entry, but it is []",
    ),
    # a blank cell never means yes
    (
        SMALLEST + '[recipients]\nconsent = { column = "OK", yes = ["Y", ""] }',
        '`recipients.consent.yes[2]`: expected text that is not blank, but it is ""',
    ),
    (
        SMALLEST + '[recipients]\nkey = ["Customer ID", "customer_id"]',
        (
            '`recipients.key`: expected different columns, but it is ["Customer ID", "customer_id"]; '
            '"Customer ID" and "customer_id" are the same column'
        ),
    ),
    (
        SMALLEST + '[recipients]\nkey = ["VIN", "VIN"]',
        (
            '`recipients.key`: expected different columns, but it is ["VIN", "VIN"]; '
            '"VIN" and "VIN" are the same column'
        ),
    ),
    (
        SMALLEST + '[recipients]\nduplicate_phones = "no"',
        '`recipients.duplicate_phones`: expected "skip" or "allow", but it is "no"',
    ),
    # the nearest of a few values
    *(
        (f"{SMALLEST}[{table}]\n{line}", f"`{table}.{line.partition(' ')[0]}`: {sentence}")
        for table, line, sentence in (
            (
                "recipients",
                'duplicate_phones = "Allow"',
                'expected "skip" or "allow", but it is "Allow"; did you mean "allow"?',
            ),
            (
                "recipients",
                'blank_phones = "prefered"',
                'expected "preferred" or "invalid", but it is "prefered"; did you mean "preferred"?',
            ),
            (
                "guards",
                'empty_list = "errors"',
                'expected "error" or "ok", but it is "errors"; did you mean "error"?',
            ),
            (
                "list_options",
                'hidden_rows = "included"',
                'expected "skip" or "include", but it is "included"; did you mean "include"?',
            ),
            (
                "sending",
                'quiet_hours = "tcpa"',
                'expected "TCPA", "US-states" or a table, but it is "tcpa"; did you mean "TCPA"?',
            ),
            (
                "message",
                'is_manual = "no"',
                'expected true or false, but it is "no"; write it without the quotes: false',
            ),
            (
                "recipients",
                'default_region = "U.S."',
                'expected a country as two capital letters, such as "US", but it is "U.S."; did you mean "US"?',
            ),
            (
                "recipients",
                'default_region = "Kanada"',
                'expected a country as two capital letters, such as "US", but it is "Kanada"; did you mean "CA"?',
            ),
            (
                "list_options",
                'encoding = "ANSI"',
                (
                    "expected a text encoding such as utf-8, windows-1252 or utf-16, but it is "
                    '"ANSI"; did you mean "windows-1252"?'
                ),
            ),
            (
                "list_options",
                'encoding = "UTF-8 BOM"',
                (
                    "expected a text encoding such as utf-8, windows-1252 or utf-16, but it is "
                    '"UTF-8 BOM"; did you mean "utf-8"?'
                ),
            ),
            (
                "list_options",
                'encoding = "Windows 1252 Western"',
                (
                    "expected a text encoding such as utf-8, windows-1252 or utf-16, but it is "
                    '"Windows 1252 Western"; did you mean "windows-1252"?'
                ),
            ),
            (
                "list_options",
                'delimiter = "Semicolon"',
                'expected one character, but it is "Semicolon"; for a semicolon write ";" in double quotes',
            ),
        )
    ),
    # names and identifiers
    (with_line('name = " "'), '`name`: expected 1 to 100 printable characters on one line, but it is " "'),
    (
        with_line(f'name = "{"x" * 101}"'),
        f'`name`: expected 1 to 100 printable characters on one line, but it is "{"x" * 57}..."',
    ),
    (
        with_line('name = "a\\u200bb"'),  # a zero-width space: it looks like another campaign's name
        '`name`: expected 1 to 100 printable characters on one line, but it is "a\\u200bb"',
    ),
    (
        with_line('department_uuid = "a b"'),
        (
            '`department_uuid`: expected 1 to 128 letters, digits, hyphens or underscores, but it is "a b"; '
            "copy it from myKaarma unchanged"
        ),
    ),
    (
        with_line('user_uuid = ""'),
        (
            '`user_uuid`: expected 1 to 128 letters, digits, hyphens or underscores, but it is ""; '
            "copy it from myKaarma unchanged"
        ),
    ),
    (
        with_line('formerly = "Spring"'),
        "`formerly`: is the same as `name`; write the earlier name or delete this line",
    ),
    # zones, countries, encodings
    (
        with_line('timezone = "CST"'),
        (
            '`timezone`: expected a time zone name such as America/Chicago, but it is "CST"; '
            'did you mean "America/Chicago"?'
        ),
    ),
    (
        with_line('timezone = "EST"'),  # IANA's zone of this name has no daylight saving
        (
            '`timezone`: expected a time zone name such as America/Chicago, but it is "EST"; '
            'did you mean "America/New_York"?'
        ),
    ),
    (
        with_line('timezone = "../../etc/passwd"'),
        '`timezone`: expected a time zone name such as America/Chicago, but it is "../../etc/passwd"',
    ),
    (
        SMALLEST + '[recipients]\ndefault_region = "UK"',
        (
            '`recipients.default_region`: expected a country as two capital letters, such as "US", but it is "UK"; '
            'did you mean "GB"?'
        ),
    ),
    (
        SMALLEST + '[recipients]\ndefault_region = "us"',
        (
            '`recipients.default_region`: expected a country as two capital letters, such as "US", but it is "us"; '
            'did you mean "US"?'
        ),
    ),
    (
        SMALLEST + '[list_options]\nencoding = "ansi-ish"',
        (
            "`list_options.encoding`: expected a text encoding such as utf-8, windows-1252 or utf-16, "
            'but it is "ansi-ish"; did you mean "windows-1252"?'
        ),
    ),
    # known to Python, and no encoding of text
    (
        SMALLEST + '[list_options]\nencoding = "base64"',
        (
            "`list_options.encoding`: expected a text encoding such as utf-8, windows-1252 or utf-16, "
            'but it is "base64"'
        ),
    ),
    (
        SMALLEST + "[list_options]\ndelimiter = '\\t'",
        '`list_options.delimiter`: expected one character, but it is "\\t"; for a tab write "\\t" in double quotes',
    ),
    (
        SMALLEST + '[list_options]\ndelimiter = "::"',
        '`list_options.delimiter`: expected one character such as "," or ";" or "\\t", but it is "::"',
    ),
    # paths
    (with_line('list = ""'), '`list`: expected the path of a file, but it is ""'),
    # Excel makes such a file while a workbook is open; Python takes the name for a home folder.
    (
        with_line('list = "~$march.xlsx"'),
        (
            '`list`: expected a path, but it is "~$march.xlsx"; '
            "this is a lock file, which exists while march.xlsx is open: name march.xlsx"
        ),
    ),
    (
        with_line('template = "texts/~$spring.docx"'),
        (
            '`template`: expected a path, but it is "texts/~$spring.docx"; '
            "this is a lock file, which exists while spring.docx is open: name spring.docx"
        ),
    ),
    (
        SMALLEST + '[recipients]\nsuppress = ["../.~lock.stop.ods#"]',
        (
            '`recipients.suppress[1]`: expected a path, but it is "../.~lock.stop.ods#"; '
            "this is a lock file, which exists while stop.ods is open: name stop.ods"
        ),
    ),
    (
        with_line('list = "~nosuchuser/x.csv"'),
        (
            '`list`: expected a path, but it is "~nosuchuser/x.csv"; '
            "the home folder in this path is unknown: write the whole path"
        ),
    ),
    # valid TOML, but with a line break and a tab in the path
    (
        with_line('list = "C:\\new\\table.csv"'),
        f'`list`: expected a path without control characters, but it is "C:\\new\\table.csv"; {PATH_HINT}',
    ),
    (
        with_line('list = "https://example.com/x.csv?key=s3cret"'),
        "`list`: expected the path of a file; a web address cannot be read: save the file first",
    ),
    # addresses
    (
        SMALLEST + '[message]\ncallback_url = "http://example.com/x"',
        (
            "`message.callback_url`: expected a web address that begins with https://, but it is "
            '"http://example.com/x"; '
            "plain http:// is not encrypted and is allowed only for this computer"
        ),
    ),
    (
        SMALLEST + '[message]\ncallback_url = "http://127.0.0.1.example.com/"',
        (
            "`message.callback_url`: expected a web address that begins with https://, "
            'but it is "http://127.0.0.1.example.com/"; '
            "plain http:// is not encrypted and is allowed only for this computer"
        ),
    ),
    (
        SMALLEST + '[message]\ncallback_url = "https://me:s3cret@example.com/"',
        (
            "`message.callback_url`: expected a web address that begins with https://; "
            "a campaign file must not hold credentials: remove them"
        ),
    ),
    (
        SMALLEST + '[message]\ncallback_url = "example.com"',
        '`message.callback_url`: expected a web address that begins with https://, but it is "example.com"',
    ),
    *(
        (
            f'{SMALLEST}[message]\ncallback_url = "{url}"',
            f'`message.callback_url`: expected a web address that begins with https://, but it is "{url}"',
        )
        for url in (
            "https://.",
            "https://./updates",
            "https://a..example.com/x",
            "https://example.com:99999/x",
            "https://<host>/x",
            "https://a,example.com/x",
            "https:///x",
        )
    ),
    # as `batchsend callbacks` prints it
    (
        SMALLEST + '[message]\ncallback_url = "https://YOUR-HOST/updates/x"',
        (
            "`message.callback_url`: expected a web address that begins with https://, but it is "
            '"https://YOUR-HOST/updates/x"; write the name of your server in place of YOUR-HOST'
        ),
    ),
    (
        SMALLEST + '[message]\ncallback_metadata = { Batchsend_run = "1" }',
        (
            '`message.callback_metadata`: expected other names; "Batchsend_run" is reserved: names that begin with '
            '"batchsend" identify the message'
        ),
    ),
    (
        SMALLEST + "[message]\ncallback_metadata = { store = { city = 5 } }",
        "`message.callback_metadata.store`: expected text in quotes, but it is a table",
    ),
    (
        SMALLEST + '[message]\nopt_out_line = "STOP\\nHELP"',
        '`message.opt_out_line`: expected text on one line, but it is "STOP\\nHELP"',
    ),
    # keys that go together
    (
        SMALLEST + "[recipients]\nmax_messages = 2",
        "`recipients.max_messages`: needs `max_messages_days` too",
    ),
    (
        SMALLEST + "[recipients]\nmax_messages_days = 2",
        "`recipients.max_messages_days`: needs `max_messages` too",
    ),
    (
        SMALLEST + '[columns]\nuser_uuid = "Advisor"',
        "`user_uuid`: is set here and under [columns]; keep one of them",
    ),
    (
        SMALLEST + '[columns]\ncustomer_uuid = "ID"\nphone = "id"',
        "`columns.phone`: is the same column as `customer_uuid`; each needs a different column",
    ),
]


@pytest.mark.parametrize(
    ("text", "sentence"), WRONG, ids=[sentence.partition(":")[0] for _, sentence in WRONG]
)
def test_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    assert problems(tmp_path, text) == (sentence,)


WRONG_TIMES = [
    (
        '[sending]\nquiet_hours = { from = "24:00", to = "08:00" }',
        '`sending.quiet_hours.from`: expected a time of day from "00:00" to "23:59", but it is "24:00"',
    ),
    (
        '[sending]\nquiet_hours = { from = "20:00", to = "08:00", timezone = "xyz" }',
        (
            '`sending.quiet_hours.timezone`: expected "recipient" or a time zone name such as '
            'America/Chicago, but it is "xyz"'
        ),
    ),
    (
        '[sending]\nquiet_hours = { from = "20:00", to = "08:00", timezone = "Recipients" }',
        (
            '`sending.quiet_hours.timezone`: expected "recipient" or a time zone name such as '
            'America/Chicago, but it is "Recipients"; did you mean "recipient"?'
        ),
    ),
    (
        '[sending]\nquiet_hours = { from = "20:00" }',
        (
            '`sending.quiet_hours.to`: is missing. When quiet hours end, such as "08:00". If it is earlier than '
            "from: on the next day."
        ),
    ),
    # this could mean all day or never
    (
        '[sending]\nquiet_hours = { from = "20:00", to = "20:00" }',
        "`sending.quiet_hours`: expected quiet hours that begin and end at different times",
    ),
    (
        '[sending]\nquiet_hours = { from = "21:00", to = "08:00", timezone = "America/Denver", states = true }',
        (
            '`sending.quiet_hours`: expected timezone = "recipient" together with states = true; '
            "the hours of a state are in the recipient's time"
        ),
    ),
    (
        '[sending]\nholidays = ["CA"]',
        (
            '`sending.holidays[1]`: expected days such as "US", "US-LA", "Good Friday", "2026-12-24" or "12-24" '
            '(each year), but it is "CA"; did you mean "US-CA"?'
        ),
    ),
    (
        '[sending]\nholidays = ["2026-02-30"]',
        (
            '`sending.holidays[1]`: expected days such as "US", "US-LA", "Good Friday", "2026-12-24" or "12-24" '
            '(each year), but it is "2026-02-30"'
        ),
    ),
    *(
        (
            f'[sending]\nholidays = ["{typed}"]',
            (
                '`sending.holidays[1]`: expected days such as "US", "US-LA", "Good Friday", "2026-12-24" or "12-24" '
                f'(each year), but it is "{typed}"; did you mean "{meant}"?'
            ),
        )
        for typed, meant in {
            "Xmas": "Christmas Day",
            "Christmas": "Christmas Day",
            "12/24": "12-24",
            "7/4/2027": "2027-07-04",
        }.items()
    ),
    (
        '[hours.IL]\nmonday = "no texts"',
        (
            "`hours.IL.monday`: unknown key; only saturday and sunday can have hours of their own; "
            "from and to are those of all other days"
        ),
    ),
    (
        '[sending]\nholidays = ["Thanksgivin Day"]',
        (
            '`sending.holidays[1]`: expected days such as "US", "US-LA", "Good Friday", "2026-12-24" or "12-24" '
            '(each year), but it is "Thanksgivin Day"; did you mean "Thanksgiving Day"?'
        ),
    ),
    (
        '[hours.Florda]\nfrom = "20:00"\nto = "08:00"',
        '`hours.Florda`: expected the two letters of a state, such as "FL", but it is "Florda"; did you mean "FL"?',
    ),
    ('[hours.FL]\nfrom = "20:00"', "`hours.FL`: expected both from and to"),
    ("[hours.FL]", "`hours.FL`: expected from and to, saturday, sunday or holidays"),
    (
        '[hours.FL]\nsunday = "none"',
        '`hours.FL.sunday`: expected "no texts" or a table with from and to, but it is "none"',
    ),
    (
        '[hours.FL]\nsundays = "no texts"',
        '`hours.FL.sundays`: unknown key; did you mean "sunday"?',
    ),
    (
        (
            '[sending]\nquiet_hours = { from = "21:00", to = "08:00", timezone = "America/Denver" }\n'
            '[hours.FL]\nsunday = "no texts"'
        ),
        '`hours.FL`: is in the recipient\'s time; set timezone = "recipient" in `sending.quiet_hours`',
    ),
    (
        '[sending]\nquiet_hours = "evenings"',
        '`sending.quiet_hours`: expected "TCPA", "US-states" or a table, but it is "evenings"',
    ),
    (
        '[schedule]\ncron = "ten"',
        '`schedule.cron`: expected five fields as in crontab(5), such as "0 10 * * MON-FRI", but it is "ten"',
    ),
    (
        '[schedule]\ncron = "daily"',
        (
            '`schedule.cron`: expected five fields as in crontab(5), such as "0 10 * * MON-FRI", but it is '
            '"daily"; did you mean "@daily"?'
        ),
    ),
    (
        '[schedule]\ncron = "@reboot"',
        (
            '`schedule.cron`: expected five fields as in crontab(5), such as "0 10 * * MON-FRI", but it is '
            '"@reboot"; @reboot is not a time: campaigns start at set times, not when the computer does'
        ),
    ),
    (
        '[schedule]\ncron = "@daily"\nexpect = "300"',
        '`schedule.expect`: expected a whole number, but it is "300"; write it without the quotes: 300',
    ),
    ('[schedule]\ncron = "@daily"\nexpect = -1', "`schedule.expect`: expected 0 or more, but it is -1"),
    (
        '[schedule]\ncron = "@daily"\nwait = "yes"',
        '`schedule.wait`: expected true or false, but it is "yes"; write it without the quotes: true',
    ),
    ('[schedule]\ncron = "@daily"\nstrict = 1', "`schedule.strict`: expected true or false, but it is 1"),
    (
        '[schedule]\ncron = "61 10 * * *"',
        (
            '`schedule.cron`: expected five fields as in crontab(5), such as "0 10 * * MON-FRI", but it is '
            '"61 10 * * *"; the minute "61" is not valid (use 0 to 59)'
        ),
    ),
    ('[schedule]\nexpires_after = "2h"', "`schedule`: expected either `cron` or `at`"),
    (
        '[schedule]\ncron = "0 10 * * *"\nat = 2026-12-01T10:00:00',
        "`schedule`: expected either `cron` or `at`",
    ),
    (
        '[schedule]\nat = "tomorrow"',
        (
            "`schedule.at`: expected a date and time such as 2026-12-01T10:00:00, without quotes, "
            'but it is "tomorrow"'
        ),
    ),
    (
        "[schedule]\nat = 2026-12-01T10:00:00Z",
        (
            "`schedule.at`: expected a date and time without an offset (it is in the campaign's time zone), "
            "but it is 2026-12-01T10:00:00+00:00"
        ),
    ),
    ('[guards]\nlist_max_age = "1 day"', f'`guards.list_max_age`: {DURATION}, but it is "1 day"'),
]


@pytest.mark.parametrize(("line", "sentence"), WRONG_TIMES)
def test_wrong_times(tmp_path: Path, line: str, sentence: str) -> None:
    assert problems(tmp_path, SMALLEST + line) == (sentence,)


def test_template_and_template_by(tmp_path: Path) -> None:
    both = with_line('template_by = { column = "L", default = "x", cases = { "y" = ["es"] } }')
    assert problems(tmp_path, both) == (
        "`template_by`: cannot be used together with `template`; keep one of them",
    )


WRONG_CASES = [
    # Two spellings of one file, or one value for two files: one of them would be ignored silently.
    (
        'cases = { "es.j2" = ["SPA"], "./es.j2" = ["es"] }',
        "`template_by.cases../es.j2`: is the same file as es.j2; write it once",
    ),
    (
        'cases = { "es.j2" = ["SPA", "es"], "vi.j2" = ["vi", " Es "] }',
        '`template_by.cases.vi.j2`: " Es " is also listed for es.j2 (letter case does not matter); keep one of them',
    ),
    # Without quotes, TOML reads the dot as a table.
    (
        'cases = { es.j2 = ["SPA"] }',
        (
            "`template_by.cases.es`: expected a list in square brackets, but it is a table; "
            "put a file name that contains a dot in quotes"
        ),
    ),
    (
        'cases = { "es.j2" = "SPA" }',
        '`template_by.cases.es.j2`: expected a list in square brackets, but it is "SPA"; write ["SPA"]',
    ),
    ("cases = {}", "`template_by.cases`: expected at least one entry, but it is a table"),
]


@pytest.mark.parametrize(("cases", "sentence"), WRONG_CASES)
def test_wrong_cases_of_template_by(tmp_path: Path, cases: str, sentence: str) -> None:
    by = f'template_by = {{ column = "Language", default = "en.j2", {cases} }}'
    text = SMALLEST.replace('template = "spring.txt.j2"', by)
    assert problems(tmp_path, text) == (sentence,)


def test_template_by_needs_a_default(tmp_path: Path) -> None:
    text = SMALLEST.replace(
        'template = "spring.txt.j2"', 'template_by = { column = "Language", cases = { "es.j2" = ["SPA"] } }'
    )
    assert problems(tmp_path, text) == (
        "`template_by.default`: is missing. The template for values that are in none of the cases.",
    )


def test_an_empty_file_says_all_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "# to do\n")
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    assert str(caught.value) == (
        f"{path}: 5 problems\n"
        "  - `name`: is missing. The campaign's name. It identifies the campaign in the ledger: a new name is a new "
        "campaign without history.\n"
        "  - `list`: is missing. The customer list: a CSV file, a workbook, a Parquet file or a query (.sql). The "
        "path is relative to the campaign file.\n"
        "  - `template`: is missing. The template of the text. The path is relative to the campaign file. "
        "Required unless template_by is set.\n"
        "  - `department_uuid`: is missing; write it here, or name its column under [columns]: "
        'department_uuid = "column name"\n'
        '  - `user_uuid`: is missing; write it here, or name its column under [columns]: user_uuid = "column name"'
    )


def test_all_problems_at_once_in_the_files_order(tmp_path: Path) -> None:
    text = """
rate = 5
list = "lists/*.csv"
template = 7
department_uuid = "d1"
[message]
max_segments = 0
[sending]
per_day = 0
concurency = 1
[recipients]
max_messages = 1
"""
    keys = [problem.partition("`:")[0].strip("`") for problem in problems(tmp_path, text)]
    assert keys == [
        *("name", "user_uuid", "rate", "template"),
        *("message.max_segments", "sending.per_day", "sending.concurency", "recipients.max_messages"),
    ]


def test_no_secret_is_repeated() -> None:
    assert [text for text, sentence in WRONG if "s3cret" in text] != []
    assert [sentence for _, sentence in WRONG if "s3cret" in sentence] == []


# --- files that are no TOML

UNREADABLE: list[tuple[str | bytes, str]] = [
    (
        'name = "x"\nlist = "C:\\lists\\x.csv"',
        (
            "line 2: a backslash has a special meaning in double quotes; "
            "write \"C:/lists/x.csv\" or use single quotes: 'C:\\lists\\x.csv'"
        ),
    ),
    # \u begins a character's number
    (
        'list = "C:\\users\\x.csv"',
        (
            "line 1: a backslash has a special meaning in double quotes; "
            "write \"C:/users/x.csv\" or use single quotes: 'C:\\users\\x.csv'"
        ),
    ),
    # a line with a password is not repeated
    ('password = "abc\\def"', "line 1: this is not valid TOML: Unescaped '\\' in a string"),
    (
        "name = “Spring”",
        'line 1: these are curly quotes; put straight quotes (") around the text',
    ),
    (
        'name = "Spring”\nlist = "x.csv"',
        'line 1: these are curly quotes; put straight quotes (") around the text',
    ),
    (
        "yes = [\n  “Y”]",
        'line 2: these are curly quotes; put straight quotes (") around the text',
    ),
    # curly quotes in a text or a comment are not to blame
    (
        'name = "It’s “spring”" x # “”',
        "line 1: there is something after the value; put text in straight quotes",
    ),
    (
        "name = Spring",
        "line 1: this is not a valid value; put text in straight quotes, and write true and false in small letters",
    ),
    (
        "[message]\nis_manual = True\n",
        "line 2: this is not a valid value; put text in straight quotes, and write true and false in small letters",
    ),
    ('name = "Spring\nlist = "x"', "line 1: a closing quote is missing at the end of the line"),
    ("name: Spring\n", "line 1: every line is `key = value`, a [section] or a # comment"),
    ("a = 1\na = 2\n", "line 2: this key is in the file twice; keep one of them"),
    ("[a]\n[a]\n", "line 2: the section [a] is in the file twice; put its keys under one of them"),
    ("[a.b]\n[a.b]\n", "line 2: the section [a.b] is in the file twice; put its keys under one of them"),
    ("[sending\nrate = 1\n", "line 1: a closing ] is missing"),
    ('key = ["x"', "line 1: a list has no closing ]"),
    ("at = 2026-13-01\n", "line 1: there is something after the value; put text in straight quotes"),
    # Python has its own errors for such numbers and lists
    ("x = 1" + "1" * 5000, "it has a number that is too long or lists that are nested too deeply"),
    ("x = " + "[" * 5000, "it has a number that is too long or lists that are nested too deeply"),
    # encodings
    (SMALLEST.encode("utf-16"), 'it is saved as UTF-16 ("Unicode"); save it again with the encoding UTF-8'),
    (
        SMALLEST.encode("utf-16-be"),
        'it is saved as UTF-16 ("Unicode"); save it again with the encoding UTF-8',
    ),
    (
        b'# x\nname = "Fr\xfchling"',
        "line 2 holds a character that is not UTF-8; save the file again with the encoding UTF-8",
    ),
    # the wrong file
    (
        b"PK\x03\x04\x14\x00\x06\x00",
        "it is not a text file; name the campaign file, a text file that ends in .toml",
    ),
    (
        b"x" * 1_000_001,
        "it is larger than 1 MB, too large for a campaign file; name the campaign file, not the list",
    ),
]


@pytest.mark.parametrize(("content", "sentence"), UNREADABLE, ids=[sentence for _, sentence in UNREADABLE])
def test_unreadable(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    assert problems(tmp_path, content) == (sentence,)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_content_gives_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.getbasetemp(), content, "any.toml")
    with pytest.raises(CampaignError):
        load_campaign(path)


_SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.just({"from": 1, "column": [], "cases": {"": []}}),
    st.lists(st.text(max_size=3), max_size=2),
)
_KEYS = sorted(
    set(re.findall(r"^(\w+) =", SAMPLE, re.MULTILINE)) | {"template_by", "formerly", "sheet", "at"}
)


@given(st.dictionaries(st.sampled_from([*_KEYS, "sending", "recipients", "message"]), _SCALARS, max_size=8))
def test_any_value_is_valid_or_gives_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    def toml(value: Any) -> str:
        match value:
            case bool():
                return str(value).lower()
            case str():
                return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
            case list():
                return f"[{', '.join(map(toml, value))}]"
            case dict():
                return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
        return repr(value)

    lines = "\n".join(f"{key} = {toml(value)}" for key, value in values.items())
    tables = "".join(
        f"\n[{table}]\n{lines}\n" for table in ("sending", "recipients", "message") if table not in values
    )
    path = write(tmp_path_factory.getbasetemp(), f"{lines}\n{tables}", "values.toml")
    try:
        load_campaign(path)
    except CampaignError as error:
        assert all(problem.startswith("`") for problem in error.problems)


# --- files that are not there


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CampaignError) as caught:
        load_campaign(tmp_path / "spring.toml")
    assert caught.value.problems == ("there is no such file",)


@pytest.mark.parametrize("typed", ["sprin.toml", "spring", "spring.tml", "Spring.TOML", "spring.toml.txt"])
def test_missing_file_with_its_like_beside_it(tmp_path: Path, typed: str) -> None:
    write(tmp_path, SMALLEST)
    with pytest.raises(CampaignError) as caught:
        load_campaign(tmp_path / typed)
    assert caught.value.problems == (f"there is no such file; did you mean {tmp_path / 'spring.toml'}?",)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        # Notepad added an ending that Windows hides.
        ("autumn.toml", "autumn.toml.txt"),
        ("autumn", "autumn.toml.txt"),
        # The folder is missing, or misspelled.
        ("winter.toml", "campaigns/winter.toml"),
        ("winter", "campaigns/winter.toml"),
        ("campaign/winter.toml", "campaigns/winter.toml"),
    ],
)
def test_missing_file_with_its_like_elsewhere(tmp_path: Path, typed: str, meant: str) -> None:
    (tmp_path / "campaigns").mkdir()
    write(tmp_path / "campaigns", SMALLEST, "winter.toml")
    write(tmp_path, SMALLEST, "autumn.toml.txt")
    with pytest.raises(CampaignError) as caught:
        load_campaign(tmp_path / typed)
    assert caught.value.problems == (f"there is no such file; did you mean {tmp_path / meant}?",)


def test_a_folder(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST)
    write(tmp_path, SMALLEST, "autumn.toml")
    with pytest.raises(CampaignError) as caught:
        load_campaign(tmp_path)
    assert caught.value.problems == (
        "this is a folder; name one of the campaigns in it: autumn.toml, spring.toml",
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(CampaignError) as caught:
        load_campaign(tmp_path)
    assert caught.value.problems == ("this is a folder; name a campaign file",)


def test_a_list_instead_of_a_campaign(tmp_path: Path) -> None:
    path = write(tmp_path, "Customer ID,Mobile\n", "spring.CSV")
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    assert caught.value.problems == (
        "this looks like a list; name the campaign file (it ends in .toml) instead",
    )


def test_the_ending_does_not_matter(tmp_path: Path) -> None:
    assert load_campaign(write(tmp_path, SMALLEST, "spring.campaign")).stem == "spring"


# --- the command line's options


def test_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = load(tmp_path, SMALLEST + "[sending]\nrate = 5\nstop_after_failures = 7")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    changed = campaign.with_overrides(list="april.csv", rate=2.5)

    assert changed.list == Path.cwd() / "april.csv"  # as every option's path, not as the campaign file's
    assert (changed.sending.rate, changed.sending.concurrency) == (2.5, 20)
    assert changed.sending.stop_after_failures == 7
    assert (changed.path, changed.sha256, changed.name) == (campaign.path, campaign.sha256, campaign.name)
    assert changed.template == campaign.template

    again = changed.with_overrides(concurrency=3)
    assert (again.list, again.sending.rate, again.sending.concurrency) == (changed.list, 2.5, 3)


def test_no_overrides_change_nothing(tmp_path: Path) -> None:
    campaign = load(tmp_path, SMALLEST)
    assert campaign.with_overrides().model_dump() == campaign.model_dump()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate": 0}, "--rate: expected a number above 0, but it is 0"),
        ({"concurrency": 1001}, "--concurrency: expected at most 1,000, but it is 1001"),
        ({"list": ""}, '--list: expected the path of a file, but it is ""'),
        (
            {"rate": -1, "concurrency": 0},
            "--rate: expected a number above 0, but it is -1\n--concurrency: expected 1 or more, but it is 0",
        ),
    ],
)
def test_wrong_overrides(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    campaign = load(tmp_path, SMALLEST)
    with pytest.raises(BatchsendError) as caught:
        campaign.with_overrides(**options)
    assert str(caught.value) == sentence


# --- the schema


def every_key(schema: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    keys = {}
    for key, described in schema.get("properties", {}).items():
        keys[path + key] = described
        for part in [described, *described.get("anyOf", [])]:
            keys |= every_key(part, f"{path}{key}.")
    return keys


def test_schema_describes_every_key_of_the_sample() -> None:
    described = every_key(campaign_schema())
    section = ""
    for line in SAMPLE.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif line:
            key = section + line.partition(" =")[0]
            assert described[key]["description"].rstrip().endswith((".", "?")), key
    assert all(part.get("description") for part in described.values())


def test_schema_shows_defaults_as_a_file_writes_them() -> None:
    described = every_key(campaign_schema())
    assert {key: part["default"] for key, part in described.items() if "default" in part} == {
        "recipients.suppress": [],
        "recipients.duplicate_phones": "skip",
        "recipients.blank_phones": "preferred",
        "recipients.default_region": "US",
        "message.is_manual": False,
        "message.add_tcpa_footer": True,
        "message.add_signature": False,
        "message.add_footer": False,
        "message.send_vcard": False,
        "message.send_synchronously": False,
        "message.smart_encoding": True,
        "message.opt_out_line": "Text STOP to opt-out",
        "message.max_segments": 6,
        "message.currency": "USD",
        "sending.rate": 10,
        "sending.concurrency": 20,
        "sending.timeout": 30,
        "sending.stop_after_failures": 25,
        "sending.give_up_after": "15m",
        "sending.quiet_hours.timezone": "recipient",
        "sending.quiet_hours.states": False,
        "sending.holidays": [],
        "guards.empty_list": "error",
        "guards.require_history": False,
        "guards.unusual": "warn",
        "guards.lint": "warn",
        "guards.lint_ignore": [],
        "guards.approval": False,
        "notify.email": [],
        "notify.when": "attention",
        "schedule.expires_after": "2h",
        "schedule.wait": False,
        "schedule.strict": False,
    }


def test_schema_knows_no_other_keys_and_no_null() -> None:
    schema = campaign_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert schema["required"] == ["name", "list"]
    tables = [schema, *(part for part in every_key(schema).values() if "properties" in part)]
    assert all(table["additionalProperties"] is False for table in tables)
    assert "null" not in str(schema)
    assert "$ref" not in str(schema)


def test_schema_allows_quiet_hours_in_both_forms() -> None:
    word, table = campaign_schema()["properties"]["sending"]["properties"]["quiet_hours"]["anyOf"]
    assert word["enum"] == ["TCPA", "US-states"]
    assert table["required"] == ["from", "to"]
