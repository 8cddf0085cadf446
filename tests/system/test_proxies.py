"""The configurations of web servers in the manual, in real ones in front of a real listener."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from free_ports import free_port
from update_listener import Listening, listening
from web_client import serving
from world import World, customers

from batchsend.web.auth.users import Users
from batchsend.web.folder import users_file

pytestmark = pytest.mark.system

DOCS = Path(__file__).parents[2] / "docs"
MANUAL = DOCS / "callbacks.md"


def locations(port: int, secret: str) -> str:
    """The `location` blocks in the manual, for a listener on this port and a client on this computer."""
    shown = re.findall(r"```nginx\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert len(shown) == 2
    text = "\n".join(map(textwrap.dedent, shown)).replace(":8399", f":{port}")
    return text.replace("THE-SECRET", secret).replace("54.174.160.138", "127.0.0.1")


@contextmanager
def nginx(folder: Path, listener: Listening) -> Iterator[int]:
    """The port of an nginx that forwards updates."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    port = free_port()
    configuration = folder / "nginx.conf"
    temporary = "\n".join(
        f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Started as root, nginx would switch to another user, who may not write here.
    user = "user root; " if os.geteuid() == 0 else ""
    configuration.write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log info; events {{}}\n"
        f"http {{ {temporary} access_log {folder}/access.log;\n"
        f"server {{ listen 127.0.0.1:{port}; {locations(listener.port, listener.secret)} }} }}\n"
    )
    with proxy(folder, port, program, "-p", str(folder), "-c", str(configuration)):
        yield port


@contextmanager
def caddy(folder: Path, listener: Listening) -> Iterator[int]:
    """The port of a Caddy that forwards updates and logs requests."""
    shown = re.search(r"```caddy\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    port = free_port()
    text = textwrap.dedent(shown[1]).replace(":8399", f":{listener.port}")
    text = text.replace("{\n", "{\n    admin off\n", 1)
    text = text.replace("sms.example.com {", f"http://127.0.0.1:{port} {{\n    log")
    (folder / "Caddyfile").write_text(text)
    program = shutil.which("caddy")
    assert program is not None
    with proxy(folder, port, program, "run", "--config", str(folder / "Caddyfile")):
        yield port


@contextmanager
def proxy(folder: Path, port: int, *command: str) -> Iterator[None]:
    """A web server that listens on `port`. Its output goes to `stderr.log`."""
    with (folder / "stderr.log").open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "HOME": str(folder)}
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def post(port: int, path: str, body: bytes = b'{"messageUUID": "m", "status": "SENT"}') -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, body)
        return connection.getresponse().status


