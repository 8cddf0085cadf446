"""Posts over plain sockets, fast enough that the client does not limit what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlsplit


async def post_all(url: str, bodies: Sequence[bytes], connections: int) -> list[tuple[int, float]]:
    """The HTTP status and the seconds of each body's answer; status 0 where the connection broke."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    answers: list[tuple[int, float]] = [(0, 0.0)] * len(bodies)
    waiting = iter(enumerate(bodies))

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            for number, body in waiting:
                head = f"POST {parts.path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
                began = time.monotonic()
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                answers[number] = (int(answer.split(None, 2)[1]), time.monotonic() - began)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    await asyncio.gather(*(work() for _ in range(connections)), return_exceptions=True)
    return answers
