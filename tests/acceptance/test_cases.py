"""Lists from real trouble, each with its right outcome.

A folder in `cases` has a campaign, its list and its template, and `outcome.toml`:

    about = "what the list has, and why it matters"
    sent = true                             # the campaign was sent, with its own list, before the preview
    list = "list2.csv"                      # for the preview, instead of the campaign's list
    at = 2026-07-16T01:30:00Z               # the time of the preview, instead of the present
    exit = 1                                # of `batchsend preview`; 0 if it is not given
    says = ["a part of the output"]         # of what the terminal shows
    never_says = ["another part"]
    encoding = "cp1252"                     # of the terminal, or of the file that gets the output

    [rows.2]                                # the row's values in the preview's workbook, by column
    status = "ready"
    message = "Hi Ann"
    errorCodes = "MALFORMED_ROW"
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from faked_time import ClockFile
from world import World, read_results

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_a_list_from_real_trouble_has_its_right_outcome(
    tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / name
    shutil.copytree(CASES / name, folder)
    outcome = tomllib.loads((folder / "outcome.toml").read_text(encoding="utf-8"))
    world = World(folder)
    if outcome.get("sent"):
        world.base_url = request.getfixturevalue("sandbox").base_url
        sent = world.send()
        assert sent.code == 0, sent.err
    other_list = ["--list", outcome["list"]] if "list" in outcome else []
    arguments = ["preview", "campaign.toml", *other_list]
    if "at" in outcome:
        world.environment.update(ClockFile(tmp_path / "clock", outcome["at"]).environment)
    encoding = outcome.get("encoding")
    done = world.run(*arguments) if encoding is None else world.run_cold(*arguments, encoding=encoding)
    said = " ".join((done.out + done.err).split())
    assert done.code == outcome.get("exit", 0), said
    assert [part for part in outcome.get("says", ()) if part not in said] == [], said
    assert [part for part in outcome.get("never_says", ()) if part in said] == [], said
    expected = {int(row): values for row, values in outcome.get("rows", {}).items()}
    if expected:
        found = read_results(folder / "previews" / "campaign.xlsx")
        assert {
            row: {column: found[row][column] for column in values} for row, values in expected.items()
        } == expected
