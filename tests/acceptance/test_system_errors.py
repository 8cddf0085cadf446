"""Folders and limits of the operating system: a sentence that says what to do, and the right exit code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from world import BATCHSEND, Sandbox, World, customers

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the current folder of a process"),
]


def run_in_a_deleted_folder(
    world: World, tmp_path: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    gone = tmp_path / "gone"
    gone.mkdir()
    return subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *BATCHSEND, *arguments],
        cwd=gone,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "campaign.toml", "--yes"),
        ("preview", "campaign.toml"),
        ("runs",),
        ("new", "spring"),
        ("optouts", "list"),
        ("schedule",),
        ("callbacks",),
        ("web", "--no-open"),
        ("web-users", "list"),
        ("purge", "--older-than", "90d", "--yes"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_deleted_current_folder_is_a_sentence(
    world: World, sandbox: Sandbox, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run_in_a_deleted_folder(world, tmp_path, *arguments)
    assert done.returncode in (2, 3)
    assert "The current folder was deleted or moved." in done.stderr or "campaign.toml" in done.stderr
    assert "bug" not in done.stderr
    assert sandbox.requests() == []


def test_a_campaign_named_in_full_is_sent_from_a_deleted_folder(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write(customers(2))
    done = run_in_a_deleted_folder(world, tmp_path, "send", str(world.folder / "campaign.toml"), "--yes")
    assert done.returncode == 0, done
    assert f"Results: {world.folder / 'results' / 'campaign-1.xlsx'}" in done.stdout
    assert len(sandbox.requests()) == 2


def test_a_relative_ledger_in_a_deleted_folder_is_no_other_ledger(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write(customers(2))
    campaign = str(world.folder / "campaign.toml")
    done = run_in_a_deleted_folder(world, tmp_path, "send", campaign, "--yes", "--ledger", "ledger.db")
    assert done.returncode == 2
    assert "The current folder was deleted or moved." in done.stderr
    assert sandbox.requests() == []


def test_a_current_folder_that_is_deleted_during_the_run_changes_nothing(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write(customers(30), campaign="[sending]\nrate = 20\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    process = subprocess.Popen(
        [*BATCHSEND, "send", str(world.folder / "campaign.toml"), "--yes"],
        cwd=gone,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    sandbox.wait_for(2)
    gone.rmdir()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "30 rows = 30 accepted by myKaarma" in out
    assert len(world.workbook()) == 30


def test_without_a_home_folder_texts_are_sent(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    done = subprocess.run(
        ["env", "-u", "HOME", *BATCHSEND, "send", "campaign.toml", "--yes"],
        cwd=world.folder,
        env={**world.env(), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )
    assert done.returncode == 0, done
    assert len(sandbox.requests()) == 2


def test_no_folder_for_temporary_files_is_a_sentence(world: World, sandbox: Sandbox) -> None:
    world.write(customers(2))
    prepare = (
        "import os, sys, tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']; "
        "from batchsend.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", prepare, "send", "campaign.toml", "--yes"],
        cwd=world.folder,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )
    assert done.returncode == 2, done
    assert "No usable temporary directory found" in done.stderr
    assert sandbox.requests() == []


def test_a_results_folder_that_disappears_during_the_run(world: World, sandbox: Sandbox) -> None:
    world.write(customers(30), campaign="[sending]\nrate = 20\n")
    process = world.start("send", "campaign.toml", "--yes")
    sandbox.wait_for(2)
    shutil.rmtree(world.folder / "results")
    (world.folder / "results").write_text("a file in its place")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "30 rows = 30 accepted by myKaarma" in out
    assert "the results cannot be written here" in out
    (world.folder / "results").unlink()
    again = world.send()
    assert again.code == 0
    assert len(world.workbook()) == 30
    assert len(sandbox.requests()) == 30
