"""The units in deploy/systemd, judged by systemd and run by it exactly as they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from misbehaving import Misbehaving, answer, misbehaving, refusal, says, success, waits_until
from private_systemd import UNITS, PrivateSystemd, until
from world import PASSWORD, USERNAME, World, customers, read_results

pytestmark = pytest.mark.system

#: How much a service may expose, from 0 to 10, as `systemd-analyze security` counts.
MOST_EXPOSURE = 3.5


def copied(folder: Path) -> list[Path]:
    """The units in a folder of their own, with a command that exists, and templates with an instance."""
    shutil.copytree(UNITS, folder, dirs_exist_ok=True)
    files = []
    for unit in sorted(folder.glob("batchsend-*.*")):
        if unit.is_file():
            unit.write_text(unit.read_text().replace("/opt/batchsend/bin/batchsend", sys.executable))
            files.append(unit.rename(unit.with_name(unit.name.replace("@.", "@appointments."))))
    return files


def verified(*units: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, encoding="utf-8"
    )
    return done.returncode, [line for line in done.stderr.splitlines() if "batchsend" in line]


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    units = copied(tmp_path)
    assert len(units) == 8
    assert verified(*units) == (0, [])


def test_systemd_would_find_what_is_wrong(tmp_path: Path) -> None:
    (timer,) = (unit for unit in copied(tmp_path) if unit.name == "batchsend-send@appointments.timer")
    timer.write_text(timer.read_text().replace("Mon..Fri", "Mon..Fre"))
    assert verified(timer)[0] != 0


def test_services_expose_little(tmp_path: Path) -> None:
    for unit in copied(tmp_path):
        if unit.suffix == ".service":
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit],
                capture_output=True,
                encoding="utf-8",
            )
            level = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
            assert level is not None and float(level[1]) <= MOST_EXPOSURE, done.stdout + done.stderr


# --- run

run_by_systemd = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="namespaces need root"),
]


@pytest.fixture
def bench() -> Iterator[Misbehaving]:
    with misbehaving() as running:
        yield running


@pytest.fixture
def systemd(tmp_path: Path, bench: Misbehaving) -> Iterator[PrivateSystemd]:
    made = PrivateSystemd(tmp_path)
    world = World(made.texts, bench.base_url).write(customers(6), campaign="[sending]\nconcurrency = 1\n")
    (world.folder / "campaign.toml").rename(world.folder / "appointments.toml")
    settings = {
        "MYKAARMA_BASE_URL": bench.base_url,
        "MYKAARMA_USERNAME": USERNAME,
        "MYKAARMA_PASSWORD": f"'{PASSWORD}'",
    }
    (world.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (world.folder / ".env").chmod(0o600)
    made.give()
    with made.running():
        yield made


def add(systemd: PrivateSystemd, text: str) -> None:
    with (systemd.texts / "appointments.toml").open("a", encoding="utf-8") as file:
        file.write(text)


def outcomes(systemd: PrivateSystemd) -> list[str]:
    """The status of each row of the first run."""
    return [
        str(row["status"]) for row in read_results(systemd.texts / "results/appointments-1.xlsx").values()
    ]


@pytest.mark.usefixtures("bench")
class TestRunBySystemd:
    pytestmark = run_by_systemd

    def test_a_stopped_scheduler_finishes_what_is_in_flight(
        self, systemd: PrivateSystemd, bench: Misbehaving
    ) -> None:
        World(systemd.texts).write_list(customers(100))
        held = threading.Event()
        bench.scripts["customer-2"] = [[waits_until(held), says(answer(200, success()))]]
        add(systemd, '\n[schedule]\ncron = "* * * * *"\n')
        systemd.ctl("start", "batchsend-schedule")
        until(lambda: len(bench.received) == 3, 120)
        stopping = threading.Thread(target=systemd.ctl, args=("stop", "batchsend-schedule"))
        stopping.start()
        until(lambda: systemd.show("batchsend-schedule", "ActiveState") == ["deactivating"])
        held.set()
        stopping.join()
        names = ("ActiveState", "Result", "ExecMainStatus")
        assert systemd.show("batchsend-schedule", *names) == ["inactive", "success", "130"]
        found = outcomes(systemd)
        assert set(found) == {"accepted", "pending"}
        assert found.count("accepted") == len(bench.received)
        # It belongs to the user, and nobody else can read it.
        for file in systemd.texts.glob(".batchsend/*"):
            assert (file.stat().st_uid, file.stat().st_mode & 0o077) == (64123, 0), file
        # It is continued at the next start.
        systemd.ctl("start", "batchsend-schedule")
        until(lambda: len(bench.received) == 100, 120)
        assert set(bench.customers().values()) == {1}

    def test_a_killed_scheduler_is_started_again(self, systemd: PrivateSystemd) -> None:
        add(systemd, '\n[schedule]\ncron = "0 10 * * *"\n')
        override = systemd.units / "batchsend-schedule.service.d"
        override.mkdir()
        (override / "quick.conf").write_text("[Service]\nRestartSec=0\n")
        systemd.ctl("daemon-reload")
        systemd.ctl("start", "batchsend-schedule")
        (pid,) = systemd.show("batchsend-schedule", "MainPID")
        systemd.run("kill", "-9", pid)
        until(lambda: systemd.show("batchsend-schedule", "ActiveState", "NRestarts") == ["active", "1"])

    @pytest.mark.parametrize(
        ("answers", "campaign", "result", "status"),
        [
            (200, "", "success", "0"),
            (200, '[sending]\nquiet_hours = { from = "00:00", to = "23:59" }\n', "success", "5"),
            (200, "[guards]\nmax_texts = 5\n", "exit-code", "2"),
            (401, "", "exit-code", "3"),
        ],
    )
    def test_what_systemd_makes_of_an_exit_code(
        self,
        systemd: PrivateSystemd,
        bench: Misbehaving,
        answers: int,
        campaign: str,
        result: str,
        status: str,
    ) -> None:
        if answers == 401:
            bench.scripts["customer-0"] = [[says(answer(401, refusal()))]]
        text = (systemd.texts / "appointments.toml").read_text(encoding="utf-8")
        if "[sending]" in campaign:
            text = text.partition("[sending]")[0]
        (systemd.texts / "appointments.toml").write_text(text + campaign, encoding="utf-8")
        unit = "batchsend-send@appointments.service"
        systemd.ctl("start", "--no-block", unit)
        until(lambda: systemd.show(unit, "ExecMainExitTimestampMonotonic") != ["0"])
        until(lambda: systemd.show(unit, "SubState") != ["start"])
        assert systemd.show(unit, "Result", "ExecMainStatus") == [result, status]
        # 3 is tried again in a quarter of an hour, and the others are not.
        (state,) = systemd.show(unit, "SubState")
        assert state == {"0": "dead", "5": "dead", "2": "failed", "3": "auto-restart"}[status]

    def test_the_receiver_the_console_the_backup_and_the_timer_start(
        self, systemd: PrivateSystemd, bench: Misbehaving
    ) -> None:
        assert systemd.as_user("/opt/batchsend/bin/batchsend send appointments.toml --yes").returncode == 0
        systemd.ctl("start", "batchsend-backup.service")
        (backup,) = systemd.backups.iterdir()
        assert (backup.stat().st_uid, backup.stat().st_mode & 0o077) == (64123, 0)
        add_user = (
            "printf 'a long password\\n' | /opt/batchsend/bin/batchsend web-users add dana --password-stdin"
        )
        assert systemd.as_user(add_user).returncode == 0
        units = ("batchsend-callbacks.service", "batchsend-web.service", "batchsend-send@appointments.timer")
        systemd.ctl("start", *units)
        for unit, port in zip(units[:2], (8402, 8403), strict=True):
            probe = f"{sys.executable} -c 'import urllib.request; urllib.request.urlopen(\"http://127.0.0.1:{port}/health\")'"
            until(lambda probe=probe: subprocess.run(probe, shell=True, capture_output=True).returncode == 0)
            assert systemd.show(unit, "ActiveState", "NRestarts") == ["active", "0"]
        assert systemd.show(units[2], "ActiveState", "Unit") == [
            "active",
            "batchsend-send@appointments.service",
        ]
        systemd.ctl("stop", *units)
        for unit in units[:2]:
            assert systemd.show(unit, "Result", "ExecMainStatus") == ["success", "0"]

    def test_a_worker_without_its_database_is_started_again(self, systemd: PrivateSystemd) -> None:
        with (systemd.texts / ".env").open("a", encoding="utf-8") as file:
            file.write("BATCHSEND_LEDGER=postgresql://nobody@127.0.0.1:1/none\n")
        unit = "batchsend-worker@1.service"
        systemd.ctl("start", unit)
        until(lambda: systemd.show(unit, "SubState") == ["auto-restart"])
        assert systemd.show(unit, "ExecMainStatus") == ["2"]
