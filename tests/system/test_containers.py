"""The services in deploy/container/compose.yaml, started, checked, used and broken as in containers."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from compose import OUTSIDE, ROOT, SERVER, Compose, settings_of_manual, until
from web_client import Clicker
from world import PASSWORD, USERNAME, Sandbox, World, customers

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="namespaces need root"),
]

SITE = "texts.localhost"
CONSOLE_PASSWORD = "four words are good"
DATABASE_PASSWORD = "a $trange p@ss:word/"
MANUAL = (ROOT / "docs" / "server.md").read_text(encoding="utf-8").partition("## In containers")[2]
SPRING = "/campaign/here/campaign"
OURS = {"web", "schedule", "callbacks", "worker", "worker-2"}


@pytest.fixture
def compose(tmp_path: Path, world: World, sandbox: Sandbox) -> Iterator[Compose]:
    values = {
        "SITE": SITE,
        "MYKAARMA_USERNAME": USERNAME,
        "MYKAARMA_PASSWORD": PASSWORD,
        "PGPASSWORD": DATABASE_PASSWORD,
    }
    settings = {**settings_of_manual(values), "MYKAARMA_BASE_URL": "http://127.0.0.1:8398"}
    made = Compose(tmp_path / "compose", world.folder, settings, urlsplit(sandbox.base_url).port or 0)
    try:
        yield made
    finally:
        made.close()


def give(world: World) -> None:
    """As the manual says: the folder and the files in it belong to the user of the containers."""
    for path in (world.folder, *world.folder.rglob("*")):
        os.chown(path, 10001, 10001)
    world.folder.chmod(0o700)


def follow(compose: Compose, begin: str, backup: Path | None = None) -> str:
    """Runs the block of commands in the manual that begins so. Returns what they print."""
    (block,) = (block for block in re.findall(r"```sh\n(.*?)```", MANUAL, re.DOTALL) if begin in block)
    printed = []
    for line in block.splitlines():
        if re.match("docker compose (build|ps|pull)|install ", line):
            continue
        answer = f"{CONSOLE_PASSWORD}\n" if "web-users" in line else ""
        code, text = compose.command(f"{line} --password-stdin" if answer else line, answer, backup)
        assert code == 0, (line, text)
        printed.append(text)
    return "".join(printed)


@dataclass
class Browser(Clicker):
    """A browser outside of the server, at one of two addresses."""

    compose: Compose = field(kw_only=True)
    address: str = field(default=f"{OUTSIDE}.7", kw_only=True)

    @property
    def origin(self) -> str:
        return f"https://{SITE}"

    def connect(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=str(self.compose.authority))
        connection = http.client.HTTPSConnection(SITE, context=context, timeout=60)
        with self.compose.networks.inside("clients"):
            plain = socket.create_connection((SERVER, self.port), 60, (self.address, 0))
        connection.sock = context.wrap_socket(plain, server_hostname=SITE)
        return connection

    def sign_in(self, password: str = CONSOLE_PASSWORD, **headers: str) -> int:
        """Returns the status of the page that follows."""
        form = urlencode({"name": "dana", "password": password}).encode()
        answer = self.raw(
            "POST", "/login", form, {"Content-Type": "application/x-www-form-urlencoded", **headers}
        )
        assert answer.status == 303, answer.plain
        given = [cookie for cookie in answer.cookies if "Max-Age=0" not in cookie]
        assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in given), given
        return self.raw("GET", answer.headers["Location"]).status


def stopped_at(compose: Compose, names: set[str], number: signal.Signals) -> None:
    for name in names:
        compose.containers[name].main().send_signal(number)


def health(compose: Compose, names: set[str]) -> dict[str, bool]:
    """What the health checks say, asked at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(compose.is_healthy, names), strict=True))


def test_the_commands_of_the_manual_start_services_that_are_checked_and_stop(
    compose: Compose, world: World, sandbox: Sandbox
) -> None:
    world.write(customers(40), campaign='\n[schedule]\ncron = "* * * * *"\n')
    spring = (world.folder / "campaign.toml").read_text()
    (world.folder / "other.toml").write_text(spring.partition("[schedule]")[0].replace("Spring", "Other"))
    give(world)
    printed = follow(compose, "web-users")
    assert "Queue for workers: created" in printed
    assert "dana can sign in." in printed
    assert set(compose.containers) == {*OURS, "caddy"}
    browser = Browser(443, compose=compose)
    the_web_server_is_in_front(compose, browser)
    updates_arrive(compose, browser, (world.folder / ".batchsend/callback-secret").read_text())
    guesses_are_counted_by_address(compose)
    lists_of_fifty_megabytes_arrive(compose, browser, "/campaign/here/other/list")
    # The schedule starts its campaign in the next minute.
    sandbox.wait_for(40, seconds=70)
    until(
        lambda: compose.ask_database("SELECT count(*) FROM messages WHERE status = 'accepted'") == "40",
        "sent",
    )
    # A service that hangs is not healthy, nor is one without its database.
    stopped_at(compose, OURS, signal.SIGSTOP)
    assert not any(health(compose, OURS).values())
    stopped_at(compose, OURS, signal.SIGCONT)
    until(lambda: all(health(compose, OURS).values()), "healthy again")
    compose.kill_postgres()
    until(lambda: not any(health(compose, OURS).values()), "without a database")
    compose.up("postgres")
    until(lambda: all(health(compose, OURS).values()), "healthy with a database")
    codes = compose.stop()
    assert {name: codes[name] for name in OURS} == dict.fromkeys(OURS, 0)
    assert DATABASE_PASSWORD not in "".join(one.printed() for one in compose.containers.values())
    assert set(sandbox.texts().values()) == {1}


