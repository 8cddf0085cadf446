"""A forwarder between processes and the database: a network that can be silent, lose what it carries, or be cut."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress


class Forwarder:
    """Forwards connections to a port of this machine until something happens to it, and again after `resume`.

    `server`: the socket that it listens on, if not one of its own making.
    """

    def __init__(self, port: int, server: socket.socket | None = None) -> None:
        self._passing = threading.Event()
        self._passing.set()
        self._losing = False
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        #: Connections that lost bytes, so that they make no sense any more.
        self._broken: set[socket.socket] = set()
        self._server = server or socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Holds everything back, and delivers it at `resume`. Closes nothing."""
        self._passing.clear()

    def lose(self) -> None:
        """Swallows everything. At `resume`, connections that lost something are reset."""
        self._losing = True

    def cut(self) -> None:
        """Resets all connections, and holds new ones back until `resume`."""
        self._passing.clear()
        for pair in self._pairs:
            _reset(*pair)

    def resume(self) -> None:
        self._losing = False
        for pair in [pair for pair in self._pairs if self._broken.intersection(pair)]:
            _reset(*pair)
        self._broken.clear()
        self._passing.set()

    def close(self) -> None:
        self.resume()
        _shut(self._server)
        self._server.close()
        for pair in self._pairs:
            _reset(*pair)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                self._passing.wait()
                try:
                    there = socket.create_connection(("127.0.0.1", self._target))
                except ConnectionError:
                    # The database is away.
                    _reset(here)
                    continue
                self._pairs.append((here, there))
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                if self._losing:
                    self._broken.add(source)
                else:
                    sink.sendall(data)
        self._passing.wait()
        _shut(source, sink)


def _reset(*sockets: socket.socket) -> None:
    """Ends connections with RST, also while another thread reads from them."""
    for one in sockets:
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _shut(one)
        one.close()


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        # It may have ended by itself.
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
