"""The types of the values in a campaign file, with the words for what is expected.

Each is an `Annotated` type whose validator converts a TOML value or raises `MisfitError`. The validation context
gives the folder for relative paths, under the field's name or under `directory`.
"""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from os.path import normpath
from pathlib import Path
from typing import Annotated, ClassVar

from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from batchsend.campaigns.cron import NICKNAMES, cron_problem, five_fields
from batchsend.campaigns.zones import known_zone, nearest_zone
from batchsend.lists.headers import match_key, nearest
from batchsend.settings import FOLDERS, load_settings
from batchsend.utils.near_files import lock_target
from batchsend.utils.net import is_this_machine, web_address
from batchsend.utils.protected_files import folders_of_campaign, is_in, refusal


class Table(BaseModel):
    """A table of the file. Values are never converted from another type, and unknown keys are errors.

    `wrong_keys`: keys that people may expect here, and what to write instead.
    """

    wrong_keys: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MisfitError(ValueError):
    """A value is not valid. `expected` completes "expected ..."; `hint` says how to fix it.

    `show` is off if the message must not repeat the value, because it may hold a password.
    """

    def __init__(self, expected: str, hint: str = "", *, show: bool = True) -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint
        self.show = show


class ForbiddenMisfitError(MisfitError):
    """The path of a file that batchsend must not read."""


def did_you_mean(name: str | None) -> str:
    return f'did you mean "{name}"?' if name else ""


# --- text


def _not_blank(value: str) -> str:
    if not (text := value.strip()):
        raise MisfitError("text that is not blank")
    return text


def _name(value: str) -> str:
    # A name identifies the campaign's history, so spellings that look the same must be the same.
    text = unicodedata.normalize("NFC", value.strip())
    if not 1 <= len(text) <= 100 or not text.isprintable():
        raise MisfitError("1 to 100 printable characters on one line")
    return text


def _uuid(value: str) -> str:
    text = value.strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", text):
        raise MisfitError(
            "1 to 128 letters, digits, hyphens or underscores", "copy it from myKaarma unchanged"
        )
    return text


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise MisfitError("text on one line")
    return value.strip()


def _currency(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", value):
        raise MisfitError("a currency code of three capital letters, such as USD")
    return value


Currency = Annotated[str, AfterValidator(_currency), Field(json_schema_extra={"pattern": "^[A-Z]{3}$"})]
Text = Annotated[str, AfterValidator(_not_blank), Field(json_schema_extra={"minLength": 1})]
Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"minLength": 1, "maxLength": 100})]
ApiUuid = Annotated[
    str, AfterValidator(_uuid), Field(json_schema_extra={"pattern": r"^\s*[A-Za-z0-9_-]{1,128}\s*$"})
]
OneLine = Annotated[str, AfterValidator(_one_line), Field(max_length=160)]


def _distinct(headers: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for header in headers:
        fold = match_key(header)
        if fold in seen:
            raise MisfitError("different columns", f'"{seen[fold]}" and "{header}" are the same column')
        seen[fold] = header
    return headers


# TOML has lists and frozen models need tuples, so only the tuple is not strict.
Texts = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
Headers = Annotated[Texts, AfterValidator(_distinct)]


# --- files


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str):
        raise MisfitError("the path of a file, in quotes")
    text = value.strip()
    if not text:
        raise MisfitError("the path of a file")
    if not text.isprintable():
        # "C:\new\table.csv" is valid TOML: the backslashes became a line break and a tab.
        hint = (
            "in double quotes \\n and \\t are a line break and a tab; "
            "write C:/lists/x.csv or use single quotes"
        )
        raise MisfitError("a path without control characters", hint)
    if "://" in text:
        raise MisfitError(
            "the path of a file", "a web address cannot be read: save the file first", show=False
        )
    if (locked := lock_target(Path(text))) is not None:
        raise MisfitError(
            "a path", f"this is a lock file, which exists while {locked} is open: name {locked}"
        )
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise MisfitError(
            "a path", "the home folder in this path is unknown: write the whole path"
        ) from error
    context = info.context or {}
    directory = context.get(info.field_name) or context.get("directory")
    if not directory:
        return path
    whole = Path(normpath(directory / path))
    if (why := refusal(whole, context.get("directory"))) is not None:
        raise ForbiddenMisfitError("a file that may be shown and sent", f"{why}: name another file")
    if info.field_name not in context.get("anywhere", ()):
        _check_folder(whole, context["directory"])
    return whole


