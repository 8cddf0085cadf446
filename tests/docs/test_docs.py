"""The manual is correct: its examples run, its links work, and its reference matches the code."""

from __future__ import annotations

import csv
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from world import BATCHSEND, World, running_sandbox

from batchsend import load_campaign
from batchsend.campaigns.json_schema import campaign_schema
from batchsend.cli.main import cli
from batchsend.exits import Exit
from batchsend.messages.environment import _TEXT_FILTERS
from batchsend.messages.sms import normalize
from batchsend.messages.template import MessageTemplate
from batchsend.settings import VARIABLES
from batchsend.statuses import Code

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, without its indentation; `shows` is the `text` block right after it, if any."""

    page: Path
    line: int
    language: str
    text: str
    shows: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of all pages in one of these languages."""
    found = []
    for page in PAGES:
        text = text_of(page)
        fences = list(FENCE.finditer(text))
        for fence, following in pairwise([*fences, None]):
            if fence is not None and fence["language"] in languages:
                shows = None
                if (
                    following
                    and following["language"] == "text"
                    and not text[fence.end() : following.start()].strip()
                ):
                    shows = following["text"].rstrip("\n")
                line = text.count("\n", 0, fence.start()) + 1
                found.append(Block(page, line, fence["language"], textwrap.dedent(fence["text"]), shows))
    assert found, languages
    return found


def inline_code() -> Iterator[tuple[str, str]]:
    """(page, code) for everything between single backticks, outside of fenced blocks."""
    for page in PAGES:
        for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCE.sub("", text_of(page))):
            yield page.name, code


# --- the reference


def make_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = make_reference()


@pytest.mark.parametrize("name", _TEXT_FILTERS)
def test_the_manual_explains_every_filter(name: str) -> None:
    rows = [line.split("|")[1] for line in text_of(DOCS / "templates.md").splitlines() if line[:1] == "|"]
    assert any(re.search(rf"`{name}\b", first_cell) for first_cell in rows)


@pytest.mark.parametrize("name", REFERENCE.PAGES)
def test_the_reference_matches_the_code(name: str) -> None:
    # To update the pages: python docs/make_reference.py
    assert text_of(DOCS / name) == REFERENCE.PAGES[name]()


def test_the_reference_explains_each_of_our_codes_once() -> None:
    listed = [code for codes in REFERENCE.CODES.values() for code in codes]
    assert sorted(listed) == sorted(Code)


def test_all_exit_codes_are_explained() -> None:
    section = text_of(DOCS / "results.md").partition("## Exit codes")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == set(Exit)


# --- examples


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_campaign_files_in_the_manual_load(block: Block, tmp_path: Path) -> None:
    usual = {
        "name": '"Spring"',
        "list": '"list.csv"',
        "template": '"text.txt.j2"',
        "department_uuid": '"3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"',
        "user_uuid": '"Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"',
    }
    top = block.text.partition("\n[")[0] if not block.text.startswith("[") else ""
    given = {match[1] for match in re.finditer(r"^(\w+) =", top, re.MULTILINE)}
    if "template_by" in given:
        del usual["template"]
    missing = [f"{key} = {value}" for key, value in usual.items() if key not in given]
    file = tmp_path / "campaign.toml"
    file.write_text("\n".join([*missing, block.text]), encoding="utf-8")
    assert load_campaign(file).path == file


def sample_list(page: Path) -> tuple[list[str], list[str]]:
    """Headers and first row of the list on the page, or else of the one that `batchsend new` writes."""
    shown = [block.text for block in blocks("csv") if block.page == page]
    text = (
        shown[0]
        if shown
        else (ROOT / "batchsend/campaigns/sample_files/customers.csv").read_text(encoding="utf-8")
    )
    headers, first, *_ = csv.reader(text.splitlines())
    return headers, first


def rendered(template: str, headers: list[str], row: list[str], folder: Path) -> str:
    file = folder / "text.txt.j2"
    file.write_text(template, encoding="utf-8")
    return normalize(MessageTemplate.load(file, headers).render(row))


@pytest.mark.parametrize("block", blocks("jinja"), ids=str)
def test_templates_in_the_manual_give_the_text_below_them(block: Block, tmp_path: Path) -> None:
    text = rendered(block.text, *sample_list(block.page), tmp_path)
    assert text
    if block.shows is not None:
        assert text == block.shows


