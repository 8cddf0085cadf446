"""Reads a campaign file: all that is wrong with it at once, in sentences that say what to do."""

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
from batchsend.campaigns.types import ForbiddenMisfitError
from batchsend.errors import CampaignError, ForbiddenFileError
from batchsend.lists.headers import folded, match_key, nearest
from batchsend.lists.source import LIST_ENDINGS

# Notepad may have added .txt to the name of a campaign file.
_LIST_ENDINGS = frozenset(LIST_ENDINGS) - {".txt"}
#: Far more than any campaign needs; keeps a list that was named by mistake out of the parser.
MAX_BYTES = 1_000_000
_CURLY = re.compile("[“”„‟‘’‚‛«»]")
_STRAIGHT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_BACKSLASH = re.compile(r'"([^"]*\\[^"]*)"')
#: What tomllib says -> what that means to somebody who does not know TOML.
_PLAIN = (
    (
        "Invalid value",
        "there is no valid value here; text stands in straight quotes, and true and false in small letters",
    ),
    ("Invalid statement", "every line is `key = value`, a [section] or a # comment"),
    ("Expected '=' after a key", "every line is `key = value`, a [section] or a # comment"),
    (
        "Expected newline or end of document",
        "something is left over behind the value; text stands in straight quotes",
    ),
    ("Cannot overwrite a value", "this key is there twice; keep one of them"),
    ("Cannot declare", "this [section] is there twice; put its keys together under one"),
    ("Cannot mutate", "this [section] or key is there twice; put its keys together under one"),
    ("Duplicate inline table key", "this key is there twice; keep one of them"),
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
    """Reads and checks the campaign file `path`. Its paths are resolved, not opened.

    Raises `CampaignError` with every problem of the file.
    """
    return parse_campaign(path, _read(path))


def parse_campaign(path: Path, content: bytes) -> Campaign:
    """The campaign that the file `path` would be with this content. Raises `CampaignError` with every problem."""
    try:
        data = parse(content)
    except TomlError as error:
        raise CampaignError(path, str(error)) from error
    # The folder's links are followed, so that `..` means what the system means by it. The file's own is not:
    # what is kept beside a campaign stays beside the name it is started by.
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
        raise CampaignError(path, f"there is no such file{_meant(path)}") from error
    except OSError as error:
        if path.is_dir():
            inside = ", ".join(sorted(file.name for file in path.glob("*.toml"))[:5])
            hint = f"name one of the campaigns in it: {inside}" if inside else "name a campaign file"
            raise CampaignError(path, f"this is a folder; {hint}") from error
        raise CampaignError(path, f"it cannot be read: {error.strerror or error}") from error


def _meant(path: Path) -> str:
    """The campaign beside it that was probably meant."""
    try:
        names = sorted(file.name for file in path.parent.glob("*.toml"))
    except OSError:
        return ""
    near = nearest(path.name, names) or nearest(f"{path.stem}.toml", names)
    return f"; did you mean {path.parent / near}?" if near else ""


# --- rules that more than one key takes part in


def across_keys(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Works on the file's data as it stands, so that these mistakes show beside all others."""
    if "template" not in data and "template_by" not in data:
        yield KeyProblem("template", f"is missing. {Campaign.model_fields['template'].description}")
    if "template" in data and "template_by" in data:
        yield KeyProblem("template_by", "stands beside `template`; keep one of them")
    yield from _template_cases(data)
    yield from _who_sends(data)
    yield from _columns(data)
    if "formerly" in data and data["formerly"] == data.get("name"):
        yield KeyProblem("formerly", "is the same as `name`; write the earlier name, or take it out")
    recipients = _table(data, "recipients")
    for one, other in (("max_messages", "max_messages_days"), ("max_messages_days", "max_messages")):
        if one in recipients and other not in recipients:
            yield KeyProblem(f"recipients.{one}", f"needs `{other}` beside it")
    if isinstance(data.get("schedule"), Mapping) and len({"cron", "at"} & data["schedule"].keys()) != 1:
        yield KeyProblem("schedule", "expected either `cron` or `at`")
    if "timezone" not in data and not _local_zone_is_known():
        yield KeyProblem(
            "timezone", 'is missing, and this computer\'s is not known; write "America/Chicago" or the like'
        )


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _template_cases(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Each file stands once and each value has one template: of two, one would be passed over in silence."""
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
                    f'"{value}" stands under {earlier} too (letter case does not count); keep one of them',
                )


def _who_sends(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    columns = _table(data, "columns")
    for key in ("department_uuid", "user_uuid"):
        if key in data and key in columns:
            yield KeyProblem(key, "stands here and under [columns] too; keep one of them")
        elif key not in data and key not in columns:
            yield KeyProblem(
                key, f"is missing; write it here, or under [columns] as {key} = the name of its column"
            )


def _columns(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    first: dict[str, str] = {}
    for key, header in _table(data, "columns").items():
        if not isinstance(header, str) or not header.strip():
            continue
        earlier = first.setdefault(match_key(header), key)
        if earlier != key:
            yield KeyProblem(f"columns.{key}", f"is the same column as `{earlier}`; each needs its own")


def _local_zone_is_known() -> bool:
    try:
        tzlocal.get_localzone()
    except (LookupError, ValueError, OSError):
        return False
    return True


# --- what is shown


def _in_order(problems: Iterable[KeyProblem], data: Mapping[str, Any]) -> list[KeyProblem]:
    """In the order of the file; what is missing from a table comes first."""

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
    """One sentence, without the file's name."""


def parse(content: bytes) -> dict[str, Any]:
    """The data of a campaign file. Raises `TomlError`."""
    text = _decode(content)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(_explain(str(error), text)) from error
    except (RecursionError, ValueError) as error:
        raise TomlError("it holds a number or a list of lists that no campaign needs") from error


def _decode(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise TomlError("it is larger than 1 MB and so no campaign file; is it the list?")
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
    """Every other byte of Latin text without a byte order mark is zero."""
    head = content[:200]
    return len(head) > 3 and (not any(head[1::2]) or not any(head[::2]))


def _explain(message: str, text: str) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    at = re.search(r"\(at line (\d+)", message)
    if at:
        number = int(at[1])
    else:  # "at end of document": the cause stands earlier, or in the last line that says anything
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
            "a backslash in double quotes has a meaning of its own; "
            f"write \"{slashes}\" or use single quotes: '{path}'"
        )
    elif _has_curly_quotes(line):
        reason = 'curly quotes do not count as quotes; write straight ones (") around the text'
    else:
        said = re.sub(r" \(at .*", "", message)
        reason = next(
            (plain for start, plain in _PLAIN if message.startswith(start)), f"this is not valid TOML: {said}"
        )
    return f"line {number}: {reason}"


def _has_curly_quotes(line: str) -> bool:
    """Whether a curly quote stands where a straight one should: outside quoted text and comments."""
    return bool(_CURLY.search(_STRAIGHT.sub("", line).partition("#")[0]))
