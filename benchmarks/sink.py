"""An API that accepts every text: immediately (nginx if it is installed, otherwise an aiohttp process), or later."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

#: nginx: one worker, no access log, connections that stay open. `$request_id` gives each answer its own id.
_NGINX = """
{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  {temporary}
  access_log off; keepalive_requests 10000000; keepalive_timeout 60s;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      default_type application/json;
      return 200 '{{"status":"SUCCESS","messageUUID":"$request_id","requestUUID":"$request_id","errors":null}}';
    }}
  }}
}}
"""
_AIOHTTP = """
import asyncio, itertools
from aiohttp import web

numbers = itertools.count()

async def accept(request):
    await request.read()
    return web.json_response({"status": "SUCCESS", "messageUUID": f"message-{next(numbers)}", "errors": None})

async def main():
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", accept)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=60)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

#: A server that does little but wait, so that a slow API is never a busy one.
_SLOW = """
import asyncio, itertools, re, sys

delay, numbers = float(sys.argv[1]), itertools.count()
length_of = re.compile(rb"content-length: *(\\d+)", re.IGNORECASE)

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.received, self.loop = transport, b"", asyncio.get_running_loop()

    def data_received(self, data):
        self.received += data
        head, found, body = self.received.partition(b"\\r\\n\\r\\n")
        if found and len(body) >= int(length_of.search(head)[1]):
            self.received = b""
            self.loop.call_later(delay, self.answer)

    def answer(self):
        body = b'{"status":"SUCCESS","messageUUID":"message-%d","errors":null}' % next(numbers)
        head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
        self.transport.write(head + body)

async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Sink:
    """A running sink; `program` is its name and version."""

    base_url: str
    program: str


@contextmanager
def running_sink(folder: Path) -> Iterator[Sink]:
    """A sink on a free port, with its files in `folder`."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        print(
            "nginx is not installed. An aiohttp process answers instead, which is slower than batchsend sends."
        )
        process, sink = _python("aiohttp (nginx is not installed)", _AIOHTTP)
    else:
        process, sink = _nginx(program, folder)
    with _running(process):
        yield sink


@contextmanager
def slow_sink(seconds: float) -> Iterator[Sink]:
    """A sink that answers each request after so many seconds."""
    process, sink = _python(f"an API that answers after {seconds * 1000:.0f} ms", _SLOW, str(seconds))
    with _running(process):
        yield sink


@contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _nginx(program: str, folder: Path) -> tuple[subprocess.Popen[bytes], Sink]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            # Started as root, nginx would switch to another user, who may not write here.
            user="user root; " if hasattr(os, "geteuid") and os.geteuid() == 0 else "",
            folder=folder,
            port=port,
            temporary="\n  ".join(f"{kind}_temp_path {folder};" for kind in kinds),
        ),
        encoding="utf-8",
    )
    version = subprocess.run([program, "-v"], capture_output=True, check=False, encoding="utf-8").stderr
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(configuration)])
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    return process, Sink(f"http://127.0.0.1:{port}", version.strip().removeprefix("nginx version: "))


def _python(name: str, program: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Sink]:
    """Runs a server that prints its address."""
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    found = re.search(rb"http://\S+", process.stdout.readline())
    assert found is not None
    return process, Sink(found[0].decode(), name)
