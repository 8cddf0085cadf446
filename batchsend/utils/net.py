"""Helpers for servers: the host in their URL, and why they cannot listen on an address."""

from __future__ import annotations

import errno
import ipaddress
import logging
import re
from urllib.parse import SplitResult, urlsplit

#: Discards what an HTTP library logs about requests: its tracebacks contain parts of them.
SILENT = logging.Logger("batchsend.requests", logging.CRITICAL + 1)  # noqa: LOG001 - a logger without a parent
_HOST = re.compile(r"[\w.:%-]+")


def in_url(host: str) -> str:
    """`host` as part of a URL; a host that means every address becomes this machine's address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


def cannot_listen(
    host: str,
    port: int,
    error: OSError | OverflowError,
    suspect: str,
    *,
    program: str = "batchsend",
    option: str = "--port",
) -> str:
    """Why `program` cannot listen there. `suspect`: another program that may be using the port of this `option`."""
    where = f"{program} cannot listen on {host}, port {port}"
    if isinstance(error, OverflowError):
        return f"{where}: a port is a number from 0 to 65535. Choose another {option}."
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program uses it, {suspect}. Stop that one, or choose another {option}."
    if error.errno == errno.EACCES:
        return f"{where}: this user may not use it. Choose a port above 1023."
    return f"{where}: this computer has no such address. Use 127.0.0.1, or one of this computer's addresses."


def web_address(text: str) -> SplitResult:
    """Splits the http:// or https:// address `text`. Raises `ValueError` if no program could connect to it."""
    # urlsplit() silently drops line breaks and tabs.
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(text)
    parts = urlsplit(text)
    host, _valid_port = parts.hostname or "", parts.port
    # A name with an empty or very long part cannot be encoded and so cannot be looked up.
    host.encode("idna")
    if parts.scheme not in ("https", "http") or not _HOST.fullmatch(host) or not host.strip("."):
        raise ValueError(text)
    return parts


def is_this_machine(host: str) -> bool:
    """Whether `host`, as `urlsplit().hostname` gives it, is `localhost`, in 127.0.0.0/8 or ::1."""
    if host.casefold() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in ipaddress.ip_network("127.0.0.0/8") or address == ipaddress.IPv6Address("::1")
