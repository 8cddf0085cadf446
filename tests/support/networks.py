"""Networks of the tests' own: namespaces that are plugged into a switch. Needs root."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

#: A network as Docker gives them out.
NETWORK = "172.31.99"
_NEW_NETWORK = 0x40000000


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Networks:
    """A switch, and a network namespace for each name that is plugged into it."""

    def __init__(self) -> None:
        self._mark = uuid4().hex[:5]
        self.addresses: dict[str, str] = {}
        self._made = [self.of("switch")]
        _ip("netns", "add", self.of("switch"))
        _ip("-n", self.of("switch"), "link", "add", "switch", "type", "bridge")
        _ip("-n", self.of("switch"), "link", "set", "switch", "up")

    def of(self, name: str) -> str:
        """The name of a namespace for `ip`."""
        return f"batchsend-{self._mark}-{name}"

    def add(self, name: str, *outside: str) -> None:
        """Makes a namespace with an address of its own, and perhaps more of another network."""
        self.addresses[name] = f"{NETWORK}.{len(self._made) + 1}"
        self.add_outside(name, self.addresses[name], *outside)

    def add_outside(self, name: str, *addresses: str) -> None:
        """Makes a namespace with these addresses."""
        own, link = self.of(name), f"to{len(self._made) + 1}"
        self._made.append(own)
        _ip("netns", "add", own)
        _ip("link", "add", link, "netns", self.of("switch"), "type", "veth", "peer", "eth0", "netns", own)
        _ip("-n", self.of("switch"), "link", "set", link, "master", "switch", "up")
        for address in addresses:
            _ip("-n", own, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", own, "link", "set", device, "up")

    def remove(self) -> None:
        for name in self._made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Sockets that this thread makes in the block belong to that namespace."""
        own = "/proc/thread-self/ns/net"
        with Path(own).open("rb") as home, Path("/run/netns", self.of(name)).open("rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


def _enter(namespace: int) -> None:
    # `os.setns` is there from Python 3.12 on.
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
