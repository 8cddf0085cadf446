"""Requests as a client of the sandbox makes them."""

from __future__ import annotations

from typing import Any

import aiohttp

DEPARTMENT = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
USER = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
CUSTOMER = "-eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3_x"
ANY_CREDENTIALS = aiohttp.encode_basic_auth("subscriber", "any password")


def payload(body: str = "Hi Maria", **sending: Any) -> dict[str, Any]:
    return {
        "messageAttributes": {"body": body, "isManual": False, "protocol": "TEXT", "type": "OUTGOING"},
        "messageSendingAttributes": sending,
    }


def path(customer: str = CUSTOMER, user: str = USER, department: str = DEPARTMENT) -> str:
    return f"/communications/department/{department}/user/{user}/customer/{customer}/message"
