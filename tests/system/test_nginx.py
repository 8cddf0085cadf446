"""The nginx configuration in the manual, in a real nginx in front of a real listener."""

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
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
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
    with (folder / "stderr.log").open("w") as errors:
        server = subprocess.Popen([program, "-p", str(folder), "-c", str(configuration)], stderr=errors)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def test_nginx_forwards_updates_and_does_not_log_the_secret(tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with listening(tmp_path) as listener, nginx(folder, listener) as port:

        def post(path: str, body: bytes = b'{"messageUUID": "m", "status": "SENT"}') -> int:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request("POST", path, body)
                return connection.getresponse().status

        assert post(listener.path) == 200
        assert post(listener.path, b"x" * 250_000) == 200
        assert post("/batchsend", b'{"messageUUID": "n", "status": "SENT"}') == 200
        assert post(listener.path + "x") == 404
        assert post("/health") == 404
        assert post(listener.path, b"x" * 300_000) == 413
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(
                f"POST {listener.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode()
            )
        assert listener.query("SELECT count(*) FROM updates") == [(3,)]
        listener.end()
        assert post(listener.path) == 502
        assert post("/batchsend") == 502
    logs = {file.name: file.read_text() for file in folder.glob("*.log")}
    assert "/batchsend" in logs["access.log"]
    assert "Connection refused" in logs["error.log"]
    assert not [name for name, log in logs.items() if listener.secret in log]
