"""Runs `batchsend web` in a real process, and a browser without scripts that clicks through its pages."""

from __future__ import annotations

import asyncio
import html
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode, urlsplit

import pytest
from plain_words import terms_on_page
from warm_command import WarmProcess
from world import BATCHSEND, STARTER, World, customers

from batchsend.web.auth.middleware import Auth
from batchsend.web.connections import Limits
from batchsend.web.server import Options, answering, application

_BOUNDARY = "----the-boundary-of-a-form"


@dataclass(frozen=True)
class Answer:
    """A response. `url`: the path of the request; `cookies`: its `Set-Cookie` headers."""

    status: int
    headers: Mapping[str, str]
    text: str
    url: str
    cookies: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """The text without markup, as people read it."""
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.text)).split())

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.text)
        assert found is not None, self.plain[:500]
        return found[1]

    def hidden(self, name: str) -> str:
        """The value of a hidden field."""
        found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', self.text)
        assert found is not None, name
        return html.unescape(found[1])


@dataclass
class Clicker:
    """A browser that keeps cookies, sends an Origin and follows redirects."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    page: Answer | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sends one request. `headers` add to a browser's usual headers or replace them."""
        usual = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if method not in ("GET", "HEAD"):
            usual["Origin"] = self.origin
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value}
        with closing(self.connect()) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            cookies = tuple(response.headers.get_all("Set-Cookie") or ())
        for cookie in cookies:
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        if "text/html" in response.headers.get("Content-Type", "") and response.status != 404:
            assert not (found := terms_on_page(path, text)), (path, found)
        return Answer(response.status, dict(response.headers), text, path, cookies)

    def _follow(self, answer: Answer) -> Answer:
        followed = 0
        while answer.status == 303:
            followed += 1
            assert followed < 20, f"{answer.url} leads in a circle"
            answer = self.raw("GET", urlsplit(answer.headers["Location"])._replace(fragment="").geturl())
        deadline = time.monotonic() + 60
        while self._is_being_read(answer):
            assert time.monotonic() < deadline, answer.plain
            time.sleep(0.1)
            answer = self.raw("GET", answer.url)
        self.page = answer
        return answer

    @staticmethod
    def _is_being_read(answer: Answer) -> bool:
        return re.search(r'action="[^"]*/list/(upload/)?cancel"', answer.text) is not None

    def get(self, path: str) -> Answer:
        """Loads a page, and loads it again until its list has been read."""
        return self._follow(self.raw("GET", path))

    def post(
        self, path: str, fields: Mapping[str, str | list[str]] | None = None, *, token: str | None = None
    ) -> Answer:
        """Sends a form with the token of the current page, or of the first page."""
        return self._follow(self.submit(path, fields, token=token))

    def submit(
        self, path: str, fields: Mapping[str, str | list[str]] | None = None, *, token: str | None = None
    ) -> Answer:
        """Sends a form and does not follow the redirect."""
        token = self.token() if token is None else token
        body = urlencode({"csrf": token, **(fields or {})}, doseq=True).encode()
        return self.raw("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def shown(self, page: str) -> dict[str, str]:
        """Loads a step's page; returns what its forms say of the campaign file that they were made from."""
        return {"campaign_file": self.get(page).hidden("campaign_file")}

    def upload(self, path: str, name: str, content: bytes, *, token: str | None = None) -> Answer:
        """Sends a file, and returns the page after it has been read."""
        return self._follow(self.send_file(path, name, content, token=token))

    def send_file(self, path: str, name: str, content: bytes, *, token: str | None = None) -> Answer:
        """Sends a file and does not follow the redirect."""
        token = self.token() if token is None else token
        body = (
            (
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{token}\r\n'
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                f"Content-Type: application/octet-stream\r\n\r\n"
            ).encode()
            + content
            + f"\r\n--{_BOUNDARY}--\r\n".encode()
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        return self.raw("POST", path, body, headers)

    def token(self) -> str:
        return (self.page or self.get("/")).csrf

    def wait(self, path: str, until: str, seconds: float = 60) -> Answer:
        """Loads a page until it contains this text."""
        deadline = time.monotonic() + seconds
        while until not in (answer := self.get(path)).plain:
            assert time.monotonic() < deadline, answer.plain
            time.sleep(0.1)
        return answer

    def check(self, campaign: str, **fields: str) -> tuple[str, Answer]:
        """Checks a campaign; returns the check's address and its finished page."""
        begun = self.submit(f"{campaign}/check", fields)
        assert begun.status == 303, begun.plain
        address = begun.headers["Location"]
        deadline = time.monotonic() + 60
        while "Nothing is sent by a check" in (answer := self.get(address)).plain:
            assert time.monotonic() < deadline, answer.plain
            time.sleep(0.1)
        # After a check was canceled, the address of the check is known by its page only.
        return answer.url, answer

    def wait_for_run(self, address: str) -> Answer:
        """Returns the page after a start of sending: the run's, or the reason that nothing was sent."""
        deadline = time.monotonic() + 60
        while "About to send" in (answer := self.get(f"{address}/sent")).plain:
            assert time.monotonic() < deadline, answer.plain
            time.sleep(0.1)
        return answer

    def wait_for_end(self, run: str) -> Answer:
        """Returns a run's page once the run is no longer being sent."""
        deadline = time.monotonic() + 90
        while "Closing this page stops nothing" in (answer := self.get(run)).plain:
            assert time.monotonic() < deadline, answer.plain
            time.sleep(0.2)
        return answer


@dataclass
class Served:
    """A running server. `output`: what it printed; `first`: the browser that used the printed link."""

    process: WarmProcess | subprocess.Popen[bytes]
    output: str
    port: int
    output_file: Path
    first: Clicker | None = None

    def printed(self) -> str:
        """What the server has printed by now."""
        return self.output_file.read_text(encoding="utf-8")

    @property
    def link(self) -> str:
        """The printed link; "" if users sign in with a password."""
        found = re.search(r"/enter\?token=\S+", self.output)
        return found[0] if found else ""

    def clicker(self) -> Clicker:
        """Returns a browser that is not signed in."""
        return Clicker(self.port)

    def signed_in(self) -> Clicker:
        """Returns a browser that is signed in: the first one by the printed link, the others by new links."""
        clicker = self.clicker()
        link = self.link if self.first is None else self.new_link()
        answer = clicker.get(link)
        assert answer.status == 200, answer.plain
        self.first = self.first or clicker
        return clicker

    def new_link(self) -> str:
        assert self.first is not None
        # The last page that a test loaded in it can be a part of a page, without a form.
        token = self.first.get("/").csrf
        found = re.search(r"/enter\?token=[\w-]+", self.first.post("/link", token=token).text)
        assert found is not None
        return found[0]

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)


@contextmanager
def serving(world: World, *options: str) -> Iterator[Served]:
    """Runs `batchsend web` in a user's folder, on a free port."""
    arguments = ["web", "--no-open", *(() if "--port" in options else ("--port", "0")), *options]
    environment = {**world.env(), "PYTHONUNBUFFERED": "1"}
    warm = STARTER.get()
    with TemporaryDirectory(prefix="web-") as name:
        output, nothing = Path(name) / "output", Path(os.devnull)
        output.touch()
        process: WarmProcess | subprocess.Popen[bytes]
        if warm is None:
            with output.open("wb") as out:
                process = subprocess.Popen(
                    [*BATCHSEND, *arguments], cwd=world.folder, env=environment, stdout=out, stderr=out
                )
        else:
            with nothing.open("rb") as empty, output.open("ab") as out:
                streams = (empty.fileno(), out.fileno(), out.fileno())
                process = warm.begin(arguments, world.folder, environment, streams)
        try:
            deadline = time.monotonic() + 60
            while "Ctrl-C stops" not in (text := output.read_text(encoding="utf-8")):
                assert time.monotonic() < deadline, text
                time.sleep(0.02)
            found = re.search(r"at http://\S+:(\d+)", text)
            assert found is not None, text
            yield Served(process, text, int(found[1]), output)
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            process.wait(60)


@contextmanager
def serving_here(options: Options, auth: Auth, limits: Limits | None = None) -> Iterator[Clicker]:
    """Runs the server in a thread of this process, for tests that set its clock or limits; yields a browser."""
    listening = socket.create_server(("127.0.0.1", 0))
    auth.port = listening.getsockname()[1]
    began, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with answering(application(options, auth), listening, limits or Limits()):
            began.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert began.wait(60)
        yield Clicker(auth.port)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def folder_never_sent(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A module's fixture `world`: a campaign that is never sent, so it needs no sandbox."""
    folder = tmp_path_factory.mktemp("web") / "dealership"
    folder.mkdir()
    return World(folder).write(customers(3))


def server_for_all(world: World) -> Iterator[Served]:
    """A module's fixture `served`: one server for all tests that do not change it."""
    with serving(world) as server:
        server.signed_in()
        yield server


def refuse_to_start(world: World, *options: str) -> str:
    """Returns what the command prints when it refuses to start."""
    done = world.run("web", "--no-open", "--port", "0", *options)
    assert done.code == 2, done.out
    return done.err
