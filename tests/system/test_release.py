"""A release: what is in the sdist and the wheel, and that the wheel alone is enough for what README.md shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import check_release
import pytest

from batchsend.utils.version import __version__

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A built sdist and wheel."""
    return check_release.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def command(release: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the wheel, installed in an environment of its own."""
    return check_release.install(release[1], tmp_path_factory.mktemp("installed"))


def test_sdist_and_wheel_pass_the_checks_of_an_index(release: tuple[Path, Path]) -> None:
    check_release.check_metadata(*release)


def test_the_wheel_has_each_file_that_the_program_reads(release: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(release[1]) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if name.startswith("batchsend/")}
    source = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in (ROOT / "batchsend").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(not name.endswith(".py") for name in source)
    assert packed == source


def test_man_shows_the_page_that_the_wheel_installs(command: Path) -> None:
    page = command.parents[1] / "share" / "man" / "man1" / "batchsend.1"
    assert page.read_bytes() == (ROOT / "docs" / "batchsend.1").read_bytes()
    environment = os.environ | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "MANWIDTH": "80"}
    environment.pop("MANPATH", None)
    shown = subprocess.run(["man", "batchsend"], env=environment, capture_output=True, encoding="utf-8")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "batchsend send [OPTIONS] CAMPAIGN" in shown.stdout


def test_the_man_page_has_no_mistakes() -> None:
    checked = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", ROOT / "docs" / "batchsend.1"],
        capture_output=True,
        encoding="utf-8",
    )
    # The page has no date, so that the same code always gives the same page.
    assert [line for line in checked.stdout.splitlines() if "missing date" not in line] == []
    assert checked.stderr == ""


def test_the_sdist_has_what_a_distributor_needs(release: tuple[Path, Path]) -> None:
    sdist, wheel = release
    names = check_release.names_in_sdist(sdist)
    check_release.check_names(check_release.tracked_files(), names, check_release.names_in_wheel(wheel))
    assert {"constraints.txt", "docs/README.md", "campaigns/spring_service.toml", "tests/conftest.py"} <= set(
        names
    )
    with tarfile.open(sdist) as archive:
        assert {file.name.split("/")[0] for file in archive} == {f"batchsend-{__version__}"}


def test_the_metadata_name_version_and_pythons(release: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(release[1]) as archive:
        metadata = message_from_bytes(archive.read(f"batchsend-{__version__}.dist-info/METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("batchsend", __version__)
    pythons = {line for line in metadata.get_all("Classifier", []) if re.search(r":: 3\.\d+$", line)}
    assert pythons == {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)}


def readme_commands() -> list[list[str]]:
    """The commands in README.md that need no account, without those that install."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Try it")[2].partition("\n## ")[0]
    return [
        shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("batchsend ")
    ]


def test_the_readme_can_be_followed_with_the_wheel_alone(command: Path, tmp_path: Path) -> None:
    commands = readme_commands()
    assert [words[1] for words in commands] == ["new", "send"]
    for _, *arguments in commands:
        # A person types the number; without a terminal it is --yes.
        more = ["--yes"] if arguments[0] == "send" else []
        done = subprocess.run(
            [command, *arguments, *more],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            encoding="utf-8",
        )
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert "3 rows = 2 accepted by myKaarma + 1 skipped" in done.stdout
    assert (tmp_path / "results" / "spring-rehearsal.xlsx").is_file()


def test_the_sample_campaign_is_sent_with_the_wheel(command: Path, tmp_path: Path) -> None:
    assert check_release.send_samples(command, tmp_path).startswith("500 rows = ")
