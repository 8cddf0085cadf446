"""The zipapp in real processes: the command, the console with the processes that it starts, workers, a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import check_release
import clusters
import make_zipapp
import pytest
import web_client
import world as worlds
import zipapp_main
from clusters import Shared
from packaging.requirements import Requirement
from web_client import serving
from world import STARTER, Sandbox, World, customers

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SLOW = "[sending]\nrate = 100\nconcurrency = 10\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return check_release.build(tmp_path_factory.mktemp("dist"))[1]


@pytest.fixture(scope="module")
def zipapp(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp for this system and Python."""
    work = tmp_path_factory.mktemp("zipapp")
    return make_zipapp.make(wheel, work / "work", work, windows=False)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has no packages, so that batchsend can come from the zipapp alone."""
    environment = tmp_path_factory.mktemp("bare") / "environment"
    check_release.run([*check_release.UV, "venv", "-q", "--python", sys.executable, str(environment)])
    bare = environment / "bin" / "python"
    check_release.run([str(bare), "-c", "import batchsend"], environment, expected=1)
    return bare


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder for caches."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def packed(
    world: World, python: Path, zipapp: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A user's folder in which all commands are run by the zipapp."""
    for module in (worlds, web_client, clusters):
        monkeypatch.setattr(module, "BATCHSEND", (str(python), str(zipapp)))
    world.environment["XDG_CACHE_HOME"] = str(cache)
    token = STARTER.set(None)
    yield world
    STARTER.reset(token)


def test_two_first_starts_at_a_time_unpack_one_folder(packed: World, tmp_path: Path) -> None:
    packed.environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    first, second = packed.start_cold("--version"), packed.start_cold("--version")
    for process in (first, second):
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.split()[0]) == (0, "batchsend,"), err
    assert len(list((tmp_path / "cache" / "batchsend").iterdir())) == 1
    assert packed.run_cold("--version").err == ""


def test_a_start_that_was_killed_while_unpacking_is_made_up_for(packed: World, tmp_path: Path) -> None:
    packed.environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    process = packed.start_cold("--version")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("cache/batchsend/part-*/*")):
        assert time.monotonic() < deadline
    process.kill()
    process.communicate()
    assert packed.run_cold("--version").code == 0


def test_the_readme_can_be_followed_with_the_zipapp_alone(packed: World) -> None:
    assert packed.run_cold("new", "spring").code == 0
    done = packed.run_cold("send", "spring.toml", "--sandbox", "--yes")
    assert (done.code, done.err) == (0, "")
    assert "3 rows = 2 accepted by myKaarma + 1 skipped" in done.out


