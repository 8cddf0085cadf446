"""Reads a campaign file and reports all its problems together, in sentences that say what to do."""

from __future__ import annotations

import codecs
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from os.path import normpath
from pathlib import Path
from typing import Any

import tzlocal
from pydantic import ValidationError

from batchsend.campaigns.campaign import Campaign, Origin
from batchsend.campaigns.problems import KeyProblem, problems_of
from batchsend.campaigns.tables import MessageOptions
from batchsend.campaigns.types import ForbiddenMisfitError
from batchsend.campaigns.zones import known_zone
from batchsend.errors import CampaignError, ForbiddenFileError, unreadable
from batchsend.lists.headers import folded, match_key
from batchsend.lists.source import LIST_ENDINGS
from batchsend.utils.near_files import nearest_file

# Without .txt, which Notepad may have added to the name of a campaign file.
_LIST_ENDINGS = frozenset(LIST_ENDINGS) - {".txt"}
#: More than any campaign needs. A list that was named by mistake is not parsed.
MAX_BYTES = 1_000_000
_CURLY = re.compile("[“”„‟‘’‚‛«»]")
_STRAIGHT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_BACKSLASH = re.compile(r'"([^"]*\\[^"]*)"')
#: The beginning of tomllib's message -> the problem in plain words.
_PLAIN = (
    (
        "Invalid value",
        "this is not a valid value; put text in straight quotes, and write true and false in small letters",
    ),
    ("Invalid statement", "every line is `key = value`, a [section] or a # comment"),
    ("Expected '=' after a key", "every line is `key = value`, a [section] or a # comment"),
    (
        "Expected newline or end of document",
        "there is something after the value; put text in straight quotes",
    ),
    ("Cannot overwrite a value", "this key is in the file twice; keep one of them"),
    ("Cannot mutate", "this [section] or key is in the file twice; put its keys under one of them"),
    ("Duplicate inline table key", "this key is in the file twice; keep one of them"),
    ("Expected ']'", "a closing ] is missing"),
    ("Unclosed array", "a list has no closing ]"),
    ("Unclosed inline table", "a table in { } has no closing } on the same line"),
    ("Unterminated string", "a closing quote is missing"),
    ("Illegal character '\\n'", "a closing quote is missing at the end of the line"),
    ('Expected "\'"', "a closing quote is missing"),
    ("Expected \"'", "a closing quote is missing"),
    ("Illegal character", "there is an invisible control character here; delete it"),
)


def load_campaign(path: Path) -> Campaign:
    """Reads and checks the campaign file `path`. The files that it names are not opened.

    Raises `CampaignError` with every problem of the file.
    """
    return parse_campaign(path, _read(path))


def parse_campaign(path: Path, content: bytes) -> Campaign:
    """Parses `content` as the campaign file `path`. Raises `CampaignError` with every problem."""
    try:
        data = parse(content)
    except TomlError as error:
        raise CampaignError(path, str(error)) from error
    # Links of the folder are resolved, so that `..` means the same as for the system. A link to the file itself is
    # not: ledger and results stay in the folder of the name that the campaign is started by.
    absolute = path.parent.resolve() / path.name
    origin = Origin(absolute, hashlib.sha256(content).hexdigest(), data, list_folder=absolute.parent)
    problems: list[KeyProblem] = []
    refused = CampaignError
    try:
        campaign = Campaign.of(origin)
    except ValidationError as error:
        problems += problems_of(error, Campaign)
        if any(isinstance(one.get("ctx", {}).get("error"), ForbiddenMisfitError) for one in error.errors()):
            refused = ForbiddenFileError
    problems += across_keys(data)
    if problems:
        raise refused(path, [str(problem) for problem in _in_order(problems, data)])
    return campaign