def the_web_server_is_in_front(compose: Compose, browser: Browser) -> None:
    with compose.networks.inside("clients"):
        plain = http.client.HTTPConnection(SERVER, timeout=60)
        plain.connect()
    with closing(plain):
        plain.request("GET", "/", headers={"Host": SITE})
        answer = plain.getresponse()
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{SITE}/")
    assert browser.sign_in() == 200
    assert "Spring" in browser.get("/").plain


def updates_arrive(compose: Compose, browser: Browser, secret: str) -> None:
    update = b'{"messageUUID": "m", "status": "SENT"}'
    assert browser.raw("POST", f"/batchsend/{secret}", update).status == 200
    assert browser.raw("POST", f"/batchsend/{secret}x", update).status == 404
    assert compose.ask_database("SELECT count(*) FROM updates") == "1"
    compose.containers["callbacks"].kill()
    assert browser.raw("POST", f"/batchsend/{secret}", update).status == 502
    log = compose.containers["caddy"].printed()
    assert '"uri":"/batchsend/-"' in log
    assert secret not in log
    assert compose.restart_ended() == ["callbacks"]


def guesses_are_counted_by_address(compose: Compose) -> None:
    """The address is that of the browser, not the web server's, and not one that a browser names."""
    guesser = Browser(443, compose=compose)
    named = ({"X-Forwarded-For": f"198.51.100.{number}"} for number in range(20))
    assert any(guesser.sign_in("wrong", **headers) == 429 for headers in named)
    assert Browser(443, compose=compose, address=f"{OUTSIDE}.8").sign_in() == 200


def lists_of_fifty_megabytes_arrive(compose: Compose, browser: Browser, list_page: str) -> None:
    """A larger one is refused with a reason, also to browsers, which speak HTTP/2."""
    megabyte = b"Customer UUID,Note\n" + (b"a," + b"b" * 1021 + b"\n") * 1023
    file = compose.folder / "larger.csv"
    file.write_bytes(megabyte * 100)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    curl = ["curl", "--http2", "--silent", "--cacert", compose.authority, "--write-out", "%{http_code}"]
    curl += ["--resolve", f"{SITE}:443:{SERVER}", "--header", f"Origin: {browser.origin}"]
    curl += ["--cookie", cookies, "--form", f"csrf={browser.token()}", "--form", f"file=@{file}"]
    clients = compose.network("clients")
    done = subprocess.run([*clients, *curl, f"{browser.origin}{list_page}"], capture_output=True)
    assert done.stdout[-3:] == b"303", done
    assert "has more than 50 MB" in browser.get(list_page).plain
    assert browser.send_file(list_page, "large.csv", megabyte * 49).status == 303


def test_nobody_is_texted_twice_or_lost_while_services_are_killed_and_restarted(
    compose: Compose, world: World, sandbox: Sandbox
) -> None:
    world.write(customers(240), campaign='\n[sending]\nrate = 40\n[schedule]\ncron = "0 10 1 1 *"\n')
    give(world)
    follow(compose, "web-users")
    browser = Browser(443, compose=compose)
    browser.sign_in()
    checked, _ = browser.check(SPRING)
    browser.get(f"{checked}/send")
    browser.post(f"{checked}/send", {"choice": "all", "number": "240", "sure": "yes"})
    sandbox.wait_for(20)
    progress_arrives_while_texts_are_sent(browser)
    compose.containers["worker"].kill()
    assert compose.restart_ended() == ["worker"]
    sandbox.wait_for(80)
    compose.kill_postgres()
    compose.up("postgres")
    sandbox.wait_for(120)
    # The console leaves its campaign to the workers.
    assert compose.stop("web") == {"web": 0}
    sandbox.wait_for(170)
    # Stops all in the middle. The requests in flight are finished.
    follow(compose, "--pull")
    open_rows = "SELECT count(*) FROM messages WHERE status NOT IN ('accepted', 'unconfirmed')"
    until(lambda: compose.ask_database(open_rows) == "0", "sent or unconfirmed")
    unconfirmed = int(compose.ask_database("SELECT count(*) FROM messages WHERE status = 'unconfirmed'"))
    assert set(sandbox.texts().values()) == {1}
    assert len(sandbox.texts()) >= 240 - unconfirmed
    # Of all that was stopped, only one worker was killed, with ten requests in flight at most.
    assert unconfirmed <= 10
    browser.sign_in()
    shown = browser.get(f"{SPRING}/run/1").plain
    assert "Run 1, done" in shown
    # The process that the console had started ended in time.
    assert "its process was killed" not in shown


def progress_arrives_while_texts_are_sent(browser: Browser) -> None:
    with closing(browser.connect()) as connection:
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        connection.request("GET", f"{SPRING}/run/1/events", headers={"Cookie": cookies})
        stream = connection.getresponse()
        for _ in range(2):
            assert until(stream.readline, "progress").startswith(b"event: progress")
            while stream.readline().strip():
                pass


def test_the_database_is_upgraded_backed_up_and_restored_as_in_the_manual(
    compose: Compose, world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.write(customers(10))
    give(world)
    compose.command("docker compose run --rm worker ledger upgrade")
    code, printed = compose.command("docker compose run --rm worker send campaign.toml --yes")
    assert code == 0, printed
    backup = tmp_path / "ledger.dump"
    follow(compose, "pg_dump", backup)
    # What was sent later is not known after the restore.
    world.write_list(customers(20))
    give(world)
    code, printed = compose.command("docker compose run --rm worker send campaign.toml --yes")
    assert code == 0, printed
    printed = follow(compose, "pg_restore", backup)
    assert compose.ask_database("SELECT count(*) FROM messages") == "10"
    assert "Spring" in printed
    assert set(sandbox.texts().values()) == {1}
