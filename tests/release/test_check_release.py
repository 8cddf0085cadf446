"""What a release is checked for. The checks on a built one are in `tests/system/test_release.py`."""

from __future__ import annotations

from pathlib import Path

import check_release
import pytest
from check_release import CheckError

ROOT = Path(__file__).parents[2]
TRACKED = [
    "batchsend/__init__.py",
    "batchsend/web/static/page.css",
    "tests/conftest.py",
    "README.md",
    ".gitignore",
]
SDIST = [*TRACKED[:-1], "PKG-INFO", "batchsend.egg-info/SOURCES.txt"]
WHEEL = [*TRACKED[:2], "batchsend-0.1.0.dist-info/RECORD", "batchsend-0.1.0.dist-info/licenses/LICENSE"]


def test_a_release_with_all_of_its_files_passes() -> None:
    check_release.check_names(TRACKED, SDIST, WHEEL)


@pytest.mark.parametrize("name", [name for name in TRACKED if name != ".gitignore"])
def test_a_file_that_an_sdist_lacks_is_named(name: str) -> None:
    with pytest.raises(CheckError, match=f"sdist lacks {name}"):
        check_release.check_names(TRACKED, [file for file in SDIST if file != name], WHEEL)


@pytest.mark.parametrize("name", TRACKED[:2])
def test_a_file_that_a_wheel_lacks_is_named(name: str) -> None:
    with pytest.raises(CheckError, match=f"wheel lacks {name}"):
        check_release.check_names(TRACKED, SDIST, [file for file in WHEEL if file != name])


@pytest.mark.parametrize(
    "name", ["tests/conftest.py", "batchsend/web/old.html", "batchsend-0.1.0.dist-info/x.txt"]
)
def test_a_file_too_many_is_named(name: str) -> None:
    with pytest.raises(CheckError, match=f"wheel contains {name}"):
        check_release.check_names(TRACKED, SDIST, [*WHEEL, name])
    with pytest.raises(CheckError, match=r"sdist contains \.gitignore"):
        check_release.check_names(TRACKED, [*SDIST, ".gitignore"], WHEEL)


@pytest.mark.parametrize(
    ("changelog", "section"),
    [
        ("# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-01-02\n", "Unreleased"),
        ("# Changelog\n\n## [0.2.0] - 2026-02-03\n\n## [0.1.0] - 2026-01-02\n", "0.2.0"),
    ],
)
def test_the_first_section_is_the_newest(changelog: str, section: str) -> None:
    assert check_release.newest_section(changelog) == section


@pytest.mark.parametrize("changelog", ["# Changelog\n", "## [0.1.0]\n", "## 0.1.0 - 2026-01-02\n"])
def test_a_changelog_without_such_a_section_is_refused(changelog: str) -> None:
    with pytest.raises(CheckError, match="has to begin with"):
        check_release.newest_section(changelog)


def test_version_and_changelog_have_to_agree() -> None:
    assert "not a release yet" in check_release.check_version("0.2.0", "Unreleased")
    assert check_release.check_version("0.2.0", "0.2.0") == "Version 0.2.0, as in CHANGELOG.md."
    with pytest.raises(CheckError, match=r"says 0\.2\.0.*is 0\.1\.0"):
        check_release.check_version("0.2.0", "0.1.0")


def test_our_own_changelog_has_such_a_section() -> None:
    assert check_release.newest_section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_an_upload_needs_a_free_name_and_addresses() -> None:
    assert (
        check_release.obstacles('[project]\nname = "other"\nurls = {Homepage = "https://example.com"}')
        is None
    )
    reminder = check_release.obstacles('[project]\nname = "batchsend"')
    assert reminder is not None
    assert "another name" in reminder
    assert "[project.urls]" in reminder