def _check_folder(path: Path, directory: Path) -> None:
    if not in_campaign_folders(path, directory):
        raise ForbiddenMisfitError(
            "a file in the campaign's folder",
            f"{path.parent} is another one: copy the file, or add that folder to the setting {FOLDERS}",
        )


def in_campaign_folders(path: Path, directory: Path) -> bool:
    """May a campaign file in `directory` name files of this folder? A link counts as the file that it leads to."""
    return is_in(path, folders_of_campaign(directory)) or is_in(
        path, load_settings(directory, Path.cwd(), os.environ).file_folders
    )


FilePath = Annotated[
    Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1}, mode="validation")
]
FilePaths = Annotated[tuple[FilePath, ...], Field(strict=False)]


#: The beginning of the ids that `batchsend new` writes as placeholders.
SAMPLE_ID = "put-your-"


def is_pattern(path: object) -> bool:
    """Whether `path` is a pattern for the newest of several files. Brackets do not count: downloads have them."""
    text = str(path) if isinstance(path, str | Path) else ""
    return "://" not in text and any(sign in text for sign in "*?")


#: The encodings that lists come in, by Python's names and by those of Excel and Notepad.
_ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8-bom": "utf-8",
    "utf-16": "utf-16",
    "unicode": "utf-16",
    "windows-1252": "windows-1252",
    "win-1252": "windows-1252",
    "ansi": "windows-1252",
    "western european": "windows-1252",
    "iso-8859-1": "iso-8859-1",
    "latin-1": "latin-1",
    "ascii": "ascii",
    "mac-roman": "mac-roman",
    "macintosh": "mac-roman",
}
#: Names of delimiters -> how a campaign file writes the delimiter.
_DELIMITERS = {
    "\\t": "\\t",
    "tab": "\\t",
    "tabulator": "\\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "vertical bar": "|",
    "colon": ":",
    "space": " ",
}


def _encoding(value: str) -> str:
    try:
        "".encode(codecs.lookup(value).name)
    except (LookupError, ValueError) as error:
        meant = _ENCODINGS.get(near) if (near := nearest(value, _ENCODINGS)) else None
        raise MisfitError(
            "a text encoding such as utf-8, windows-1252 or utf-16", did_you_mean(meant)
        ) from error
    return value


def _delimiter(value: str) -> str:
    if sign := _DELIMITERS.get(value.strip().casefold()):
        name = "tab" if sign == "\\t" else value.strip().casefold()
        raise MisfitError("one character", f'for a {name} write "{sign}" in double quotes')
    if len(value) != 1 or value.isalnum() or value in "\"'\r\n":
        raise MisfitError('one character such as "," or ";" or "\\t"')
    return value


EncodingName = Annotated[str, AfterValidator(_encoding)]
Delimiter = Annotated[
    str, AfterValidator(_delimiter), Field(json_schema_extra={"minLength": 1, "maxLength": 1})
]


# --- times

_DURATION = re.compile(r"(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s)?", re.ASCII | re.IGNORECASE)
_LONGEST = timedelta(days=366)


