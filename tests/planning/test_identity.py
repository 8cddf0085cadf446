"""Changes that would lose the history, with the installed command: reported or refused.

A copied file, a changed name and a changed key are in `test_send.py`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import identity, planned, store_plan
from world import CAMPAIGN, Sandbox, World, customers, running_sandbox

from batchsend.campaigns.file import load_campaign
from batchsend.errors import IdentityError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.planning.identity import find_campaign


def in_ledger(world: World, statement: str) -> None:
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db")) as ledger, ledger:
        assert ledger.execute(statement).rowcount > 0


def test_a_folder_can_be_moved_with_its_history_but_not_copied(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    assert world.send("--limit", "1").code == 0
    moved = world.folder.rename(world.folder.with_name("another place"))
    world.folder = moved
    # Another way to the same file is no second file.
    name = "campaign.toml"
    if os.name == "posix":
        name = "link.toml"
        (moved / name).symlink_to("campaign.toml")
    assert world.run("send", name, "--yes").code == 0
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1}
    world.folder = moved.with_name("copy")
    shutil.copytree(moved, world.folder)
    refused = world.run("preview", "campaign.toml")
    assert refused.code == 2
    assert f'another campaign file has this name, "Spring": {moved / name}.' in refused.err
    assert (
        "moved or restored, delete or rename the other file: under another name, every customer"
        in refused.err
    )


def test_a_kill_is_not_forgotten_by_a_new_name(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    world.send("--limit", "1")
    in_ledger(world, "UPDATE messages SET status = 'in_flight', owner = 'killed' WHERE row = 2")
    world.write(campaign=CAMPAIGN.replace('"Spring"', '"Summer"\nformerly = "Spring"'))
    done = world.send()
    assert done.code == 1
    assert "2 rows = 1 accepted by myKaarma + 0 skipped + 1 need attention + 0 waiting" in done.out
    assert world.workbook()[2]["errorCodes"] == "INTERRUPTED"
    assert world.send("--resend", "unconfirmed", "--expect", "1").code == 0
    assert sandbox.texts() == {"customer-0": 2, "customer-1": 1}


def test_a_misspelled_former_name_is_refused(world: World, sandbox: Sandbox) -> None:
    """The campaign is in another file now, so only `formerly` leads to its history."""
    world.write(customers(2))
    world.send()
    (world.folder / "campaign.toml").unlink()
    world.write(campaign=CAMPAIGN.replace('"Spring"', '"Summer"\nformerly = "Sprng"'))
    (world.folder / "campaign.toml").rename(world.folder / "summer.toml")
    refused = world.run("send", "summer.toml", "--yes")
    assert refused.code == 2
    assert '`formerly` is "Sprng", but the ledger has no campaign of this name.' in refused.err
    assert 'Did you mean formerly = "Spring"?' in refused.err
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1}
    preview = world.run("preview", "summer.toml", "--new-campaign")
    assert "2 rows = 0 accepted by myKaarma + 2 ready to send" in preview.out


def test_a_trial_at_the_sandbox_counts_for_nothing_but_the_sandbox(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write(customers(2))
    world.send()
    (tmp_path / "real").mkdir()
    with running_sandbox(tmp_path / "real") as real:
        trial, world.base_url = world.base_url, real.base_url
        # A key that would make the trial's history useless: here there is none yet.
        world.write(customers(2), campaign='[recipients]\nkey = ["Phone"]\n')
        first = world.send("--limit", "1")
        assert "This campaign has never been sent." in first.out
        assert real.texts() == {"customer-0": 1}
    world.base_url = trial
    refused = world.send()
    assert refused.code == 2
    assert "batchsend cannot tell who already got this text" in refused.err
    assert len(sandbox.requests()) == 2


# --- what another computer knows


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two campaign files of one name."""
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        World(tmp_path / name).write()
    return tmp_path / "mine" / "campaign.toml", tmp_path / "theirs" / "campaign.toml"


@pytest.mark.parametrize("host", ["this-computer", "this-computer.local"])
def test_a_ledger_file_knows_its_computer_by_any_name(files: tuple[Path, Path], host: str) -> None:
    """Computers change their names with the network that they are in; a ledger file stays on its computer."""
    mine, theirs = files
    ledger = open_ledger(f"sqlite:///{mine.parent / 'ledger.db'}")
    store_plan(ledger, [planned(2)], who=identity(file=str(theirs), host="this-computer"))
    try:
        with pytest.raises(IdentityError, match="another campaign file has this name"):
            recognised(ledger, mine, host)
        theirs.unlink()
        recognised(ledger, mine, host)
        world = World(mine.parent).write(campaign=CAMPAIGN.replace("Spring", "Summer"))
        store_plan(
            ledger, [planned(2)], who=identity(file=str(world.folder / "campaign.toml"), host="this-computer")
        )
        with pytest.raises(IdentityError, match='this campaign was sent under the name "Spring" before'):
            recognised(ledger, mine, host, name="Summer")
    finally:
        ledger.close()


def test_on_a_server_a_path_means_its_own_computer_only(files: tuple[Path, Path], postgres_url: str) -> None:
    mine, theirs = files
    ledger = open_ledger(postgres_url)
    store_plan(ledger, [planned(2)], who=identity(file=str(theirs), host="another-computer"))
    try:
        recognised(ledger, mine, "this-computer")
        with pytest.raises(IdentityError, match="another campaign file has this name"):
            recognised(ledger, mine, "another-computer")
    finally:
        ledger.close()


def recognised(ledger: Ledger, file: Path, host: str, name: str = "Spring") -> None:
    who = identity(name, file=str(file), host=host)
    find_campaign(load_campaign(file), who, ledger, new_campaign=False)


@pytest.mark.parametrize(("key", "code"), [("Due", 2), ("VIN", 0)])
def test_another_region_is_refused_if_keys_have_dates(
    world: World, sandbox: Sandbox, key: str, code: int
) -> None:
    rows = [{"Customer ID": "c-1", "First Name": "Ann", "Due": "3/5/2026", "VIN": "1HGCM82633A004352"}]
    recipients = f'[recipients]\nkey = ["Customer ID", "{key}"]\n'
    world.write(rows, campaign=recipients)
    assert world.send().code == 0
    world.write(rows, campaign=f'{recipients}default_region = "CA"\n')
    done = world.send()
    assert done.code == code
    assert (
        "`default_region` under [recipients] is CA, but the keys of this campaign were recorded with US."
        in done.err
    ) == bool(code)
    assert sandbox.texts() == {"c-1": 1}
