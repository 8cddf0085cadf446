"""Which hosts are this machine: the only ones that plain `http://` may go to."""

from __future__ import annotations

import ipaddress


def is_this_machine(host: str) -> bool:
    """Whether `host`, as `urlsplit().hostname` gives it, is `localhost`, in 127.0.0.0/8 or ::1."""
    if host.casefold() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in ipaddress.ip_network("127.0.0.0/8") or address == ipaddress.IPv6Address("::1")
