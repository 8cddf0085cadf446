"""Writes the pages of the manual that come from the code: `python docs/make_reference.py`.

It writes all of `campaign-file.md`, `commands.md` and `statuses-and-codes.md`, and in `lists.md`, `python-api.md`,
`quiet-hours.md` and `sandbox.md` the part between two marks. It also writes `batchsend.1`, the page that
`man batchsend` shows, and `campaign.schema.json` for editors.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent
from typing import Any

import click

from batchsend import load_campaign, preview, send
from batchsend.campaigns.json_schema import SCHEMA_FILE, campaign_schema, schema_text
from batchsend.campaigns.problems import SECTIONS
from batchsend.campaigns.state_hours import TCPA, known_rules, left_out, window_words, words_of
from batchsend.campaigns.zones import state_name
from batchsend.cli.main import cli
from batchsend.lists.formats.detect import Format
from batchsend.reports.advice import BY_STATUS, REFUSALS, Advice, advise
from batchsend.sandbox.pages import scenarios_markdown
from batchsend.settings import (
    BASE_URL,
    CALLBACK_SECRET,
    CALLBACK_SIGNING_KEY,
    DEFAULT_BASE_URL,
    FOLDERS,
    LEDGER,
    LIST_DATABASE,
    PASSWORD,
    SMTP_URL,
    USERNAME,
    VARIABLES,
)
from batchsend.statuses import SKIPPED_CODES, Code, Status, Tally

DOCS = Path(__file__).parent
BEGIN, END = "<!-- made by make_reference.py: begin -->", "<!-- made by make_reference.py: end -->"
NOTE = "<!-- Made by docs/make_reference.py from the code; change it there. -->"

#: The table row of each list format.
_FORMATS = {
    "TEXT": "| `.csv`, `.tsv`, `.txt` | text in UTF-8 (with or without BOM), UTF-16 or Windows-1252; columns "
    "separated by comma, semicolon, tab or pipe |",
    "XLSX": "| `.xlsx`, `.xlsm` | the only visible sheet, or the one that `sheet` names |",
    "XLS": "| `.xls` | as `.xlsx` |",
    "ODS": "| `.ods` | as `.xlsx` |",
    "HTML": "| a web page, often named `.xls` | the table in it |",
    "SPREADSHEETML": "| an Excel 2003 workbook in XML, often named `.xls` | as `.xlsx` |",
    "PARQUET": "| `.parquet` | its table; needs the [feature](install.md#what-some-features-need) `parquet` |",
    "QUERY": "| `.sql` | the rows that the [query](#a-query-as-the-list) finds |",
    "EXTENSION": "| an ending that a [package](extending.md#a-list-source) adds | the rows that the package gives |",
}
_OWN_RESULTS = (
    "| a results workbook of batchsend | its sheet `Results`, without the columns that batchsend added |"
)

#: Our own codes by status, in the order of the page.
CODES: Mapping[Status, Sequence[Code]] = {
    Status.INVALID: (
        Code.MALFORMED_ROW,
        Code.MISSING_CUSTOMER_UUID,
        Code.INVALID_CUSTOMER_UUID,
        Code.CUSTOMER_NOT_FOUND,
        Code.CUSTOMER_AMBIGUOUS,
        Code.MISSING_PHONE,
        Code.INVALID_PHONE,
        Code.DAMAGED_VALUE,
        Code.MISSING_VALUE,
        Code.TEMPLATE_ERROR,
        Code.EMPTY_MESSAGE,
        Code.MESSAGE_TOO_LONG,
    ),
    Status.SKIPPED: (*(code for code in Code if code in SKIPPED_CODES), Code.CLOSED),
    Status.PENDING: (
        Code.HELD_BACK,
        Code.STOPPED,
        Code.QUIET_HOURS,
        Code.DAILY_CAP,
        Code.HOURLY_CAP,
        Code.NEEDS_APPROVAL,
    ),
    Status.UNCONFIRMED: (Code.TIMEOUT, Code.CONNECTION_LOST, Code.BAD_RESPONSE, Code.INTERRUPTED),
}


# --- the campaign file

_CAMPAIGN_INTRO = """\
# The campaign file

