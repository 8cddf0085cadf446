"""The file that a wrong path probably means, in errors about campaigns, lists, templates and opt-out files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World, customers

from batchsend.lists.source import LIST_ENDINGS
from batchsend.utils.near_files import lock_target, nearest_file


@pytest.mark.parametrize(
    ("typed", "existing"),
    [
        ("March.csv", "march.csv"),
        ("march.csv", "march.xlsx"),
        ("march", "march.csv"),
        ("march.csv", "march.csv.csv"),
        ("march.csv.csv", "march.csv"),
        ("march.csv", "march .csv"),
        ("march .csv", "march.csv"),
        ("march_list.csv", "March List.csv"),
        ("march-list.csv", "march_list.CSV"),
        ("march.csv", "march (1).csv"),
        ("march.csv", "march.csv.txt"),
        ("marhc.csv", "march.csv"),
        ("Mu\u0308ller.csv", "M\u00fcller.xlsx"),
        ("lists/march.csv", "list/march.csv"),
        ("Lists/March.csv", "lists/march.csv"),
        ("a/lists/march.csv", "A/lists/march.xlsx"),
    ],
)
def test_the_file_that_is_meant(tmp_path: Path, typed: str, existing: str) -> None:
    meant = tmp_path / existing
    meant.parent.mkdir(parents=True, exist_ok=True)
    for name in (meant, tmp_path / "something else.csv", meant.parent / "zzz.csv"):
        name.touch()
    assert nearest_file(tmp_path / typed, LIST_ENDINGS) == meant


def test_the_ending_decides_between_two(tmp_path: Path) -> None:
    for name in ("march.xlsx", "march.csv"):
        (tmp_path / name).touch()
    assert nearest_file(tmp_path / "march.csvv", LIST_ENDINGS) == tmp_path / "march.csv"
    assert nearest_file(tmp_path / "march.xls", LIST_ENDINGS) == tmp_path / "march.xlsx"


@pytest.mark.parametrize(
    "existing", ["april.csv", "march.toml", "march.csv/", ".march.csv", "~$march.csv", "march.env.csv"]
)
def test_other_files_are_not_named(tmp_path: Path, existing: str) -> None:
    path = tmp_path / existing
    if existing.endswith("/"):
        path.mkdir()
    else:
        path.touch()
    assert nearest_file(tmp_path / "march.csv", LIST_ENDINGS) is None


def test_hidden_folders_are_not_searched(tmp_path: Path) -> None:
    (tmp_path / ".lists").mkdir()
    (tmp_path / ".lists" / "march.csv").touch()
    assert nearest_file(tmp_path / "lists" / "march.csv", LIST_ENDINGS) is None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the owner may read every folder")
def test_a_folder_that_may_not_be_read_has_no_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "march.csv").touch()
    tmp_path.chmod(0)
    assert nearest_file(tmp_path / "March.csv", LIST_ENDINGS) is None


@given(st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name))
def test_any_name_may_be_asked_for(tmp_path: Path, name: str) -> None:
    near = nearest_file(tmp_path / "no such folder" / name, LIST_ENDINGS)
    assert near is None or near.is_file()


@pytest.mark.parametrize(
    ("name", "locked"),
    [
        ("~$march.xlsx", "march.xlsx"),
        ("lists/~$march.xlsx", "march.xlsx"),
        (".~lock.march.ods#", "march.ods"),
        ("march~$.xlsx", None),
        ("~march.xlsx", None),
    ],
)
def test_lock_files(name: str, locked: str | None) -> None:
    assert lock_target(Path(name)) == locked


@pytest.mark.parametrize(
    ("campaign", "typed", "meant"),
    [
        ("", "--list=Customers.xlsx", "customers.csv"),
        ('[recipients]\nsuppress = ["optouts.csv"]\n', "", "Opt Outs.csv"),
        ("", "--list=customer.csv", "customers.csv"),
    ],
)
def test_the_error_names_the_nearest_list(tmp_path: Path, campaign: str, typed: str, meant: str) -> None:
    world = World(tmp_path).write(customers(1), campaign=campaign)
    (tmp_path / "Opt Outs.csv").write_text("customer_uuid\nx\n", encoding="utf-8")
    refused = world.run("preview", "campaign.toml", *filter(None, [typed]))
    assert refused.code == 2
    assert f"There is no such file. Did you mean {tmp_path / meant}?" in refused.err


def test_the_error_names_the_nearest_template(tmp_path: Path) -> None:
    world = World(tmp_path).write(customers(1))
    (tmp_path / "message.txt.j2").rename(tmp_path / "Message.j2")
    refused = world.run("preview", "campaign.toml")
    assert refused.code == 2
    assert f"there is no such file; did you mean {tmp_path / 'Message.j2'}?" in refused.err


def test_the_error_names_the_nearest_file_to_import(tmp_path: Path) -> None:
    (tmp_path / "stop.csv.csv").write_text("customer_uuid\nx\n", encoding="utf-8")
    refused = World(tmp_path).run("optouts", "import", "stop.csv")
    assert refused.code == 2
    assert "stop.csv: There is no such file. Did you mean stop.csv.csv?" in refused.err
