"""Files that a user names for output: they never replace a file that a campaign reads, nor the ledger or settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from world import CAMPAIGN, World, customers

from batchsend.errors import ResultsError
from batchsend.reports.output_files import check_output

#: The files in the folder, and what reads them.
INPUTS = {
    "customers.csv": "the list of the run",
    "moved.csv": "the list since then",
    "stop.csv": "a suppression file that was added since",
    "other.csv": "the list of another campaign",
    "export-2.csv": "matches the pattern of a third campaign",
    "old.csv": "named by a campaign file with an error",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A folder with a run in its ledger, campaigns that changed since, and all files of `INPUTS`."""
    world = World(tmp_path_factory.mktemp("world")).write(customers(1), campaign="[guards]\nmax_texts = 5")
    assert world.send("--sandbox").code == 0
    assert (
        world.run(
            "optouts", "add", "--customer", "c1", "--reason", "x", "--ledger", ".batchsend/ledger.db"
        ).code
        == 0
    )
    world.environment["MYKAARMA_BASE_URL"] = world.base_url
    campaign = world.folder / "campaign.toml"
    text = campaign.read_text(encoding="utf-8").replace("customers.csv", "moved.csv")
    # Nothing listens there, so the run is recorded and nothing is sent.
    campaign.write_text(
        text.replace("moved.csv", "customers.csv") + '\n[sending]\ngive_up_after = "1s"\n', "utf-8"
    )
    assert world.send().code == 3
    campaign.write_text(text + '\n[recipients]\nsuppress = ["stop.csv"]\n', encoding="utf-8")
    (world.folder / "message.txt.j2").write_text('{% include "footer.html" %}', encoding="utf-8")
    (world.folder / "footer.html").write_text("footer", encoding="utf-8")
    (world.folder / "campaigns").mkdir()
    for name, list_name in (("b", "../other.csv"), ("c", "../export-*.csv")):
        other = CAMPAIGN.replace("Spring", name).replace("customers.csv", list_name)
        (world.folder / "campaigns" / f"{name}.toml").write_text(other, encoding="utf-8")
    (world.folder / "broken.toml").write_text("list = 'old.csv'\nname = \n", encoding="utf-8")
    for name in INPUTS:
        (world.folder / name).write_text("Customer UUID\nc1\n", encoding="utf-8")
    return world


def contents(folder: Path) -> dict[Path, bytes]:
    return {
        file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and ".db" not in file.name
    }


@pytest.mark.parametrize("name", sorted(INPUTS))
@pytest.mark.parametrize(
    "command",
    [
        ("optouts", "export"),
        ("results", "campaign.toml", "--out"),
        ("results", "1", "--as-list", "--out"),
        ("send", "campaign.toml", "--yes", "--results"),
    ],
)
def test_a_file_that_any_campaign_reads_is_never_replaced(
    folder: World, command: tuple[str, ...], name: str
) -> None:
    before = contents(folder.folder)
    refused = folder.run(*command, name)
    assert refused.code == 2
    assert f"{name} is a file that " in refused.err
    assert "Choose another name" in refused.err
    assert contents(folder.folder) == before


def test_the_page_beside_the_results_replaces_no_included_template(folder: World) -> None:
    refused = folder.run("results", "1", "--out", "footer.xlsx")
    assert refused.code == 2
    assert "footer.html is a file that " in refused.err
    assert (folder.folder / "footer.html").read_text(encoding="utf-8") == "footer"


@pytest.mark.parametrize("name", [".env", "campaign.toml", ".batchsend/ledger.db", "message.txt.j2"])
@pytest.mark.parametrize("command", [("optouts", "export"), ("results", "1", "--out")])
def test_settings_campaigns_ledgers_and_templates_are_never_replaced(
    folder: World, command: tuple[str, ...], name: str
) -> None:
    (folder.folder / ".env").write_text("MYKAARMA_USERNAME=ann\n", encoding="utf-8")
    before = (folder.folder / name).read_bytes()
    assert folder.run(*command, name).code == 2
    assert (folder.folder / name).read_bytes() == before


def hard_link(folder: Path) -> Path:
    os.link(folder / "stop.csv", folder / "linked.csv")
    return folder / "linked.csv"


def symbolic_link(folder: Path) -> Path:
    (folder / "symbolic.csv").symlink_to(folder / "stop.csv")
    return folder / "symbolic.csv"


def roundabout(folder: Path) -> Path:
    return folder / "campaigns" / ".." / "stop.csv"


def from_below(folder: Path) -> Path:
    (folder / "below").mkdir()
    (folder / "below" / "up").symlink_to(folder)
    return folder / "below" / "up" / "stop.csv"


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.parametrize("spelling", [hard_link, symbolic_link, roundabout, from_below])
def test_another_spelling_of_the_path_is_the_same_file(
    folder: World, spelling: Callable[[Path], Path]
) -> None:
    with pytest.raises(ResultsError, match=r"is a file that .* reads"):
        check_output(spelling(folder.folder))


def test_an_export_replaces_an_earlier_export_and_no_other_file(folder: World) -> None:
    for name in ("out.csv", "out.xlsx"):
        for _ in range(2):
            done = folder.run("optouts", "export", name)
            assert done.code == 0, done.err
    (folder.folder / "notes.csv").write_text("phone,note\n1,important\n", encoding="utf-8")
    refused = folder.run("optouts", "export", "notes.csv")
    assert refused.code == 2
    assert "is not an earlier export of opt-outs" in refused.err
    assert "important" in (folder.folder / "notes.csv").read_text(encoding="utf-8")
