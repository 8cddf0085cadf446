"""Builds the sdist and the wheel, checks what is in them, and sends the sample campaign with the installed wheel.

`make release-check` runs this. The files stay in dist/. CONTRIBUTING.md says how a release is made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
#: Files of the repository that only it needs.
NOT_IN_SDIST = (".editorconfig", ".gitattributes", ".gitignore", ".pre-commit-config.yaml")
#: What the build adds to an sdist, and what it puts beside the package in a wheel.
ADDED_TO_SDIST = re.compile(r"PKG-INFO|setup\.cfg|batchsend\.egg-info/[\w.-]+")
ADDED_TO_WHEEL = re.compile(
    r"batchsend-[\w.]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|top_level\.txt|licenses/LICENSE)"
    r"|batchsend-[\w.]+\.data/data/share/man/man1/batchsend\.1"
)
SAMPLES = ("campaigns", "templates", "sample_data")
#: The last line of the sample campaign, as README.md shows it.
SUMMARY = re.compile(r"^500 rows = .*$", re.MULTILINE)
UNRELEASED = "Unreleased"
UV = (sys.executable, "-m", "uv")


class CheckError(Exception):
    """The release must not be published; the message says why and what to do."""


def main() -> int:
    try:
        sdist, wheel = build(DIST)
        check_metadata(sdist, wheel)
        check_names(tracked_files(), names_in_sdist(sdist), names_in_wheel(wheel))
        print(
            check_version(
                version_of(wheel), newest_section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
            )
        )
        with tempfile.TemporaryDirectory(prefix="batchsend-release-") as folder:
            print("Installing the wheel in an environment of its own ...")
            command = install(wheel, Path(folder) / "environment")
            print(send_samples(command, Path(folder) / "samples"))
    except CheckError as error:
        print(f"Not fit for a release: {error}", file=sys.stderr)
        return 1
    if reminder := obstacles((ROOT / "pyproject.toml").read_text(encoding="utf-8")):
        print(reminder)
    print(f"Checked: {sdist.relative_to(ROOT)} and {wheel.relative_to(ROOT)}")
    return 0


def build(dist: Path) -> tuple[Path, Path]:
    """The sdist and the wheel, built from the tracked files alone: leftovers of earlier builds cannot get in."""
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="batchsend-build-") as folder:
        for name in tracked_files():
            copy = Path(folder) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy)
        print("Building the sdist, and the wheel from it ...")
        run([sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(dist), folder])
    return next(dist.glob("*.tar.gz")), next(dist.glob("*.whl"))


def tracked_files() -> list[str]:
    """The files that git knows, as paths from the root."""
    listed = run(["git", "-C", str(ROOT), "ls-files", "-z"])
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def check_metadata(sdist: Path, wheel: Path) -> None:
    """Checks what an index reads, the README included, and the structure of the wheel."""
    run([sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)])
    run([sys.executable, "-m", "check_wheel_contents", str(wheel)])


def names_in_sdist(sdist: Path) -> list[str]:
    """The files of an sdist, without its top folder."""
    with tarfile.open(sdist) as archive:
        return [str(PurePosixPath(*PurePosixPath(file.name).parts[1:])) for file in archive if file.isfile()]


def names_in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def check_names(tracked: Iterable[str], in_sdist: Iterable[str], in_wheel: Iterable[str]) -> None:
    """Checks that both contain each file that belongs in them, and nothing else."""
    tracked = list(tracked)
    shipped = {name for name in tracked if not name.startswith(NOT_IN_SDIST)}
    package = {name for name in tracked if name.startswith("batchsend/")}
    for kind, wanted, present, where in (
        ("sdist", shipped, {name for name in in_sdist if not ADDED_TO_SDIST.fullmatch(name)}, "MANIFEST.in"),
        (
            "wheel",
            package,
            {name for name in in_wheel if not ADDED_TO_WHEEL.fullmatch(name)},
            "package-data in pyproject.toml",
        ),
    ):
        if missing := sorted(wanted - present):
            raise CheckError(f"the {kind} lacks {', '.join(missing)}. Add it to {where}.")
        if surplus := sorted(present - wanted):
            raise CheckError(f"the {kind} contains {', '.join(surplus)}. Take it out of {where}.")


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def newest_section(changelog: str) -> str:
    """The name of the first section: a version or `Unreleased`."""
    heading = re.search(r"^## \[(?P<name>[^\]]+)\](?P<date> - \d{4}-\d\d-\d\d)?$", changelog, re.MULTILINE)
    if heading is None or (heading["name"] != UNRELEASED and not heading["date"]):
        raise CheckError("CHANGELOG.md has to begin with `## [Unreleased]` or `## [VERSION] - YYYY-MM-DD`.")
    return heading["name"]


def check_version(version: str, section: str) -> str:
    """A sentence on what these files are: a release, or what the next one would be."""
    if section == UNRELEASED:
        return (
            f"Version {version}, not a release yet: the changes in CHANGELOG.md are still under Unreleased."
        )
    if section != version:
        raise CheckError(
            f"batchsend/utils/version.py says {version}, and the newest section of CHANGELOG.md is {section}. "
            f"Change the one that is wrong."
        )
    return f"Version {version}, as in CHANGELOG.md."


def obstacles(pyproject: str) -> str | None:
    """A reminder of what an upload still needs."""
    project = tomllib.loads(pyproject)["project"]
    needs = [
        *(
            ["another name, as batchsend on the index is another project"]
            if project["name"] == "batchsend"
            else []
        ),
        *([] if project.get("urls") else ["[project.urls]"]),
    ]
    return (
        f"Before an upload, pyproject.toml needs {' and '.join(needs)}. See CONTRIBUTING.md."
        if needs
        else None
    )


def install(wheel: Path, environment: Path) -> Path:
    """The installed command; the environment has the exact versions of constraints.txt and nothing else."""
    run([*UV, "venv", "-q", "--python", sys.executable, str(environment)])
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    here = ["--python", str(environment)]
    run([*UV, "pip", "install", "-q", *here, "-c", str(ROOT / "constraints.txt"), str(wheel)])
    run([*UV, "pip", "check", "-q", *here])
    return binaries / "batchsend"


def send_samples(command: Path, folder: Path) -> str:
    """Sends the sample campaign in a rehearsal; returns its summary line, which has to be the one in README.md."""
    for name in SAMPLES:
        for file in tracked_files():
            if file.startswith(f"{name}/"):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, folder / file)
    arguments = ["send", "campaigns/spring_service.toml", "--sandbox", "--yes", "--quiet", "--rate", "500"]
    # Exit code 1 is expected: the sample list has bad rows.
    output = run([str(command), *arguments], folder, expected=1)
    summary = SUMMARY.search(output)
    if summary is None or summary[0] not in (ROOT / "README.md").read_text(encoding="utf-8"):
        raise CheckError(f"the sample campaign ended with {output.strip()!r}, unlike README.md.")
    return summary[0]


def run(command: list[str], folder: Path | None = None, expected: int = 0) -> str:
    """The output of a command that has to end with this code. It imports nothing from the current folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != expected:
        raise CheckError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
