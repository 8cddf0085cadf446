"""The local stand-in for the myKaarma send-text API, for rehearsals, demos and tests; no phone is touched.

It is written from what is known of the API and shares no code with the client, so that the two can disagree.
"""

from __future__ import annotations

from batchsend.sandbox.answers import PROVOCATIONS, Provocation
from batchsend.sandbox.options import DEFAULT_HOST, DEFAULT_PORT, SandboxOptions
from batchsend.sandbox.pages import provocations_markdown
from batchsend.sandbox.record import ReceivedText
from batchsend.sandbox.server import Sandbox, serve

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "PROVOCATIONS",
    "Provocation",
    "ReceivedText",
    "Sandbox",
    "SandboxOptions",
    "provocations_markdown",
    "serve",
]
