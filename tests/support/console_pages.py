"""The addresses of the console's pages and forms, as its router knows them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractResource
from yarl import URL

from batchsend.web.auth.middleware import Auth
from batchsend.web.auth.users import Users
from batchsend.web.server import Options, application


class Routes:
    """The console's routes. `seen`: those that a test has visited, as (method, canonical path)."""

    def __init__(self, folder: Path) -> None:
        self.router = asyncio.run(self._router(folder))
        self.seen: set[tuple[str, str]] = set()

    @staticmethod
    async def _router(folder: Path) -> web.UrlDispatcher:
        auth = Auth(Users(folder / "no-users.json"), frozenset({"127.0.0.1"}), 1)
        return application(Options(folder), auth).router

    def saw(self, method: str, url: str) -> str:
        """Remembers that an address was visited; returns the path of its route, or "" if no route has it."""
        path = URL(url).raw_path
        for route in self.router.routes():
            if route.method == method and (found := self._canonical(route.resource, path)):
                self.seen.add((method, found))
                return found
        return ""

    @staticmethod
    def _canonical(resource: AbstractResource | None, path: str) -> str:
        if resource is None:
            return ""
        info = resource.get_info()
        matches = path == info.get("path") or ("pattern" in info and info["pattern"].fullmatch(path))
        return resource.canonical if matches else ""

    def unseen(self, method: str) -> set[str]:
        """Returns the paths of this method that were not visited."""
        return {
            route.resource.canonical
            for route in self.router.routes()
            if route.method == method
            and route.resource is not None
            and (method, route.resource.canonical) not in self.seen
        }
