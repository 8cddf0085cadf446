"""Rules of the lint that installed packages add, and what happens if one does anything wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest
from ledgers import BASE_URL
from packages import installed, write_package
from world import World, customers

from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, CampaignError
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.utils import extensions

#: The clock of the time-out is set forward, so that only the call that hangs takes too long, and takes no time here.
HANGS = """
def find(text, _):
    import time
    from batchsend.utils import extensions
    if "Name2" in text:
        extensions.monotonic = lambda: time.monotonic() + 61
        Event().wait()
    return ()
"""
HEAD = "from threading import Event\nfrom batchsend import LintRule\n"
#: What goes wrong -> the rule, and what the error says about it.
WRONG = {
    "raises": ("def find(text, _): raise ValueError(text)", "failed (ValueError, rules.py, line 3)."),
    "hangs": (HANGS, "took more than 1 minute"),
    "raises the error of a filter": (
        "from batchsend.errors import FilterProblem\ndef find(text, _): raise FilterProblem('no VIN')",
        "failed: no VIN",
    ),
    "no sentences": ("def find(text, _): return 5", "failed (TypeError, "),
    "no texts": ("def find(text, _): return [5]", "failed (TypeError, "),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    World(tmp_path).write(customers(4))
    with installed(tmp_path / "packages"):
        yield tmp_path


def write(
    folder: Path, source: str, rule: str = 'LintRule("A name", find, "Take it out.")', name: str = "names"
) -> None:
    text = f"{HEAD}{source}\nRULE = {rule}\n"
    write_package(folder / "packages", "rules", text, lint_rules=f"{name} = rules:RULE")


def findings(folder: Path, guards: str = "") -> list[tuple[str, int, tuple[int, ...], str]]:
    World(folder).write(campaign=f"[guards]\n{guards}\n")
    request = PlanRequest(
        load_campaign(folder / "campaign.toml"), BASE_URL, "here", datetime(2026, 3, 2, 18, tzinfo=UTC)
    )
    with make_plan(request, None) as plan:
        return [(one.sentence, one.texts, one.rows, one.unquoted) for one in plan.remarks.lint]


def test_it_reads_all_texts_with_all_cells(folder: Path) -> None:
    write(
        folder,
        "def find(text, context):\n"
        " if context.cells['Customer UUID'] != 'customer-1':\n"
        "  yield f'“{text[3:6]}” is a part of a name.'\n"
        " yield ' twice '\n"
        " yield ' twice '",
    )
    assert findings(folder) == [
        ("twice", 4, (2, 3, 4, 5), "A name (names): rows 2, 3, 4 and 5."),
        ("“Nam” is a part of a name.", 3, (2, 4, 5), "A name (names): rows 2, 4 and 5."),
    ]
    assert findings(folder, 'lint_ignore = ["names"]') == []
    assert findings(folder, 'lint = "off"') == []


@pytest.mark.parametrize("case", WRONG)
def test_what_it_does_wrong_names_the_package_and_the_row(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, said = WRONG[case]
    monkeypatch.setattr(extensions, "monotonic", monotonic)
    write(folder, source)
    with pytest.raises(BatchsendError) as refused:
        findings(folder)
    row = 4 if case == "hangs" else 2
    assert str(refused.value).startswith(
        f'Row {row}: The lint rule "names" of the package rules 1.0 (rules:RULE) {said}'
    )
    assert 'To send without this rule, write lint_ignore = ["names"] under [guards].' in str(refused.value)
    assert "Name" not in str(refused.value)
    assert findings(folder, 'lint_ignore = ["names"]') == []


@pytest.mark.parametrize("rule", ["5", 'LintRule("A", 5, "B")', 'LintRule(1, find, "B")', "find"])
def test_something_else_than_a_rule(rule: str, folder: Path) -> None:
    write(folder, "def find(text, _): return ()", rule)
    with pytest.raises(
        BatchsendError, match=r"is not a batchsend\.LintRule with a title, a function and advice"
    ):
        findings(folder)
    assert findings(folder, 'lint_ignore = ["names"]') == []


def test_it_cannot_have_the_name_of_a_rule_of_ours(folder: Path) -> None:
    write(folder, "def find(text, _): return ()", name="capitals")
    with pytest.raises(BatchsendError, match=r"has the name of a rule of batchsend\. Uninstall the package"):
        findings(folder)


def test_an_ignored_rule_must_exist(folder: Path) -> None:
    with pytest.raises(CampaignError, match="there is no rule xylograph, and no package that adds one"):
        findings(folder, 'lint_ignore = ["xylograph"]')
    with pytest.raises(CampaignError, match='did you mean "capitals"'):
        findings(folder, 'lint_ignore = ["capital"]')
