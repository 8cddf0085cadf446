"""The reverse proxy in front of the server, and which of its headers are trusted."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from aiohttp import web

from batchsend.errors import BatchsendError, SettingsError
from batchsend.web.auth.users import check_name
from batchsend.web.connections import RequestRefusedError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
#: Headers that have a meaning of their own, so that a proxy cannot use them for a name or an address.
_TAKEN = frozenset({"host", "cookie", "origin", "content-type", "content-length", "x-csrf-token"})


@dataclass(frozen=True)
class Proxy:
    """A proxy whose requests come from `networks`.

    `client_header`: names the client's address. `user_header`: names the user who signed in to the proxy; `None` if
    users sign in here.
    """

    client_header: str
    networks: tuple[Network, ...]
    user_header: str | None = None

    def has_sent(self, request: web.Request) -> bool:
        """Did this request come through the proxy?"""
        return self.client_header in request.headers and self._is_proxy(request.remote)

    def client_of(self, request: web.Request) -> str | None:
        """Returns the client's address. Clients can write what they like into the header; the proxy adds the last."""
        if not self.has_sent(request):
            return request.remote
        return _without_port(request.headers.getall(self.client_header)[-1].rpartition(",")[2].strip())

    def user_of(self, request: web.Request) -> str:
        """Returns the user who signed in to the proxy. Raises `RequestRefusedError`."""
        if not self.has_sent(request):
            raise RequestRefusedError(
                403, "This server can be used only through its proxy. Open the address that you usually use."
            )
        names = request.headers.getall(self.user_header or "", [])
        try:
            (name,) = names
            check_name(name)
        except (ValueError, BatchsendError) as error:
            raise RequestRefusedError(
                403,
                f"The proxy did not name a user in {self.user_header}, so you are not signed in. Sign in to the "
                f"proxy, or ask the person who runs it to set this header to your name.",
            ) from error
        return name

    def _is_proxy(self, address: str | None) -> bool:
        try:
            peer = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return any(peer in network for network in self.networks)


def _without_port(address: str) -> str:
    """Some proxies add the client's port: `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def proxy_of(client_header: str | None, allowed: str, user_header: str | None) -> Proxy | None:
    """Returns the proxy that the options describe; `None` if they describe none. Raises `SettingsError`.

    `allowed`: the proxy's addresses and networks, separated by commas.
    """
    if client_header is None:
        if user_header is not None:
            raise SettingsError(
                f"--user-header {user_header}: anyone could write that header. Also name the header in which the "
                f"proxy gives the client's address, such as --behind-proxy X-Forwarded-For."
            )
        return None
    for option, header in (("--behind-proxy", client_header), ("--user-header", user_header)):
        if header is not None and (not _HEADER.fullmatch(header) or header.lower() in _TAKEN):
            raise SettingsError(
                f"{option} {header}: a proxy cannot use this header. Name one such as X-Forwarded-For or Remote-User."
            )
    return Proxy(client_header, tuple(_network(text.strip()) for text in allowed.split(",")), user_header)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise SettingsError(
            f"--forwarded-allow-ips: {text} is not an IP address or a network such as 172.16.0.0/12."
        ) from error
