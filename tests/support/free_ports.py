"""Ports for servers that are started a moment after their port is chosen."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

#: Below the ports that systems give to connections and to servers that ask for any (Linux: from 32768), so that no
#: other test gets one in the meantime.
_PORTS = range(20_000, 32_000)
#: Processes begin at different places.
_following = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """A port on which nothing listens. Each call gives another one."""
    for number in itertools.islice(_following, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