A campaign is a text file in [TOML](https://toml.io). It names the list, the text, the sender and the speed.
`batchsend new NAME` creates one that looks like this:

```toml
{example}```

- Every line is `key = value`. Put text in straight quotes. Anything after a `#` is a comment.
- The keys at the top come before the first `[section]`.
- Paths are relative to the folder of the campaign file. Write them with `/`, on Windows too.
- Unknown keys, wrong values and missing values are errors. All errors of a file are shown together, each with the
  expected value.
- Files that can hold passwords are refused as a list, a template, a file that a template includes, or a file with
  opt-outs: hidden files and files in hidden folders (`.env`, `.ssh/...`), files with names such as `prod.env`,
  `credentials.json`, `id_rsa` or `server.pem`, and files of the operating system (`/etc`, `/proc`). A link counts as
  the file that it leads to. It does not matter if the campaign file itself is in a hidden folder.
- A campaign file can name files in its own folder and the folders in it, and in the folders `templates`,
  `sample_data` and `lists` next to its own. For files elsewhere, write their folder into the setting
  [`BATCHSEND_FOLDERS`](commands.md#settings). `--list` can name a file in any folder.
- Credentials do not belong in a campaign file. They are [settings](commands.md#settings).
- Editors for TOML, such as VS Code with Even Better TOML, complete the file, explain its keys and mark mistakes: the
  first line, `#:schema ./campaign.schema.json`, names the schema in the same folder. Both are optional. For older
  files, write that line, and the schema with `batchsend schema --out campaign.schema.json`. The schema of this
  version is also [on this site](campaign.schema.json).

A key without a default is off unless you set it, or its description says otherwise.
"""


#: The key with a table for each state.
_BY_STATE = "hours"


def campaign_file() -> str:
    """The page about the campaign file's keys."""
    schema = campaign_schema()
    properties, required = schema["properties"], {*schema["required"]}
    template = (files("batchsend.campaigns") / "sample_files" / "campaign.toml").read_text(encoding="utf-8")
    parts = [NOTE, "", _CAMPAIGN_INTRO.format(example=template.replace("@NAME@", "spring"))]
    top = {key: value for key, value in properties.items() if key not in (*SECTIONS, _BY_STATE)}
    parts += ["## At the top of the file", "", *_key_table(top, required), ""]
    for section in SECTIONS:
        table = properties[section]
        parts += [f"## `[{section}]`", "", table["description"], ""]
        parts += [*_key_table(table["properties"]), ""]
    by_state = properties[_BY_STATE]
    parts += [f"## `[{_BY_STATE}.STATE]`", "", by_state["description"], ""]
    parts += [*_key_table(by_state["additionalProperties"]["properties"]), ""]
    return "\n".join(parts)


def _key_table(properties: Mapping[str, Any], required: Collection[str] = ()) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key, schema in properties.items():
        value, meaning = _kind(schema), schema["description"]
        if schema.get("type") == "object" and "properties" in schema:
            inner = "; ".join(
                f"`{name}`: {inner['description'].rstrip('.')}"
                for name, inner in schema["properties"].items()
            )
            meaning = f"{meaning} Its keys: {inner}."
        default = "required" if key in required else _default(schema)
        yield f"| `{key}` | {value} | {default} | {_cell(meaning)} |"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    kinds = schema.get("anyOf", ())
    words = [word for kind in kinds for word in kind.get("enum", [kind["const"]] if "const" in kind else ())]
    if words:
        quoted = (f'`"{word}"`' for word in words)
        return f"{' or '.join(quoted)} or a table: `{{ ... }}`"
    if "anyOf" in schema:
        return 'a duration: `"30s"`, `"15m"`, `"1h30m"`, or seconds'
    kind = schema["type"]
    if kind == "array":
        return 'list of texts: `["..."]`'
    if kind == "object":
        return "table: `{ ... }`"
    return {"string": "text", "boolean": "`true` or `false`", "number": "number", "integer": "whole number"}[
        kind
    ] + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    bounds = []
    if "exclusiveMinimum" in schema:
        bounds.append(f"above {schema['exclusiveMinimum']:g}")
    if "minimum" in schema:
        bounds.append(f"{schema['minimum']:,} or more")
    if "maximum" in schema:
        bounds.append(f"at most {schema['maximum']:,}")
    return f", {', '.join(bounds)}" if bounds else ""


def _default(schema: Mapping[str, Any]) -> str:
    match schema.get("default"):
        case None | [] | ():
            return ""
        case bool() as value:
            return f"`{str(value).lower()}`"
        case str() as value:
            return f'`"{value}"`'
        case value:
            return f"`{value:g}`"


# --- the commands

#: click adds `[x>=0]` to the help of a number and `0<=x<=65535` to its default.
_BOUNDS = re.compile(r" *\[x>=\d+\]|; \d+<=x<=\d+")
_SETTINGS = {
    BASE_URL: f"The address of the API. Default: `{DEFAULT_BASE_URL}`. Plain `http://` only for this computer.",
    USERNAME: "Your username for the myKaarma API.",
    PASSWORD: "Your password for it.",
    LEDGER: "The address of the [ledger](ledger.md). Default: `.batchsend/ledger.db` next to the campaign file.",
    LIST_DATABASE: "The address of the database for [queries as lists](lists.md#a-query-as-the-list).",
    FOLDERS: (
        "More folders whose files campaigns may [name](campaign-file.md): whole paths, with `:` between them (`;` on "
        "Windows)."
    ),
    SMTP_URL: (
        "The mail server for [notices](scheduling.md#notices), such as `smtp://user:password@mail.example.com` or "
        "`smtps://...`. `?from=ADDRESS` at its end sets the sender."
    ),
    CALLBACK_SECRET: "The secret in the address for [updates](callbacks.md). By default, one is created and kept.",
    CALLBACK_SIGNING_KEY: "The key that signs updates. By default, signatures are not checked.",
}
_COMMANDS_INTRO = """\
# Commands

`batchsend --help` lists the commands, and `batchsend COMMAND --help` explains one. On Linux and macOS,
`man batchsend` shows them all, where pip or pipx installed batchsend. CAMPAIGN is the path of a
[campaign file](campaign-file.md). RUN is the number of a run, as shown by `batchsend runs`. The
[exit code](results.md#exit-codes) says how a command ended.
"""
_SETTINGS_INTRO = """\
## Settings

Each setting comes from the environment, or else from a file named `.env` next to the campaign file, or else from a
`.env` in the current folder. A line of `.env` is `NAME=value`. Only `send` without `--sandbox` needs the username and
the password.
"""


def commands_of(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """The name and command of each command and subcommand (`optouts add`), in order."""
    for name, command in group.commands.items():
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{prefix}{name} ")


def _help(command: click.Command) -> str:
    """A command's help; its indented lines, which click keeps as they are after a backspace, become a block."""
    text = cleandoc(command.help or "")
    return re.sub(
        r"\x08\n(.*)\n((?: .*\n?)+)", lambda found: f"{found[1]}\n\n```\n{dedent(found[2])}\n```", text
    )


def commands() -> str:
    """The page about the command line."""
    parts = [NOTE, "", _COMMANDS_INTRO]
    for name, command in commands_of(cli):
        with click.Context(command, info_name=f"batchsend {name}") as context:
            usage = " ".join(["batchsend", name, *command.collect_usage_pieces(context)])
            parts += [f"## `batchsend {name}`", "", _help(command), "", "```", usage, "```", ""]
            options = [option for option in command.params if isinstance(option, click.Option)]
            records = filter(None, [option.get_help_record(context) for option in options])
            table = [f"| `{option}` | {_cell(_BOUNDS.sub('', meaning))} |" for option, meaning in records]
        if table:
            parts += ["| option | meaning |", "| --- | --- |", *table, ""]
    parts += [_SETTINGS_INTRO, "| setting | meaning |", "| --- | --- |"]
    parts += [f"| `{variable}` | {_SETTINGS[variable]} |" for variable in VARIABLES]
    return "\n".join([*parts, ""])


# --- the man page

_MAN_TITLE = """\
.\\" Made by docs/make_reference.py from the code; change it there.
.TH BATCHSEND 1
.SH NAME
batchsend \\- {summary}
.SH SYNOPSIS
.B batchsend
.I COMMAND
[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]
.SH DESCRIPTION"""
_MAN_END = """\
.SH SEE ALSO
The manual, which begins with docs/README.md in the source, explains campaign files, lists, templates and results."""
#: Markdown that a man page shows in another way.
_LINK, _CODE = re.compile(r"\[([^]]+)\]\([^)]+\)"), re.compile(r"`([^`]+)`")


def man_page() -> str:
    """The man page, from the same help texts as `--help`."""
    summary, *more = cleandoc(cli.help or "").split("\n\n")
    parts = [_MAN_TITLE.format(summary=_roff(summary.rstrip("."))), *_man_paragraphs(more), ".SH COMMANDS"]
    for name, command in commands_of(cli):
        with click.Context(command, info_name=f"batchsend {name}") as context:
            usage = " ".join(["batchsend", name, *command.collect_usage_pieces(context)])
            options = [option for option in command.params if isinstance(option, click.Option)]
            records = filter(None, [option.get_help_record(context) for option in options])
            parts += [f'.SS "{_roff(usage)}"', *_man_paragraphs(cleandoc(command.help or "").split("\n\n"))]
            parts += _man_list((option, _BOUNDS.sub("", meaning)) for option, meaning in records)
    parts += [".SH ENVIRONMENT", _roff(_SETTINGS_INTRO.split("\n\n", 1)[1].strip())]
    parts += _man_list((variable, _SETTINGS[variable]) for variable in VARIABLES)
    codes = (DOCS / "results.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    parts += [".SH EXIT STATUS", *_man_list(re.findall(r"^\| (\d+) \| (.*) \|$", codes, re.MULTILINE))]
    return "\n".join([*parts, _MAN_END, ""])


def _man_paragraphs(paragraphs: Sequence[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        # What click shows line by line begins with this character.
        as_it_is = paragraph.startswith("\b\n")
        yield from [".nf", _roff(paragraph.removeprefix("\b\n")), ".fi"] if as_it_is else [_roff(paragraph)]


def _man_list(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in entries:
        yield from (".TP", f".B {_roff(term)}", _roff(" ".join(meaning.split())))


def _roff(text: str) -> str:
    """Text for a man page: without Markdown, and nothing in it is taken for a request."""
    plain = _LINK.sub(r"\1", text).replace("**", "").replace("\\", "\\e").replace("-", "\\-")
    bold = _CODE.sub(r"\\fB\1\\fR", plain)
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in bold.split("\n"))


# --- statuses and codes

_STATUSES_INTRO = """\
# Statuses and codes

Each row of the [results](results.md) has a status. The codes in `errorCodes` give the reason; several are joined by
`; `. The sheet `Problems` has the same explanations.

## Statuses
"""
_GROUPS = ("taken", "left_out", "needs_you", "waits", "ready")
_GROUP_WORDS = dict(
    zip(
        _GROUPS,
        ("accepted by myKaarma", "skipped", "need attention", "waiting", "ready to send"),
        strict=True,
    )
)
_UNCONFIRMED_INTRO = """\
Handle all of these rows, and those with a code of myKaarma, in the same way: see
[what to do with `unconfirmed` rows](safe-sending.md#what-to-do-with-unconfirmed-rows).
"""
_REFUSALS_INTRO = """\
## Codes of myKaarma: `failed`

myKaarma's reasons for refusing a text; nothing was sent. Codes that are not listed here are recorded as they are.

Some refusals are about the credentials, the sender or the day, and every row would get them. They stop the run, and
this row and the rest stay `pending` `STOPPED`: fix the cause and run the same command again. If the department or the
user comes from a column of the list, only that row fails.
"""
_HTTP_INTRO = """\
## `HTTP_...`: an answer without a code

If myKaarma refuses a text without giving a code, the code is the HTTP status.
"""


def statuses_and_codes() -> str:
    """The page about the columns `status` and `errorCodes`."""
    parts = [NOTE, "", _STATUSES_INTRO, "| status | counts as | what it means | what to do |"]
    parts += ["| --- | --- | --- | --- |"]
    for status in Status:
        advice = BY_STATUS[status]
        parts.append(
            f"| `{status}` | {_group(status)} | {_cell(advice.meaning)} | {_cell(advice.with_command)} |"
        )
    for status, codes in CODES.items():
        parts += ["", f"## Codes of batchsend: `{status}`", ""]
        if status is Status.UNCONFIRMED:
            parts += [_UNCONFIRMED_INTRO, *_meaning_table(status, codes)]
        else:
            parts += _code_table(status, codes)
    parts += ["", _REFUSALS_INTRO, *_code_table(Status.FAILED, REFUSALS)]
    refused = ("HTTP_307", "HTTP_403", "HTTP_404", "HTTP_413", "HTTP_422")
    parts += ["", _HTTP_INTRO, *_code_table(Status.FAILED, refused), ""]
    return "\n".join(parts)


def _group(status: Status) -> str:
    tally = Tally.of({status: 1})
    return next(_GROUP_WORDS[group] for group in _GROUPS if getattr(tally, group))


def _code_table(status: Status, codes: Iterator[str] | Sequence[str] | Mapping[str, Any]) -> Iterator[str]:
    yield "| code | what it means | what to do |"
    yield "| --- | --- | --- |"
    same: dict[Advice, list[str]] = {}
    for code in codes:
        same.setdefault(advise(status, code), []).append(code)
    for advice, alike in same.items():
        names = ", ".join(f"`{code}`" for code in alike)
        yield f"| {names} | {_cell(advice.meaning)} | {_cell(advice.with_command)} |"


def _meaning_table(status: Status, codes: Sequence[str]) -> Iterator[str]:
    yield "| code | what it means |"
    yield "| --- | --- |"
    for code in codes:
        yield f"| `{code}` | {_cell(advise(status, code).meaning)} |"


# --- all of it


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def sandbox() -> str:
    """The page about the sandbox, with the table of scenarios."""
    return _between_marks("sandbox.md", scenarios_markdown())


def lists() -> str:
    """The page about lists, with its table of formats."""
    rows = [_FORMATS[name] for name in Format.__members__]
    return _between_marks(
        "lists.md", "\n".join(["| file | read as |", "| --- | --- |", *rows, _OWN_RESULTS, ""])
    )


def python_api() -> str:
    """The page about the Python API, with what the functions take."""
    parts = []
    for function in (load_campaign, preview, send):
        parts += ["```", *_signature(function), "```", "", cleandoc(function.__doc__ or ""), ""]
    return _between_marks("python-api.md", "\n".join(parts))


def _signature(function: Callable[..., Any]) -> Iterator[str]:
    """The signature, one parameter a line."""
    signature = inspect.signature(function)
    yield f"{function.__name__}("
    before = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for parameter in signature.parameters.values():
        if parameter.kind is not before:
            yield "    *,"
        before = parameter.kind
        # Annotations are texts, which are shown in quotes.
        yield f"    {parameter},".replace("'", "")
    # `preview` is used with `with`.
    yield f") -> {signature.return_annotation}".replace("Iterator[", "AbstractContextManager[")


def quiet_hours() -> str:
    """The page about quiet hours, with the hours of states."""
    everywhere = (
        f"Everywhere: {window_words(TCPA)} (47 CFR § 64.1200(c)(1)). Texts may go out in these states only:"
    )
    table = ["| state | texts may go out | law | checked |", "| --- | --- | --- | --- |"]
    for known in known_rules():
        hours = "<br>".join(f"{days}: {hours}" for days, hours in words_of(known.rule))
        law = f"{known.statute}. {known.note}" if known.note else known.statute
        table.append(f"| {state_name(known.state)} | {_cell(hours)} | {_cell(law)} | {known.checked} |")
    reasons = [f"- {state_name(state)}: {reason}" for state, reason in left_out().items()]
    parts = [everywhere, "", *table, "", "Checked, not applied:", "", *reasons, ""]
    return _between_marks("quiet-hours.md", "\n".join(parts))


def _between_marks(page: str, made: str) -> str:
    before, _, rest = (DOCS / page).read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n{END}{rest.partition(END)[2]}"


PAGES = {
    SCHEMA_FILE: schema_text,
    "batchsend.1": man_page,
    "campaign-file.md": campaign_file,
    "commands.md": commands,
    "statuses-and-codes.md": statuses_and_codes,
    "lists.md": lists,
    "python-api.md": python_api,
    "quiet-hours.md": quiet_hours,
    "sandbox.md": sandbox,
}


def main() -> int:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
