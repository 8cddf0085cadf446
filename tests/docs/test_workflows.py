"""The workflows on GitHub and the commands in CONTRIBUTING.md are those of the Makefile and of pyproject.toml."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.* ## ", MAKEFILE, re.MULTILINE))
PATH = "/usr/local/bin:/usr/bin:/bin"
#: GitHub reads `on` as a key; YAML 1.1 reads it as true.
WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
JOBS = [
    pytest.param(job, id=f"{name}-{key}")
    for name, flow in WORKFLOWS.items()
    for key, job in flow["jobs"].items()
]
MATRIX = WORKFLOWS["tests.yml"]["jobs"]["test"]

#: Targets that CONTRIBUTING.md has no commands for. The first ones are of use with make only; the others need
#: programs of Debian, npm, or signals of POSIX.
WITHOUT_COMMANDS = {"help", "clean"} | {
    "test-system", "crash", "crash-cluster", "crash-settle", "soak", "replay", "segments"
}  # fmt: skip

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither make nor bash")


def runs(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def commands_of_contributing() -> dict[str, list[str]]:
    """Target -> its commands without make, from the table."""
    found = {}
    for target, commands, _ in re.findall(
        r"^\| `make ([a-z-]+)` \| (.*) \| (.*)\|$", CONTRIBUTING, re.MULTILINE
    ):
        found[target] = re.findall(r"`([^`]+)`", commands)
    # `make test` runs `make lint` first.
    found["test"] = found["lint"] + found["test"]
    return found


@cache
def recipe(target: str) -> list[str]:
    """The lines that `make TARGET` would run, with the installation of what it needs."""
    done = subprocess.run(
        ["make", "-n", "-W", "pyproject.toml", "-W", "constraints.txt", target],
        cwd=ROOT,
        env={"PATH": PATH},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/")]


def without_make(line: str) -> str:
    """A line of a recipe as one types it in an active environment."""
    program, *words = shlex.split(line.removeprefix(".venv/bin/").partition(" || ")[0])
    if program not in {"python", "lint-imports"}:
        program = f"python -m {program}"
    return " ".join([program, *(f'"{word}"' if " " in word else word for word in words)])


# --- CONTRIBUTING.md


def test_every_target_has_its_commands_in_contributing() -> None:
    assert set(commands_of_contributing()) == TARGETS - WITHOUT_COMMANDS
    assert WITHOUT_COMMANDS <= TARGETS


@on_posix
@pytest.mark.parametrize("target", commands_of_contributing())
def test_commands_in_contributing_are_those_of_the_target(target: str) -> None:
    commands = [without_make(line) for line in recipe(target) if "pip install" not in line]
    assert commands_of_contributing()[target] == commands


@on_posix
@pytest.mark.parametrize("target", commands_of_contributing())
def test_extras_in_contributing_are_those_of_the_target(target: str) -> None:
    (named,) = re.findall(rf"^\| `make {target}` \| .* \| (?:`\.\[(\w+)\]` )?\|$", CONTRIBUTING, re.MULTILINE)
    installed = set(
        re.findall(r"\[(\w+)\]", " ".join(line for line in recipe(target) if "pip install" in line))
    )
    assert installed <= {"dev", named}
    assert not named or named in installed


def test_what_contributing_installs_is_there() -> None:
    extras = set(re.findall(r"`?\.\[(\w+)\]", CONTRIBUTING))
    assert "dev" in extras <= set(PROJECT["project"]["optional-dependencies"])


# --- the workflows


@pytest.mark.parametrize("job", JOBS)
def test_a_job_runs_targets_and_commands_that_exist(job: dict[str, Any]) -> None:
    known = {command for commands in commands_of_contributing().values() for command in commands}
    (install,) = re.findall(r"^(python -m pip install .*)$", CONTRIBUTING, re.MULTILINE)
    for line in runs(job):
        make, *words = line.split()
        if make == "make":
            assert words[0] in TARGETS
            assert set(words[1:]) <= {"PYTHON=python"}
        elif "GITHUB_REF_NAME" not in line:
            assert line in {*known, install}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_a_limit_and_actions_of_a_major_version(job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] <= 90
    assert job["steps"]
    for used in [step["uses"] for step in job["steps"] if "uses" in step]:
        assert re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", used)


@pytest.mark.parametrize("flow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_may_only_read_unless_a_job_says_more(flow: dict[str, Any]) -> None:
    assert flow["permissions"] == {"contents": "read"}
    assert flow["concurrency"]["group"]


@on_posix
@pytest.mark.parametrize(
    ("tag", "newest", "is_published"),
    [
        ("v1.2.0", "[1.2.0] - 2026-11-28", True),
        ("v1.2.0", "[Unreleased]", False),
        ("v1.2.0", "[1.1.0] - 2026-11-28", False),
        ("v1.2.1", "[1.2.1] - 2026-11-28", False),  # dist/ has 1.2.0
    ],
)
def test_a_tag_is_published_if_it_names_the_version(
    tag: str, newest: str, is_published: bool, tmp_path: Path
) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "batchsend-1.2.0.tar.gz").touch()
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {newest}\n\n## [1.2.0] - 2026-01-01\n", encoding="utf-8"
    )
    checks = [line for line in runs(WORKFLOWS["release.yml"]["jobs"]["build"]) if "GITHUB_REF_NAME" in line]
    codes = {
        subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env={"GITHUB_REF_NAME": tag, "PATH": PATH}
        ).returncode
        for line in checks
    }
    assert (codes == {0}) is is_published


def test_windows_runs_what_make_test_runs() -> None:
    (install,) = re.findall(r"^(python -m pip install .*)$", CONTRIBUTING, re.MULTILINE)
    steps = [step["run"] for step in MATRIX["steps"] if step.get("if") == "runner.os == 'Windows'"]
    assert steps == [install, *commands_of_contributing()["test"]]


def test_github_runs_what_ci_runs() -> None:
    in_ci = set(re.findall(r"targets\+?=\(([a-z-]+)\)", (ROOT / ".ci/run").read_text(encoding="utf-8")))
    on_github = {
        line.split()[1] for flow in WORKFLOWS.values() for job in flow["jobs"].values() for line in runs(job)
    }
    assert in_ci <= on_github
    assert in_ci


def test_the_versions_are_those_that_the_package_supports() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    supported = [
        match[1] for name in classifiers if (match := re.fullmatch(r"Programming .* :: (3\.\d+)", name))
    ]
    (early,) = re.findall(r"'(3\.\d+)'", MATRIX["continue-on-error"])
    assert MATRIX["strategy"]["matrix"]["python"] == [*supported, early]
    assert PROJECT["project"]["requires-python"] == f">={supported[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{supported[0].replace('.', '')}"
    pythons = re.search(r"^PYTHONS \?= (.*)$", MAKEFILE, re.MULTILINE)
    assert pythons is not None
    assert set(pythons[1].split()) <= set(supported)