def parse_duration(value: object) -> timedelta:
    """Parses `"1h30m"`, `"20h"`, `"30s"`, `"2d"` or a number of seconds: above 0, at most 366 days."""
    wrong = MisfitError(
        'a length of time such as "30s", "15m", "1h30m" or a number of seconds, at most 366 days'
    )
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
        if max(days, hours, minutes, seconds) > _LONGEST.total_seconds():
            raise wrong
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    elif (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value <= _LONGEST.total_seconds()
    ):
        duration = timedelta(seconds=value)
    else:
        raise wrong
    if not timedelta(0) < duration <= _LONGEST:
        raise wrong
    return duration


def _cron(value: str) -> str:
    expression = five_fields(value)
    if (problem := cron_problem(expression)) is not None:
        hint = problem or did_you_mean(nearest(value, NICKNAMES))
        raise MisfitError('five fields as in crontab(5), such as "0 10 * * MON-FRI"', hint)
    return expression


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0}]}, mode="validation"
    ),
]
Cron = Annotated[str, AfterValidator(_cron)]


def _zone(value: str) -> str:
    name = value.strip()
    if known_zone(name) != name:
        raise MisfitError("a time zone name such as America/Chicago", did_you_mean(nearest_zone(name)))
    return name


def _recipient_zone(value: str) -> str:
    if value == "recipient":
        return value
    try:
        return _zone(value)
    except MisfitError as error:
        near = nearest(value, ["recipient"])
        hint = did_you_mean(near) if near else error.hint
        raise MisfitError(f'"recipient" or {error.expected}', hint) from error


ZoneName = Annotated[str, AfterValidator(_zone)]
RecipientZone = Annotated[str, AfterValidator(_recipient_zone)]


# --- phones and web addresses

_REGIONS = {
    "UK": "GB",
    "USA": "US",
    "UNITED STATES": "US",
    "CAN": "CA",
    "CANADA": "CA",
    "MEX": "MX",
    "MEXICO": "MX",
}


def region_of(value: str) -> str:
    """The ISO 3166 code of a country that phone numbers are known for. Raises `MisfitError` with the one meant."""
    region = value.strip()
    if region not in SUPPORTED_REGIONS:
        plain = region.upper().replace(".", "")
        meant = plain if plain in SUPPORTED_REGIONS else _REGIONS.get(nearest(plain, _REGIONS) or "")
        raise MisfitError('a country as two capital letters, such as "US"', did_you_mean(meant))
    return region


def _callback_url(value: str) -> str:
    url = value.strip()
    wrong = MisfitError("a web address that begins with https://", show="@" not in url)
    try:
        parts = web_address(url)
    except ValueError as error:
        raise wrong from error
    host = parts.hostname or ""
    if "@" in parts.netloc:
        wrong.hint = "a campaign file must not hold credentials: remove them"
        raise wrong
    if host == "your-host":
        wrong.hint = "write the name of your server in place of YOUR-HOST"
        raise wrong
    if parts.scheme == "http" and not is_this_machine(host):
        wrong.hint = "plain http:// is not encrypted and is allowed only for this computer"
        raise wrong
    return url


def _address(value: str) -> str:
    address = value.strip()
    if not _ADDRESS.fullmatch(address):
        raise MisfitError("an e-mail address such as manager@example.com")
    return address


#: One line, with a name and a host; whether it exists, only the mail server knows.
_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\"]+")


def _metadata(value: dict[str, str]) -> dict[str, str]:
    for key in value:
        if key.casefold().startswith("batchsend"):
            hint = f'"{key}" is reserved: names that begin with "batchsend" identify the message'
            raise MisfitError("other names", hint, show=False)
    return value


Region = Annotated[str, AfterValidator(region_of), Field(json_schema_extra={"minLength": 2, "maxLength": 2})]
CallbackUrl = Annotated[str, AfterValidator(_callback_url), Field(json_schema_extra={"format": "uri"})]
Addresses = Annotated[tuple[Annotated[Text, AfterValidator(_address)], ...], Field(strict=False)]
Notifiers = Annotated[dict[Text, str], Field()]
Metadata = Annotated[dict[str, str], AfterValidator(_metadata)]
