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


def location(port: int) -> str:
    """The `location` block in the manual, for a listener on this port."""
    shown = re.search(r"```nginx\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    return textwrap.dedent(shown[1]).replace(":8399", f":{port}")


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
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ {temporary} access_log {folder}/access.log;\n"
        f"server {{ listen 127.0.0.1:{port}; {location(listener.port)} }} }}\n"
    )
    server = subprocess.Popen([program, "-p", str(folder), "-c", str(configuration)])
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
        assert post(listener.path + "x") == 404
        assert post("/health") == 404
        assert post(listener.path, b"x" * 300_000) == 413
        assert listener.query("SELECT count(*) FROM updates") == [(2,)]
        listener.end()
    secret = listener.path.rpartition("/")[2]
    logs = [file.read_text() for file in folder.glob("access.log")]
    assert not [log for log in logs if secret in log]
