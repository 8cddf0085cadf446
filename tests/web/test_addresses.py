"""Every address of the console can be loaded again: a reload and the back button never meet an error page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from aiohttp import web
from web_client import Clicker, serving
from world import Sandbox, World, customers

from batchsend.web.server import routes

SPRING = "/campaign/here/campaign"
#: Parts of a page that are sent while a person types. No browser shows them by themselves.
PARTS = re.compile(r"/(try|starts)$")


@pytest.fixture
def clicker(world: World, sandbox: Sandbox) -> Iterator[Clicker]:
    """A browser that is signed in to a console with a campaign that has a run."""
    assert world.write(customers(3)).send("--limit", "1").code == 0
    with serving(world) as served:
        yield served.signed_in()


def addresses(method: str) -> set[str]:
    """Returns the router's addresses with this method, in which names in braces stand for parts of the address."""
    app = web.Application()
    app.add_routes(routes())
    return {
        route.resource.canonical for route in app.router.routes() if route.method == method and route.resource
    }


def filled(address: str, check: str) -> str:
    """Returns an address that leads to something that exists."""
    values = {
        "folder": "here",
        "stem": "campaign",
        "check": check,
        "number": 1,
        "approval": 1,
        "group": "safety",
    }
    return address.format_map(values)


def test_an_address_that_only_takes_forms_leads_to_a_page(clicker: Clicker) -> None:
    check = clicker.check(SPRING)[0].rpartition("/")[2]
    for address in sorted(addresses("POST") - addresses("GET")):
        if "{approval}" in address or "{what}" in address:
            continue
        asked = clicker.raw("GET", filled(address, check))
        assert asked.status == 303, address
        page = clicker.get(asked.headers["Location"])
        assert (page.status, "<h1>" in page.text) == (200, True), address
        assert filled(address, check).startswith(page.url) or page.url.startswith(SPRING), address
