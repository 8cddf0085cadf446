"""The services in deploy/container/compose.yaml as processes, each with a PostgreSQL that asks for a password.

Each is the first process of its own PID namespace, as in a container, where this user may make one.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
import pytest
import yaml
from dotenv import dotenv_values
from postgres_server import running_postgres
from status_port import free_port
from world import PASSWORD, USERNAME, Sandbox, World, customers

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
COMPOSE = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
COMMAND = str(Path(sys.executable).with_name("batchsend"))
SITE = "texts.localhost"
CONSOLE_PASSWORD = "four words are good"
DATABASE_PASSWORD = "a $trange p@ss:word/"
#: What is in the image's health check between `CMD` and the end of the line.
HEALTH_CHECK = re.search(r'HEALTHCHECK .*?"-c", "(.*)"\]', (FOLDER / "Dockerfile").read_text(), re.DOTALL)
#: The ports in compose.yaml: of the status, the receiver of updates and the console.
STATUS, UPDATES, CONSOLE = "8401", "8399", "8397"
OWN_PROCESSES = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def wait_until(condition: Callable[[], object], describe: object = "") -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline, describe
        time.sleep(0.05)


@contextmanager
def database() -> Iterator[str]:
    """The address of a database as the Compose file makes it, without the password."""
    with (
        running_postgres() as server,
        psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", autocommit=True) as admin,
    ):
        shown = admin.execute("SHOW hba_file").fetchone()
        assert shown is not None
        rules = Path(shown[0])
        rules.write_text(
            f"host all batchsend 127.0.0.1/32 scram-sha-256\n{rules.read_text(encoding='utf-8')}",
            encoding="utf-8",
        )
        admin.execute(f"CREATE ROLE batchsend LOGIN PASSWORD '{DATABASE_PASSWORD}'")
        admin.execute("CREATE DATABASE batchsend OWNER batchsend")
        admin.execute("SELECT pg_reload_conf()")
        yield f"127.0.0.1:{server.port}"


@dataclass
class Service:
    """A service that runs, and the ports here for the ports in compose.yaml."""

    process: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, int]

    def main(self) -> psutil.Process:
        """The process that a container runtime would signal."""
        outer = psutil.Process(self.process.pid)
        return next(iter(outer.children())) if self.process.args[0] == "unshare" else outer

    def is_healthy(self) -> bool:
        """Asks as the image's health check does."""
        assert self.process.poll() is None, self.log.read_text()
        assert HEALTH_CHECK is not None
        program = HEALTH_CHECK[1].replace(STATUS, str(self.ports[STATUS]))
        return subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL).returncode == 0

    def stop(self) -> int:
        """Stops it as a container runtime does. Returns its exit code."""
        self.main().send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Stack:
    """What `docker compose` would run, in a user's folder."""

    world: World
    folder: Path
    running: list[tuple[str, Service]] = field(default_factory=list)

    @property
    def services(self) -> dict[str, Any]:
        # ${NAME:?...} as Compose fills it in.
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", r"${\1}", COMPOSE)
        loaded: dict[str, Any] = yaml.safe_load(Template(text).substitute(self.world.environment))
        return {
            name: service for name, service in loaded["services"].items() if service["image"] == "batchsend"
        }

    def run_manual(self) -> list[str]:
        """Runs the commands of the manual before `up`. Returns what they print."""
        manual = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
        lines = re.search(r"docker compose build\n(.*?)docker compose up", manual, re.DOTALL)
        assert lines is not None
        outputs = []
        for line in lines[1].splitlines():
            service, *words = line.removeprefix("docker compose run --rm ").split()
            assert service in self.services
            typed = ["--password-stdin"] if words[0] == "web-users" else []
            done = self.world.run_cold(*words, *typed, answer=CONSOLE_PASSWORD + "\n")
            assert done.code == 0, done.err
            outputs.append(done.out)
        return outputs

    def up(self) -> None:
        for name, service in self.services.items():
            for _ in range(service.get("scale", 1)):
                self.running.append((name, self._start(name, service["command"])))
        for name, service in self.running:
            wait_until(service.is_healthy, name)

    def _start(self, name: str, command: list[str]) -> Service:
        ports = {port: free_port() for port in (STATUS, UPDATES, CONSOLE)}
        words = [str(ports.get(word, word)) for word in command]
        own = OWN_PROCESSES if sys.platform == "linux" and os.geteuid() == 0 else []
        log = self.folder / f"{name}-{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*own, COMMAND, *words],
                cwd=self.world.folder,
                env=self.world.env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return Service(process, log, ports)

    def one(self, name: str) -> Service:
        (found,) = (service for of, service in self.running if of == name)
        return found

    def ask_database(self, query: str) -> object:
        with psycopg.connect(
            self.world.environment["BATCHSEND_LEDGER"], password=DATABASE_PASSWORD
        ) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row and row[0]


@pytest.fixture
def stack(tmp_path: Path, world: World) -> Iterator[Stack]:
    made = Stack(world, tmp_path)
    with database() as address:
        settings = {name: value or "" for name, value in dotenv_values(FOLDER / "env.example").items()}
        world.environment = settings | {
            "SITE": SITE,
            "MYKAARMA_USERNAME": USERNAME,
            "MYKAARMA_PASSWORD": PASSWORD,
            "BATCHSEND_LEDGER": settings["BATCHSEND_LEDGER"].replace("@postgres/", f"@{address}/"),
            "PGPASSWORD": DATABASE_PASSWORD,
        }
        try:
            yield made
        finally:
            for _, service in made.running:
                service.process.kill()
                service.process.wait()


