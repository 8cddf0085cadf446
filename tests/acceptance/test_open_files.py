"""Files that are open in another program or in this one, with the rules of Windows, and temporary files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from held_files import open_in_excel
from world import Sandbox, World, customers

from batchsend import load_campaign, preview
from batchsend.cli.main import run
from batchsend.errors import BatchsendError

#: Python imports a module from there when it starts.
ON_WINDOWS = Path(__file__).parents[1] / "support" / "on_windows"

_CHANGES = textwrap.dedent(
    """
    import pathlib, shutil, sys

    folder = pathlib.Path(sys.argv[1]) / "folder"
    folder.mkdir()
    one, other = folder / "one", folder / "other"
    other.touch()
    with one.open("w", encoding="utf-8"):
        for change in (
            one.unlink,
            lambda: one.replace(other),
            lambda: other.replace(one),
            lambda: shutil.rmtree(folder),
        ):
            try:
                change()
            except PermissionError:
                print("refused")
    one.unlink()
    """
)
_INTERRUPTED = textwrap.dedent(
    """
    import pathlib
    from batchsend.utils.files import temporary_folder

    try:
        with temporary_folder() as folder:
            held = (pathlib.Path(folder) / "plan.db").open("w", encoding="utf-8")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("interrupted")
    """
)


@pytest.mark.parametrize("name", ["campaign.toml", "message.txt.j2", "customers.csv", "stop.csv"])
def test_a_file_that_is_open_in_excel_is_named(tmp_path: Path, name: str) -> None:
    world = World(tmp_path).write(customers(2), campaign='[recipients]\nsuppress = ["stop.csv"]\n')
    world.write_list([{"customer_uuid": "customer-9"}], "stop.csv")
    file = tmp_path / name
    with open_in_excel(file), pytest.raises(BatchsendError) as refused:
        campaign = load_campaign(tmp_path / "campaign.toml")
        with preview(campaign):
            pass
    assert f"{file}: It cannot be read (Permission denied). Close other programs" in str(refused.value)


@pytest.mark.skipif(
    sys.platform != "linux", reason="Windows refuses them itself, and /proc lists the open files"
)
@pytest.mark.system
def test_no_command_deletes_or_moves_a_file_that_it_has_open(world: World, sandbox: Sandbox) -> None:
    # More rows than are kept in memory.
    world.write(customers(3000), campaign="[sending]\nrate = 5000\nconcurrency = 50\n")
    world.environment["PYTHONPATH"] = str(ON_WINDOWS)
    for arguments in (
        ("preview", "campaign.toml"),
        ("send", "campaign.toml", "--yes", "--sandbox"),
        ("send", "campaign.toml", "--yes", "--test-customer", "customer-1"),
        ("send", "campaign.toml", "--yes"),
        ("results", "campaign.toml"),
        ("results", "campaign.toml", "--as-list", "--out", "again.xlsx"),
        ("ledger", "backup", "backup.db"),
        ("optouts", "add", "--customer", "customer-1", "--reason", "asked"),
        ("optouts", "export", "out.csv"),
        ("purge", "--older-than", "1d", "--yes"),
    ):
        done = world.run_cold(*arguments)
        assert done.code == 0, (arguments, done)
    assert sum(sandbox.texts().values()) == 3001


def run_on_windows(script: str, *arguments: str) -> list[str]:
    """Runs a script with the rules of Windows for open files; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(ON_WINDOWS)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="see above")
def test_the_rules_of_windows_are_applied(tmp_path: Path) -> None:
    """A test that no file breaks them needs a file that would."""
    assert run_on_windows(_CHANGES, str(tmp_path)) == ["refused"] * 4


def test_an_interrupt_is_no_error_about_a_temporary_file() -> None:
    assert run_on_windows(_INTERRUPTED) == ["interrupted"]


def test_a_computer_without_a_folder_for_temporary_files_is_told_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    World(tmp_path).write(customers(2))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "nowhere")])
    assert run(["preview", str(tmp_path / "campaign.toml")]) == 2
    assert "Set TMPDIR (on Windows: TEMP) to a folder that can be written to." in capsys.readouterr().err


@pytest.mark.system
def test_a_long_name_of_the_folder_for_temporary_files_and_its_characters_do_not_matter(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "Zoë’s 🙂" / ("long " * 40)
    folder.mkdir(parents=True)
    world.write(customers(3000), campaign="[sending]\nrate = 5000\n")
    world.environment["TMPDIR"] = str(folder)
    assert world.run_cold("send", "campaign.toml", "--yes", "--sandbox").code == 0
    assert len(world.workbook("rehearsal")) == 3000
    assert list(folder.iterdir()) == []