def _read(path: Path) -> bytes:
    if path.suffix.lower() in _LIST_ENDINGS:
        raise CampaignError(path, "this looks like a list; name the campaign file (it ends in .toml) instead")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        near = nearest_file(path, [".toml"]) or nearest_file(path.parent / "campaigns" / path.name, [".toml"])
        hint = f"; did you mean {near}?" if near else ""
        raise CampaignError(path, f"there is no such file{hint}") from error
    except OSError as error:
        if path.is_dir():
            inside = ", ".join(sorted(file.name for file in path.glob("*.toml"))[:5])
            hint = f"name one of the campaigns in it: {inside}" if inside else "name a campaign file"
            raise CampaignError(path, f"this is a folder; {hint}") from error
        raise CampaignError(path, unreadable(error)) from error


# --- rules about several keys


def across_keys(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Checks rules about several keys on the raw data, so that these mistakes are reported with all others."""
    if "template" not in data and "template_by" not in data:
        yield KeyProblem("template", f"is missing. {Campaign.model_fields['template'].description}")
    if "template" in data and "template_by" in data:
        yield KeyProblem("template_by", "cannot be used together with `template`; keep one of them")
    yield from _template_cases(data)
    yield from _who_sends(data)
    yield from _columns(data)
    yield from _segments(data)
    if "formerly" in data and data["formerly"] == data.get("name"):
        yield KeyProblem("formerly", "is the same as `name`; write the earlier name or delete this line")
    recipients = _table(data, "recipients")
    for one, other in (("max_messages", "max_messages_days"), ("max_messages_days", "max_messages")):
        if one in recipients and other not in recipients:
            yield KeyProblem(f"recipients.{one}", f"needs `{other}` too")
    if _table(_table(data, "sending"), "quiet_hours").get("timezone", "recipient") != "recipient":
        for state in _table(data, "hours"):
            yield KeyProblem(
                f"hours.{state}",
                'is in the recipient\'s time; set timezone = "recipient" in `sending.quiet_hours`',
            )
    if isinstance(data.get("schedule"), Mapping) and len({"cron", "at"} & data["schedule"].keys()) != 1:
        yield KeyProblem("schedule", "expected either `cron` or `at`")
    if "timezone" not in data and not _local_zone_is_known():
        yield KeyProblem(
            "timezone",
            'is missing, and this computer\'s time zone is unknown; write one such as "America/Chicago"',
        )


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _template_cases(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Each template is listed once and each value has one template; a second one would be ignored silently."""
    paths: dict[str, str] = {}
    templates: dict[str, str] = {}
    for path, values in _table(_table(data, "template_by"), "cases").items():
        earlier_path = paths.setdefault(normpath(path.strip()), path)
        if earlier_path != path:
            yield KeyProblem(
                f"template_by.cases.{path}", f"is the same file as {earlier_path}; write it once"
            )
        for value in values if isinstance(values, list) else ():
            earlier = templates.setdefault(folded(str(value)), path)
            if earlier != path:
                yield KeyProblem(
                    f"template_by.cases.{path}",
                    f'"{value}" is also listed for {earlier} (letter case does not matter); keep one of them',
                )


def _who_sends(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    columns = _table(data, "columns")
    for key in ("department_uuid", "user_uuid"):
        if key in data and key in columns:
            yield KeyProblem(key, "is set here and under [columns]; keep one of them")
        elif key not in data and key not in columns:
            yield KeyProblem(
                key, f'is missing; write it here, or name its column under [columns]: {key} = "column name"'
            )


def _columns(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    first: dict[str, str] = {}
    columns = _table(data, "columns")
    if "lookup" in columns and "customer_uuid" in columns:
        yield KeyProblem(
            "columns.lookup",
            "finds the customers' ids, so `customer_uuid` cannot be set too; keep one of them",
        )
    for key, header in columns.items():
        if not isinstance(header, str) or not header.strip():
            continue
        earlier = first.setdefault(match_key(header), key)
        if earlier != key:
            yield KeyProblem(
                f"columns.{key}", f"is the same column as `{earlier}`; each needs a different column"
            )


def _segments(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """A text that is longer than a day's segments would wait forever."""
    a_day = _table(data, "sending").get("per_day_segments")
    longest = _table(data, "message").get("max_segments", MessageOptions.model_fields["max_segments"].default)
    if isinstance(a_day, int) and isinstance(longest, int) and a_day < longest:
        yield KeyProblem(
            "sending.per_day_segments",
            f"is {a_day}, but a text may have {longest} segments, and would never be sent; raise it, or lower "
            f"`max_segments` under [message]",
        )


def _local_zone_is_known() -> bool:
    try:
        # A zone that is set by a file alone has no IANA name.
        return known_zone(getattr(tzlocal.get_localzone(), "key", "")) is not None
    except (LookupError, ValueError, OSError):
        return False


# --- how problems are shown


def _in_order(problems: Iterable[KeyProblem], data: Mapping[str, Any]) -> list[KeyProblem]:
    """Sorts problems in the order of the file; missing keys of a table come first."""

    def place(problem: KeyProblem) -> list[int]:
        table: Any = data
        order = []
        for part in re.split(r"[.\[]", problem.key):
            keys = list(table) if isinstance(table, Mapping) else []
            order.append(keys.index(part) if part in keys else -1)
            table = table.get(part) if isinstance(table, Mapping) else None
        return order

    return sorted(problems, key=place)


class TomlError(ValueError):
    """The content is not valid TOML. The message is one sentence without the file's name."""


def parse(content: bytes) -> dict[str, Any]:
    """The data of a campaign file. Raises `TomlError`."""
    text = _decode(content)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(_explain(str(error), text)) from error
    except (RecursionError, ValueError) as error:
        raise TomlError("it has a number that is too long or lists that are nested too deeply") from error


def _decode(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise TomlError(
            "it is larger than 1 MB, too large for a campaign file; name the campaign file, not the list"
        )
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _looks_utf16(content):
        raise TomlError('it is saved as UTF-16 ("Unicode"); save it again with the encoding UTF-8')
    if b"\0" in content:
        raise TomlError("it is not a text file; name the campaign file, a text file that ends in .toml")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TomlError(
            f"line {line} holds a character that is not UTF-8; save the file again with the encoding UTF-8"
        ) from error


def _looks_utf16(content: bytes) -> bool:
    """Whether every other byte is zero, as in Latin text in UTF-16 without a byte order mark."""
    head = content[:200]
    return len(head) > 3 and (not any(head[1::2]) or not any(head[::2]))


def _explain(message: str, text: str) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    at = re.search(r"\(at line (\d+)", message)
    if at:
        number = int(at[1])
    else:  # "at end of document": the cause is an earlier line or the last line with text
        curly = (index for index, line in enumerate(lines, 1) if _has_curly_quotes(line))
        filled = [index for index, line in enumerate(lines, 1) if line.strip()]
        number = next(curly, filled[-1] if filled else 1)
    line = lines[number - 1]
    backslash = _BACKSLASH.search(line)
    if (
        message.startswith(("Unescaped '\\'", "Invalid hex value"))
        and backslash
        and "pass" not in line.lower()
    ):
        path = backslash[1]
        slashes = path.replace("\\", "/")
        reason = (
            "a backslash has a special meaning in double quotes; "
            f"write \"{slashes}\" or use single quotes: '{path}'"
        )
    elif _has_curly_quotes(line):
        reason = 'these are curly quotes; put straight quotes (") around the text'
    elif message.startswith("Cannot declare"):
        section = ".".join(re.findall("'(.*?)'", message))
        reason = f"the section [{section}] is in the file twice; put its keys under one of them"
    else:
        short = re.sub(r" \(at .*", "", message)
        reason = next(
            (plain for start, plain in _PLAIN if message.startswith(start)),
            f"this is not valid TOML: {short}",
        )
    return f"line {number}: {reason}"


def _has_curly_quotes(line: str) -> bool:
    """Whether there is a curly quote outside quoted text and comments."""
    return bool(_CURLY.search(_STRAIGHT.sub("", line).partition("#")[0]))