@contextmanager
def caddy(stack: Stack) -> Iterator[http.client.HTTPSConnection]:
    """A connection to Caddy with the Caddyfile, over TLS with a certificate of its own making."""
    secure, plain = free_port(), free_port()
    text = (FOLDER / "Caddyfile").read_text(encoding="utf-8")
    text = text.replace(
        "{\n", f"{{\nadmin off\nskip_install_trust\nhttps_port {secure}\nhttp_port {plain}\n", 1
    )
    for name, port in (("callbacks", UPDATES), ("web", CONSOLE)):
        assert f" {name}:{port}\n" in text
        text = text.replace(f" {name}:{port}\n", f" 127.0.0.1:{stack.one(name).ports[port]}\n")
    text = text.replace("{$SITE} {\n", "{$SITE} {\nlog\n")
    (stack.folder / "Caddyfile").write_text(text)
    program = shutil.which("caddy")
    assert program is not None
    home = {"HOME": str(stack.folder), "XDG_DATA_HOME": str(stack.folder / "data"), "SITE": SITE}
    with (stack.folder / "caddy.log").open("wb") as output:
        server = subprocess.Popen(
            [program, "run", "--config", str(stack.folder / "Caddyfile")],
            stdout=output,
            stderr=output,
            env={**os.environ, **home},
        )
    try:
        root = stack.folder / "data/caddy/pki/authorities/local/root.crt"
        certificate = stack.folder / f"data/caddy/certificates/local/{SITE}/{SITE}.crt"
        wait_until(lambda: certificate.exists() and root.exists(), stack.folder)
        context = ssl.create_default_context(cafile=str(root))
        connection = http.client.HTTPSConnection(f"{SITE}:{secure}", context=context)
        connected = socket.create_connection(("127.0.0.1", secure))
        connection.sock = context.wrap_socket(connected, server_hostname=SITE)
        with closing(connection):
            yield connection
    finally:
        server.terminate()
        server.wait()


def answer(
    connection: http.client.HTTPSConnection, path: str, body: bytes, **headers: str
) -> http.client.HTTPResponse:
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    response.read()
    return response


def sign_in(connection: http.client.HTTPSConnection) -> None:
    form = urlencode({"name": "dana", "password": CONSOLE_PASSWORD}).encode()
    origin = f"https://{connection.host}:{connection.port}"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin}
    signed_in = answer(connection, "/login", form, **headers)
    assert (signed_in.status, signed_in.getheader("Location")) == (303, "/")
    cookie = signed_in.getheader("Set-Cookie") or ""
    assert "Secure" in cookie
    connection.request("GET", "/", headers={"Cookie": cookie.split(";")[0]})
    page = connection.getresponse()
    assert page.status == 200
    assert b"Spring" in page.read()


@pytest.mark.timeout(240)
def test_the_commands_of_the_manual_start_services_that_are_healthy_and_stop(
    stack: Stack, sandbox: Sandbox
) -> None:
    stack.world.write(customers(40), campaign='\n[schedule]\ncron = "* * * * *"\n')
    upgraded, added = stack.run_manual()
    assert "Queue for workers: created" in upgraded
    assert "dana can sign in." in added
    stack.up()
    assert [name for name, _ in stack.running].count("worker") == 2
    # The schedule starts its campaign in the next minute, with the password of the database in the environment.
    sandbox.wait_for(40, seconds=120)
    with caddy(stack) as connection:
        secret = (stack.world.folder / ".batchsend" / "callback-secret").read_text()
        update = b'{"messageUUID": "m", "status": "SENT"}'
        assert answer(connection, f"/batchsend/{secret}", update).status == 200
        assert answer(connection, f"/batchsend/{secret}x", update).status == 404
        sign_in(connection)
    assert stack.ask_database("SELECT count(*) FROM updates") == 1
    wait_until(lambda: stack.ask_database("SELECT count(*) FROM messages WHERE status = 'accepted'") == 40)
    log = (stack.folder / "caddy.log").read_text()
    assert '"uri":"/batchsend/-"' in log
    assert secret not in log
    codes = {name: service.stop() for name, service in reversed(stack.running)}
    assert codes == dict.fromkeys(codes, 0)
    assert DATABASE_PASSWORD not in "".join(service.log.read_text() for _, service in stack.running)
    assert set(sandbox.texts().values()) == {1}


def test_workers_send_what_is_handed_over_and_stop_in_the_middle(stack: Stack, sandbox: Sandbox) -> None:
    stack.world.write(customers(400), campaign="\n[sending]\nrate = 100\n")
    stack.run_manual()
    (stack.world.folder / "other.toml").write_text(
        (stack.world.folder / "campaign.toml").read_text().replace("Spring", "Other")
        + '\n[schedule]\ncron = "0 10 1 1 *"\n'
    )
    stack.up()
    detached = stack.world.send("--detach")
    assert detached.code == 0, detached.err
    assert "handed over to 2 workers" in detached.out
    sandbox.wait_for(100)
    first = next(service for name, service in stack.running if name == "worker")
    assert first.stop() == 0
    sandbox.wait_for(400)
    wait_until(lambda: stack.ask_database("SELECT count(*) FROM messages WHERE status = 'accepted'") == 400)
    assert set(sandbox.texts().values()) == {1}