def filter_rows() -> list[tuple[str, str, str]]:
    """(filter, from, to) for each value of the table of filters."""
    section = text_of(DOCS / "templates.md").partition("| filter |")[2].partition("\n\n")[0]
    rows = []
    for line in section.splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[1]:
            (name,), given, expected = cells
            rows += [(name, value, expected[number % len(expected)]) for number, value in enumerate(given)]
    return rows


@pytest.mark.parametrize(("name", "given", "expected"), filter_rows())
def test_filters_match_their_table(name: str, given: str, expected: str, tmp_path: Path) -> None:
    assert rendered(f"{{{{ value | {name} }}}}", ["Value"], [given], tmp_path) == expected


@pytest.mark.system
def test_python_examples_print_the_text_below_them(tmp_path: Path) -> None:
    for folder in ("campaigns", "templates", "sample_data"):
        ignored = shutil.ignore_patterns(".batchsend", "results", "previews", ".env")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for campaign in (tmp_path / "campaigns").glob("*.toml"):
        quick = re.sub(
            r"^rate = \d+", "rate = 1000", campaign.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        campaign.write_text(quick, encoding="utf-8")
    with running_sandbox(tmp_path) as sandbox:
        world = World(tmp_path, sandbox.base_url)
        for block in blocks("python"):
            done = subprocess.run(
                [sys.executable, "-c", block.text],
                cwd=tmp_path,
                env=world.env(),
                capture_output=True,
                encoding="utf-8",
                timeout=60,
            )
            assert (done.stderr, done.stdout.rstrip("\n")) == ("", block.shows), str(block)


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "results.md"], ids=lambda page: page.name)
def test_the_demo_ends_with_the_line_that_the_manual_shows(page: Path, demo_summary: str) -> None:
    assert f"```text\n{demo_summary}\n```" in text_of(page)


@pytest.fixture(scope="module")
def demo_summary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The summary line of `make demo`, sent at full speed."""
    results = tmp_path_factory.mktemp("demo") / "results.xlsx"
    done = subprocess.run(
        [
            *BATCHSEND,
            "send",
            "campaigns/spring_service.toml",
            "--sandbox",
            "--yes",
            "--quiet",
            "--rate",
            "2000",
            "--results",
            str(results),
        ],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == Exit.ATTENTION
    return next(line for line in done.stdout.splitlines() if " rows = " in line)


# --- names


def command_lines() -> list[tuple[str, str]]:
    """(page, command line) for every `batchsend ...` in the manual."""
    lines = [(page, code) for page, code in inline_code() if code.startswith("batchsend ")]
    for block in blocks(""):
        lines += [
            (block.page.name, line) for line in block.text.splitlines() if line.startswith("batchsend ")
        ]
    return lines


def option_names(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_commands_and_options_exist(page: str, line: str) -> None:
    _, name, *words = shlex.split(line.replace("|", "/"))
    if name in {"--help", "--version", "COMMAND"}:
        return
    assert name in cli.commands, page
    command = cli.commands[name]
    if isinstance(command, click.Group) and words and not words[0].startswith(("-", "[")):
        assert words[0] in command.commands, page
        command = command.commands[words[0]]
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= option_names(command), page


def test_options_exist() -> None:
    known = set().union(*(option_names(command) for _, command in REFERENCE.commands_of(cli)))
    named = {(page, code.split()[0]) for page, code in inline_code() if code.startswith("--")}
    assert named
    assert {(page, option) for page, option in named if option not in known} == set()


def keys_of(schema: dict[str, Any]) -> set[str]:
    properties = schema.get("properties", {})
    return set(properties).union(*map(keys_of, properties.values()))


def test_keys_and_settings_exist() -> None:
    keys = keys_of(campaign_schema())
    named = {(page, match[1]) for page, code in inline_code() if (match := re.match(r"([a-z_]+) = ", code))}
    assert named
    assert {(page, key) for page, key in named if key not in keys | {"key"}} == set()
    settings = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"\b(?:MYKAARMA|BATCHSEND)_[A-Z_]+[A-Z]", text_of(page))
    }
    assert {(page, name) for page, name in settings if name not in VARIABLES} == set()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_work(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target
