"""Several hosts for real: each has a network or a name of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
import pytest
from postgres_server import UNPRIVILEGED_USER, Cluster, find_binaries
from world import BATCHSEND, Sandbox, World, customers, read_results

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="network namespaces need root"),
]

API_PORT = 8398
# At 20 a second, the run is long enough for a host that was cut off to come back.
ROWS = 1200
CONCURRENCY = 10
#: Longer than a lease lasts, and than it takes until its jobs go to others.
CUT_SECONDS = 30
#: Plain http is allowed to this computer only: each host has the API's address on its loopback.
FORWARDER = """
import asyncio, sys
host, port = sys.argv[1], int(sys.argv[2])

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    try:
        there = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()

asyncio.run(main())
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """Namespaces `db`, `api`, `one` and `two`; each of the last two has a separate link to each of the first two."""

    def __init__(self) -> None:
        self.mark = uuid4().hex[:5]
        self.names = ("db", "api", "one", "two")

    def host(self, name: str) -> str:
        return f"batchsend-{self.mark}-{name}"

    def inside(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self.host(name)]

    def make(self) -> None:
        for name in self.names:
            ip("netns", "add", self.host(name))
            ip("-n", self.host(name), "link", "set", "lo", "up")
        for subnet, (server, worker) in enumerate(
            [("db", "one"), ("db", "two"), ("api", "one"), ("api", "two")], 1
        ):
            here, there = f"b{self.mark}{subnet}a", f"b{self.mark}{subnet}b"
            ip(
                "link",
                "add",
                here,
                "netns",
                self.host(server),
                "type",
                "veth",
                "peer",
                "name",
                there,
                "netns",
                self.host(worker),
            )
            for name, link, number in ((server, here, 1), (worker, there, 2)):
                ip("-n", self.host(name), "addr", "add", f"10.77.{subnet}.{number}/30", "dev", link)
                ip("-n", self.host(name), "link", "set", link, "up")

    def remove(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.host(name)], capture_output=True)

    def cut(self, *, off: bool) -> None:
        """The way from host `one` to the database."""
        ip("-n", self.host("db"), "link", "set", f"b{self.mark}1a", "down" if off else "up")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        made.make()
        yield made
    finally:
        made.remove()


@contextmanager
def database(hosts: Hosts) -> Iterator[Cluster]:
    # Not below pytest's folder, which PostgreSQL's user cannot read.
    with TemporaryDirectory(prefix="batchsend-postgres-", ignore_cleanup_errors=True) as name:
        cluster = Cluster(Path(name), find_binaries())
        user = [f"--reuid={UNPRIVILEGED_USER}", "--regid=nogroup", "--clear-groups"]
        cluster.prefix, cluster.identity = [*hosts.inside("db"), "setpriv", *user], {}
        cluster.settings = f"listen_addresses = '*'\nunix_socket_directories = '{name}'\n"
        cluster.access = "host all all 10.77.0.0/16 trust\n"
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


