"""The manual's lines for cron and logrotate, run by a real cron and a real logrotate."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from misbehaving import answer, misbehaving, says, success, waits_until
from world import PASSWORD, USERNAME, World, customers, read_results

pytestmark = pytest.mark.system

DOCS = Path(__file__).parents[2] / "docs"
COMMAND = str(Path(sys.executable).with_name("batchsend"))


def shown(language: str, page: str = "scheduling") -> list[str]:
    """The blocks of a page in this language, with the installed command in place of /opt's."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return [block.replace("/opt/batchsend/bin/batchsend", COMMAND) for block in found]


# --- cron

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


@contextmanager
def cron(folder: Path, crontab: Path) -> Iterator[None]:
    """Debian's cron with this crontab alone: in the file system that it sees there is no other, and no other cron."""
    tabs, nothing = folder / "crontabs", folder / "nothing"
    for made in (tabs, nothing):
        made.mkdir(exist_ok=True)
    (folder / "empty").touch()
    script = f"""
        mount --bind '{tabs}' /var/spool/cron/crontabs && mount --bind '{nothing}' /etc/cron.d &&
        mount --bind '{folder / "empty"}' /etc/crontab && mount -t tmpfs tmpfs /run &&
        install -m 600 '{crontab}' /var/spool/cron/crontabs/root && exec /usr/sbin/cron -f
    """
    process = subprocess.Popen([*AS_ROOT, "unshare", "--mount", "sh", "-ec", script])
    try:
        assert process.poll() is None
        yield
        assert process.poll() is None, "cron ended by itself"
    finally:
        subprocess.run([*AS_ROOT, "kill", str(process.pid)], check=False)
        process.wait()


def until(holds: Callable[[], bool], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def sending(folder: Path) -> list[psutil.Process]:
    """The processes of `batchsend send` in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if "send" in process.cmdline() and process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill(process: psutil.Process) -> None:
    subprocess.run([*AS_ROOT, "kill", "-9", str(process.pid)], check=False)


@pytest.mark.timeout(400)
def test_cron_starts_it_twice_at_once_after_a_kill_and_after_a_missed_start(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "texts").mkdir()
    world = World(tmp_path / "texts")
    request.addfinalizer(lambda: [kill(process) for process in sending(world.folder)])
    held = threading.Event()
    with misbehaving() as bench:
        bench.scripts["customer-2"] = [[waits_until(held), says(answer(200, success()))]]
        world.write(customers(6), campaign="[sending]\nrate = 500\nconcurrency = 1\n")
        # cron sets no language.
        text = (world.folder / "campaign.toml").read_text(encoding="utf-8").replace("Spring", "Frühling 🌷")
        (world.folder / "appointments.toml").write_text(text, encoding="utf-8")
        (world.folder / "campaign.toml").unlink()
        settings = {
            "MYKAARMA_BASE_URL": bench.base_url,
            "MYKAARMA_USERNAME": USERNAME,
            "MYKAARMA_PASSWORD": f"'{PASSWORD}'",
        }
        (world.folder / ".env").write_text(
            "".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8"
        )
        (line,) = shown("cron")
        line = line.replace("0 10 * * MON-FRI", "* * * * *").replace("/srv/texts", str(world.folder))
        crontab = tmp_path / "crontab"
        # Twice the same line: two starts at the same moment.
        crontab.write_text(line + line, encoding="utf-8")
        log = world.folder / "jobs.log"

        def endings() -> list[int]:
            text = log.read_text(encoding="utf-8") if log.exists() else ""
            # The last line may be incomplete, and the shell writes a line about a kill.
            written = [part for part in text.split("\n")[:-1] if part != "Killed"]
            events: list[dict[str, Any]] = [json.loads(part) for part in written]
            return [event["exit"] for event in events if event.get("event") == "ended"]

        with cron(tmp_path, crontab):
            until(lambda: len(bench.received) >= 3)
            until(lambda: endings() == [4] and len(sending(world.folder)) == 1)
            (running,) = sending(world.folder)
            kill(running)
        held.set()
        until(lambda: not sending(world.folder))
        # The next minute comes and goes without a cron: that start is missed.
        minute = time.time() // 60
        until(lambda: time.time() // 60 > minute)
        time.sleep(2)
        assert sending(world.folder) == []
        assert (len(bench.received), endings()) == (3, [4])
        with cron(tmp_path, crontab):
            until(lambda: len(endings()) >= 3)
    # The first of the two sent the rest. Rows that the kill left open are reported and need attention.
    assert endings()[0] == 4
    assert set(endings()[1:3]) in ({1, 4}, {1})
    rows = read_results(world.folder / "results" / "appointments-1.xlsx").values()
    in_doubt = {row["Customer UUID"] for row in rows if row["status"] == "unconfirmed"}
    assert "customer-2" in in_doubt
    assert len(in_doubt) <= 2  # 2 x concurrency
    assert set(bench.customers().values()) == {1}
    assert {f"customer-{number}" for number in range(6)} <= {*bench.customers(), *in_doubt}


# --- logrotate


def test_logrotate_takes_the_log_of_a_campaign_that_is_being_sent(tmp_path: Path) -> None:
    log = tmp_path / "jobs.log"
    (block,) = shown("logrotate", "server")
    user, group = log.parent.owner(), log.parent.group()
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(
        block.replace("/srv/texts", str(tmp_path)).replace("texts texts", f"{user} {group}"), encoding="utf-8"
    )
    configuration.chmod(0o644)
    with log.open("a", encoding="utf-8") as sending:
        sending.write("before\n")
        sending.flush()
        for number in range(3):
            done = subprocess.run(
                ["/usr/sbin/logrotate", "--force", "--state", tmp_path / "state", configuration],
                capture_output=True,
                encoding="utf-8",
            )
            assert (done.returncode, done.stderr) == (0, "")
            if number == 0:  # it has the renamed file open
                sending.write("meanwhile\n")
                sending.flush()
            with log.open("a", encoding="utf-8") as later:
                later.write("later\n")
    assert log.read_text(encoding="utf-8") == "later\n"
    assert log.stat().st_mode & 0o077 == 0
    (oldest,) = tmp_path.glob("jobs.log.3*")
    assert gzip.decompress(oldest.read_bytes()) == b"before\nmeanwhile\n"