def test_nginx_forwards_updates_and_does_not_log_the_secret(tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with listening(tmp_path) as listener, nginx(folder, listener) as port:
        assert post(port, listener.path) == 200
        assert post(port, listener.path, b"x" * 250_000) == 200
        assert post(port, "/batchsend", b'{"messageUUID": "n", "status": "SENT"}') == 200
        assert post(port, listener.path + "x") == 404
        assert post(port, "/health") == 404
        assert post(port, listener.path, b"x" * 300_000) == 413
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(
                f"POST {listener.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode()
            )
        assert listener.query("SELECT count(*) FROM updates") == [(3,)]
        listener.end()
        assert post(port, listener.path) == 502
        assert post(port, "/batchsend") == 502
    logs = {file.name: file.read_text() for file in folder.glob("*.log")}
    assert "/batchsend" in logs["access.log"]
    assert "Connection refused" in logs["error.log"]
    assert not [name for name, log in logs.items() if listener.secret in log]


def test_caddy_forwards_updates_and_does_not_log_the_secret(tmp_path: Path) -> None:
    folder = tmp_path / "caddy"
    folder.mkdir()
    with listening(tmp_path) as listener, caddy(folder, listener) as port:
        assert post(port, listener.path) == 200
        assert post(port, listener.path + "x") == 404
        assert listener.query("SELECT count(*) FROM updates") == [(1,)]
        listener.end()
        assert post(port, listener.path) == 502
    log = (folder / "stderr.log").read_text()
    assert "connection refused" in log
    assert log.count('"uri":"/batchsend/-"') >= 3
    assert listener.secret not in log


# --- the console


SITE = "texts.dealer.example"
PASSWORD = "four words are good"


@pytest.fixture
def office(tmp_path: Path) -> World:
    folder = tmp_path / "dealership"
    folder.mkdir()
    Users(users_file(folder)).put("dana", PASSWORD)
    return World(folder).write(customers(3))


def console_part(kind: str, number: int) -> str:
    """A configuration for the console in the manual."""
    shown = re.findall(rf"```{kind}\n(.*?)```", (DOCS / "web.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown == [one for one in shown if "8397" in one]
    found = textwrap.dedent(shown[number])
    assert isinstance(found, str)
    return found


@contextmanager
def nginx_for_console(folder: Path, console: int) -> Iterator[int]:
    port = free_port()
    user = "user root; " if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log info; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n"
        f"server {{ listen 127.0.0.1:{port}; {console_part('nginx', 0).replace('8397', str(console))} }} }}\n"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with proxy(folder, port, program, "-p", str(folder), "-c", str(folder / "nginx.conf")):
        yield port


@contextmanager
def caddy_for_console(folder: Path, console: int, number: int = 0, signing_in: int = 0) -> Iterator[int]:
    port = free_port()
    text = console_part("caddy", number).replace("8397", str(console)).replace("9091", str(signing_in))
    text = text.replace(f"{SITE} {{", f"http://:{port} {{")
    (folder / "Caddyfile").write_text(f"{{\nadmin off\n}}\n{text}")
    program = shutil.which("caddy")
    assert program is not None
    with proxy(folder, port, program, "run", "--config", str(folder / "Caddyfile")):
        yield port


def asked(port: int, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    """The status and the text of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{SITE}"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, {"Host": SITE, **form, **named})
        response = connection.getresponse()
        return response.status, response.read().decode()


def sign_in(port: int, body: str, address: str) -> int:
    """Signs in from this address. Returns the status of the page after it, or 303 for the first page."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{SITE}"}
    named = {"Host": SITE, "X-Forwarded-For": address}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/login", body, {**form, **named})
        response = connection.getresponse()
        response.read()
        assert response.status == 303
        if response.headers["Location"] != "/login":
            return 303
        failed = response.headers["Set-Cookie"].partition(";")[0]
        connection.request("GET", "/login", headers={**named, "Cookie": failed})
        return connection.getresponse().status


@pytest.mark.parametrize("server", [nginx_for_console, caddy_for_console])
def test_a_guesser_cannot_choose_an_address(
    tmp_path: Path, office: World, server: Callable[[Path, int], AbstractContextManager[int]]
) -> None:
    """It would be another one for each guess."""
    options = ("--name", SITE, "--behind-proxy", "X-Forwarded-For")
    with serving(office, *options) as console, server(tmp_path, console.port) as port:
        wrong = "name=dana&password=wrong+words"
        guesses = [sign_in(port, wrong, f"198.51.100.{number}") for number in range(9)]
        assert guesses[:5] == [403] * 5
        assert 429 in guesses
        # Someone at another address is not delayed.
        right = f"name=dana&password={PASSWORD.replace(' ', '+')}"
        assert sign_in(console.port, right, "192.0.2.9") == 303


class _SigningIn(BaseHTTPRequestHandler):
    """Names the user of the query `?user=`, or lets a request in without a name."""

    def do_GET(self) -> None:
        user = parse_qs(urlsplit(self.headers["X-Forwarded-Uri"]).query).get("user")
        self.send_response(200)
        if user:
            self.send_header("Remote-User", user[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def signing_in() -> Iterator[int]:
    """A server that Caddy asks who the user is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SigningIn)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_caddy_names_the_user_and_a_client_cannot(tmp_path: Path, office: World, signing_in: int) -> None:
    options = ("--name", SITE, "--behind-proxy", "X-Forwarded-For", "--user-header", "Remote-User")
    with (
        serving(office, *options) as console,
        caddy_for_console(tmp_path, console.port, 1, signing_in) as port,
    ):
        status, page = asked(port, "GET", "/?user=dana", Remote_User="mallory")
        assert (status, '<span class="who">dana</span>' in page) == (200, True)
        status, page = asked(port, "GET", "/", Remote_User="mallory")
        assert (status, "did not name a user" in page) == (403, True)
        assert asked(console.port, "GET", "/", Remote_User="mallory")[0] == 403
