"""The JSON Schema that editors check campaign files with agrees with the rules of campaign files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from ledgers import BASE_URL
from world import CAMPAIGN, World, customers

from batchsend.campaigns.file import load_campaign
from batchsend.campaigns.json_schema import SCHEMA_FILE, campaign_schema, write_schema
from batchsend.campaigns.sample import write_sample
from batchsend.errors import BatchsendError
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.web.toml_edit import edited

ROOT = Path(__file__).parents[2]
#: The words that draft 7 does not have.
NEWER = {
    "$defs",
    "prefixItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependentRequired",
    "minContains",
}
EVERYTHING = """
[schedule]
at = 2026-12-01T10:00:00
[sending]
quiet_hours = { from = "21:00", to = "08:00", timezone = "recipient" }
holidays = ["US", 2026-12-24]
per_hour = 3
[hours.FL]
from = "20:00"
to = "08:00"
[notify]
notifiers = { desk = "Service" }
email = ["manager@example.com"]
[guards]
lint_ignore = ["capitals", "brand_names"]
list_max_age = 3600
[columns]
lookup = { phone = ["Mobile", "Home"] }
"""
#: A mistake -> lines to add to a right campaign file.
MISTAKES = {
    "unknown key": "lists = 'a.csv'",
    "unknown key of a section": "[guards]\nmax_text = 5",
    "wrong type": "[sending]\nrate = '10'",
    "wrong type in a list": "[recipients]\nsuppress = [5]",
    "wrong word": "[guards]\nlint = 'warm'",
    "too small": "[sending]\nconcurrency = 0",
    "wrong pattern": "[message]\ncurrency = 'dollar'",
    "wrong date": "[schedule]\nat = 'tomorrow'",
    "missing key of a table": "[recipients]\nconsent = { column = 'OK' }",
    "section that is a text": "guards = 'strict'",
    "unknown key of a state": "[hours.FL]\nuntil = '20:00'",
}
TAPLO = Path(sys.executable).with_name(f"taplo{Path(sys.executable).suffix}")


def plain(value: Any) -> Any:
    """A value of a TOML file as editors see it: dates and times are texts."""
    match value:
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case list():
            return [plain(one) for one in value]
        case datetime() | date() | time():
            return value.isoformat()
    return value


def problems(text: str) -> list[str]:
    found = Draft7Validator(campaign_schema()).iter_errors(plain(tomllib.loads(text)))
    return [error.message for error in found]


def campaigns_of_the_manual() -> list[str]:
    """The campaign files in the manual and README, completed with the keys that they leave out."""
    usual = dict(re.findall(r"^(\w+) = (.+)$", CAMPAIGN, re.MULTILINE))
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(
            r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            top = block.partition("\n[")[0] if not block.startswith("[") else ""
            given = set(re.findall(r"^(\w+) =", top, re.MULTILINE))
            missing = set(usual) - given - ({"template"} if "template_by" in given else set())
            found.append("\n".join([*(f"{key} = {usual[key]}" for key in sorted(missing)), block]))
    return found


def sample_campaigns() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / "campaigns").glob("*.toml"))]


def test_it_is_of_the_draft_that_editors_know() -> None:
    schema = campaign_schema()
    Draft7Validator.check_schema(schema)
    assert not NEWER & set(re.findall(r'"([^"]+)": ', json.dumps(schema)))


def test_right_campaigns_have_no_problems() -> None:
    right = [*sample_campaigns(), *campaigns_of_the_manual(), CAMPAIGN + EVERYTHING]
    assert len(right) > 30
    assert [(text, found) for text in right if (found := problems(text))] == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_by_the_schema_and_by_us(mistake: str, tmp_path: Path) -> None:
    text = f"{CAMPAIGN}{MISTAKES[mistake]}\n"
    assert problems(text)
    file = tmp_path / "campaign.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BatchsendError):
        load_campaign(file)


@pytest.mark.system
def test_taplo_finds_the_same(tmp_path: Path) -> None:
    write_schema(tmp_path / SCHEMA_FILE)
    texts = [*sample_campaigns(), *campaigns_of_the_manual(), CAMPAIGN + EVERYTHING]
    right = [f"right-{number}.toml" for number in range(len(texts))]
    wrong = [f"{mistake.replace(' ', '-')}.toml" for mistake in MISTAKES]
    texts += [f"{CAMPAIGN}{lines}\n" for lines in MISTAKES.values()]
    for name, text in zip([*right, *wrong], texts, strict=True):
        (tmp_path / name).write_text(f"#:schema ./{SCHEMA_FILE}\n{text}", encoding="utf-8")
    command = [str(TAPLO), "lint", "--colors", "never"]
    done = subprocess.run([*command, *right], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    for name in wrong:
        done = subprocess.run(
            [*command, name], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60
        )
        assert (done.returncode, "error: " in done.stderr) == (1, True), (name, done.stderr)


def test_a_new_campaign_names_the_schema_beside_it(tmp_path: Path) -> None:
    written = write_sample("spring", tmp_path)
    assert [path.name for path in written] == ["spring.toml", "spring.txt.j2", "spring.csv", SCHEMA_FILE]
    first = written[0].read_text(encoding="utf-8").splitlines()[0]
    assert first == f"#:schema ./{SCHEMA_FILE}"
    schema = tmp_path / SCHEMA_FILE
    assert json.loads(schema.read_text(encoding="utf-8")) == campaign_schema()
    # The next one has the schema already; that of an older version is replaced.
    assert len(write_sample("summer", tmp_path)) == 3
    schema.write_text('{"title": "batchsend campaign"}', encoding="utf-8")
    assert schema in write_sample("autumn", tmp_path)
    # A file of the user's stays.
    schema.write_text("[1]", encoding="utf-8")
    assert len(write_sample("winter", tmp_path)) == 3
    assert schema.read_text(encoding="utf-8") == "[1]"
    with pytest.raises(BatchsendError, match="another file is there already"):
        write_schema(schema)


def test_the_line_changes_no_plan_and_no_approval(tmp_path: Path) -> None:
    World(tmp_path).write(customers(3))
    file = tmp_path / "campaign.toml"
    seen = []
    for line in ("", f"#:schema ./{SCHEMA_FILE}\n"):
        file.write_text(f"{line}{CAMPAIGN}[guards]\napproval = true\n", encoding="utf-8")
        request = PlanRequest(load_campaign(file), BASE_URL, "here", datetime(2026, 3, 2, 18).astimezone())
        with make_plan(request, None) as plan:
            assert plan.approval is not None
            seen.append((plan.texts, plan.codes, plan.approval.content))
    assert seen[0] == seen[1]


def test_edits_of_the_console_keep_the_line() -> None:
    before = f"#:schema ./{SCHEMA_FILE}\n# Ours.\n{CAMPAIGN}".encode()
    after = edited(before, {("name",): "Summer", ("guards", "max_texts"): 5}).decode()
    assert after.startswith(f"#:schema ./{SCHEMA_FILE}\n# Ours.\n")
    assert tomllib.loads(after)["guards"] == {"max_texts": 5}