def test_a_host_that_is_cut_off_and_comes_back_sends_nothing_twice(hosts: Hosts, tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = stack.enter_context(database(hosts))

        def run_on(name: str, *command: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / f"{name}.log").open("ab"))
            process = subprocess.Popen(
                [*hosts.inside(name), *command],
                cwd=tmp_path,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        sandbox = Sandbox(f"http://127.0.0.1:{API_PORT}", tmp_path / "sandbox.jsonl")
        run_on(
            "api",
            *BATCHSEND,
            "sandbox",
            "--host",
            "0.0.0.0",
            "--port",
            str(API_PORT),
            "--latency",
            "0.1",
            "--record",
            str(sandbox.record),
        )
        worlds = {}
        for number, name in enumerate(("one", "two"), 1):
            url = f"postgresql://postgres@10.77.{number}.1:{cluster.port}/postgres"
            worlds[name] = World(tmp_path / name, sandbox.base_url, {"BATCHSEND_LEDGER": url})
            worlds[name].folder.mkdir()
            run_on(name, sys.executable, "-c", FORWARDER, f"10.77.{number + 2}.1", str(API_PORT))
        admin = stack.enter_context(
            psycopg.connect(host=str(cluster.folder), port=cluster.port, user="postgres", autocommit=True)
        )

        def ask(query: str) -> int:
            row = admin.execute(query.encode()).fetchone()
            assert row is not None
            return int(row[0])

        def wait_until(query: str, seconds: float = 120) -> None:
            deadline = time.monotonic() + seconds
            while not ask(f"SELECT CAST(({query}) AS integer)"):
                assert time.monotonic() < deadline, query
                time.sleep(0.1)

        two = worlds["two"]
        two.write(customers(ROWS), campaign=f"[sending]\nrate = 20\nconcurrency = {CONCURRENCY}\n")
        upgraded = run_on("two", *BATCHSEND, "ledger", "upgrade", env=two.env())
        assert upgraded.wait(60) == 0
        for name, world in worlds.items():
            run_on(name, *BATCHSEND, "worker", "--name", name, "--concurrency", "2", env=world.env())
        wait_until("SELECT count(*) = 2 FROM leases WHERE worker")
        sending = subprocess.run(
            [*hosts.inside("two"), *BATCHSEND, "send", "campaign.toml", "--yes", "--detach"],
            cwd=two.folder,
            env=two.env(),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert sending.returncode == 0, sending.stderr
        wait_until("SELECT count(*) = 2 FROM leases WHERE run_id = 1")
        sandbox.wait_for(60)

        hosts.cut(off=True)
        # Its lease expires, and another process marks its claims.
        wait_until("SELECT count(*) = 0 FROM leases WHERE holder = 'one' AND run_id IS NOT NULL", CUT_SECONDS)
        sent_by_now = len(sandbox.requests())
        taken_off = ask("SELECT count(*) FROM messages WHERE status = 'unconfirmed'")
        assert taken_off <= 2 * CONCURRENCY
        # The other one continues alone.
        sandbox.wait_for(sent_by_now + 40)
        hosts.cut(off=False)
        # It comes back by itself, and has a hand in the run again.
        wait_until("SELECT count(*) = 1 FROM leases WHERE holder = 'one' AND run_id IS NOT NULL")
        wait_until("SELECT count(*) = 0 FROM messages WHERE status IN ('pending', 'in_flight')")
        wait_until("SELECT NOT open FROM handovers WHERE run_id = 1")
        results = subprocess.run(
            [*hosts.inside("two"), *BATCHSEND, "results", "1", "--out", "results.xlsx"],
            cwd=two.folder,
            env=two.env(),
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        assert results.returncode == 0
    rows = read_results(two.folder / "results.xlsx")
    statuses = [row["status"] for row in rows.values()]
    assert len(rows) == ROWS
    assert set(statuses) <= {"accepted", "unconfirmed"}
    assert statuses.count("unconfirmed") <= 2 * CONCURRENCY
    texts = sandbox.texts()
    assert max(texts.values()) == 1
    assert all(texts[row["customerUUID"]] == 1 for row in rows.values() if row["status"] == "accepted")


def test_a_folder_moved_to_a_computer_of_another_name_texts_nobody_again(
    world: World, sandbox: Sandbox
) -> None:
    """The steps of "Moving to another computer" in docs/ledger.md."""
    world.write(customers(3), campaign="[sending]\nrate = 2000\n")
    assert world.send().code == 0
    moved = world.folder.with_name("moved")
    shutil.copytree(world.folder, moved)
    (world.folder / ".batchsend").rename(world.folder / "moved-away")
    (world.folder / "campaign.toml").rename(world.folder / "campaign.moved")

    def there(command: str) -> str:
        done = subprocess.run(
            ["unshare", "--uts", "sh", "-c", f"hostname another-computer && exec {command}"],
            cwd=moved,
            env=world.env(),
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    batchsend = f"{sys.executable} -m batchsend"
    assert "up to date" in there(f"{batchsend} ledger upgrade")
    assert "Spring" in there(f"{batchsend} runs")
    World(moved).write_list(customers(5))
    assert "3 skipped" in there(f"{batchsend} preview campaign.toml")
    assert "another-computer" in there(f"{batchsend} send campaign.toml --yes")
    assert set(sandbox.texts().values()) == {1}
    assert len(sandbox.texts()) == 5
