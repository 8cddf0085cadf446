"""The configurations of web servers in the manual, in real ones in front of a real listener."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from status_port import free_port
from update_listener import Listening, listening

pytestmark = pytest.mark.system

MANUAL = Path(__file__).parents[2] / "docs" / "callbacks.md"


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
