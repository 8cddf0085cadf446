"""A web hook and a mail server on this computer that keep what they get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from free_ports import free_port


@dataclass
class Hook:
    """A web hook that answers with `status` and keeps the bodies."""

    url: str = ""
    status: int = 200
    received: Queue[dict[str, Any]] = field(default_factory=Queue)

    def bodies(self) -> list[dict[str, Any]]:
        """What arrived since the last call."""
        return [self.received.get_nowait() for _ in range(self.received.qsize())]


@contextmanager
def running_hook() -> Iterator[Hook]:
    """A web hook that listens."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(hook.status)
            if hook.status == 302:
                self.send_header("Location", hook.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/services/T000/secret-of-the-channel"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Mailbox(MessageHandler):
    """Keeps every message that a mail server gets."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


@contextmanager
def running_mail_server() -> Iterator[tuple[str, Mailbox]]:
    """A mail server: its URL and its mailbox."""
    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        yield f"smtp://127.0.0.1:{server.port}", mailbox
    finally:
        server.stop()