def test_without_arguments_it_is_the_console_of_the_folder(packed: World, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    packed.environment |= {"TMPDIR": str(temporary), "BROWSER": f"{browser} %s", "PYTHONUNBUFFERED": "1"}
    packed.write(customers(3))
    process = packed.start_cold()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C stops" in line:
            break
    deadline = time.monotonic() + 60
    while not (tmp_path / "opened").exists() or not (tmp_path / "opened").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    rest, err = process.communicate(timeout=60)
    assert lines[0] == f"batchsend for the campaigns in {packed.folder}\n"
    assert "Keep this window open" in lines[1]
    assert (tmp_path / "opened").read_text().startswith("file://")
    assert (process.returncode, rest) == (0, "The web console has stopped.\n"), err


def test_the_console_checks_and_sends(packed: World, sandbox: Sandbox) -> None:
    packed.write(customers(12))
    campaign = "/campaign/here/campaign"
    with serving(packed) as served:
        clicker = served.signed_in()
        address, checked = clicker.check(campaign)
        assert "Review and send 12 text" in checked.plain
        clicker.get(f"{address}/send")
        clicker.submit(f"{address}/send", {"choice": "all", "number": "12", "sure": "yes"})
        clicker.wait_for_run(address)
        assert "12 texts accepted by myKaarma" in clicker.wait_for_end(f"{campaign}/run/1").plain
    assert sorted(sandbox.texts().values()) == [1] * 12


def test_a_killed_run_is_resumed(packed: World, sandbox: Sandbox) -> None:
    packed.write(customers(200), campaign=SLOW)
    process = packed.start_cold("send", "campaign.toml", "--yes")
    sandbox.wait_for(50)
    process.kill()
    process.communicate()
    done = packed.run_cold("send", "campaign.toml", "--yes")
    assert done.code in (0, 1), done.err
    statuses = [row["status"] for row in packed.workbook().values()]
    assert len(statuses) == 200
    assert set(statuses) <= {"accepted", "unconfirmed"}
    assert statuses.count("unconfirmed") <= 20
    assert max(sandbox.texts().values()) == 1
    assert len(sandbox.texts()) >= statuses.count("accepted")


def test_workers_send_a_detached_run_and_one_is_killed(
    packed: World, sandbox: Sandbox, postgres_url: str
) -> None:
    shared = Shared(packed, postgres_url)
    packed.write(customers(300), campaign=SLOW)
    with shared.workers(2) as workers:
        detached = packed.run_cold("send", "campaign.toml", "--yes", "--detach")
        assert detached.code == 0, detached.err
        sandbox.wait_for(60)
        workers[0].kill()
        shared.wait_for_the_end(1)
        shared.wait_until("SELECT count(*) = 1 FROM starts WHERE ended_at IS NOT NULL")
    statuses = shared.statuses(1)
    assert sum(statuses.values()) == 300
    assert set(statuses) <= {"accepted", "unconfirmed"}
    assert max(sandbox.texts().values()) == 1


@pytest.fixture(scope="module")
def for_windows(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The zipapp for Windows, made on this system."""
    work = tmp_path_factory.mktemp("windows")
    with zipfile.ZipFile(make_zipapp.make(wheel, work / "work", work, windows=True)) as archive:
        yield archive


def test_the_file_for_windows_says_what_it_is_for(for_windows: zipfile.ZipFile) -> None:
    facts = json.loads(for_windows.read("zipapp.json"))
    assert (facts["system"], facts["pythons"]) == ("win-amd64", [[3, minor] for minor in range(11, 15)])
    assert re.fullmatch(
        r"batchsend-[\d.]+-windows-python3\.11-3\.14\.pyz", Path(str(for_windows.filename)).name
    )
    with Path(str(for_windows.filename)).open("rb") as file:
        assert file.readline() == b"#!/usr/bin/python3\n"


@pytest.mark.parametrize("minor", range(11, 15))
def test_the_file_for_windows_has_all_libraries_for_each_python(
    for_windows: zipfile.ZipFile, minor: int
) -> None:
    tops = ("common/", f"cp3{minor}/")
    names = [name for name in for_windows.namelist() if name.startswith(tops)]
    assert not [name for name in names if name.endswith((".so", ".dylib"))]
    compiled = [name for name in names if name.endswith(".pyd")]
    assert all(
        re.search(rf"\.cp3{minor}-win_amd64|\.cp3\d+-win_amd64\.pyd$|/[^.]+\.pyd$", name) for name in compiled
    )
    for library in ("numpy", "pandas", "orjson", "pydantic_core", "python_calamine", "rustpy_xlsxwriter"):
        assert any(f"/{library}/" in name for name in compiled), library
    metadata = [
        message_from_bytes(for_windows.read(name)) for name in names if name.endswith(".dist-info/METADATA")
    ]
    present = {key(str(found["Name"])) for found in metadata}
    environment = {
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.0",
        "sys_platform": "win32",
        "platform_system": "Windows",
        "platform_machine": "AMD64",
        "os_name": "nt",
    }
    for found in metadata:
        extras = {"batchsend": ["", make_zipapp.EXTRA, "postgres"]}.get(str(found["Name"]), [""])
        for requirement in map(Requirement, found.get_all("Requires-Dist", [])):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in extras):
                assert key(requirement.name) in present, f"{found['Name']} needs {requirement}"


def key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_file_for_another_system_says_so(for_windows: zipfile.ZipFile, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(for_windows.filename), "--version"],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert (
        f"This file is for Python 3.11 to 3.14 on win-amd64, and this Python is for {zipapp_main.here()}"
        in done.stderr
    )
    assert list(tmp_path.iterdir()) == []
