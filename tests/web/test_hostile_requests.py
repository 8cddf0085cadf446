"""Requests that no browser sends: malformed, endless, too many. Real sockets against a real server."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from dataclasses import field as field_of
from pathlib import Path

import pytest
from web_client import Clicker, Served, folder_never_sent, server_for_all, serving
from world import World

from batchsend.web.auth.middleware import Auth
from batchsend.web.auth.users import Users
from batchsend.web.connections import Limits
from batchsend.web.folder import users_file
from batchsend.web.server import Options, answering, application

pytestmark = pytest.mark.system

SPRING = "/campaign/here/campaign"
FORM = "application/x-www-form-urlencoded"
UPLOAD = "multipart/form-data; boundary=b"
CUSTOMERS = b"Customer UUID,First Name,Phone\ncustomer-new,Ann,(312) 555-0101\n"


world = pytest.fixture(scope="module")(folder_never_sent)
served = pytest.fixture(scope="module")(server_for_all)


def answer_to(port: int, request: bytes) -> bytes:
    """Sends these bytes and returns all that the server answers until it closes the connection."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(request)
        answer = b""
        while received := connection.recv(65536):
            answer += received
        return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def headers(clicker: Clicker) -> str:
    """The headers of a signed-in browser, which closes the connection after the answer."""
    cookie = "; ".join(f"{name}={value}" for name, value in clicker.cookies.items())
    host = f"127.0.0.1:{clicker.port}"
    return f"Host: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\nConnection: close\r\n"


def get(clicker: Clicker, path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{headers(clicker)}{more}\r\n".encode("latin-1")


def post(clicker: Clicker, path: str, body: bytes, kind: str = FORM, more: str = "") -> bytes:
    lines = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"POST {path} HTTP/1.1\r\n{headers(clicker)}{lines}\r\n".encode("latin-1") + body


def parts(*parts: tuple[str, bytes], end: bool = True) -> bytes:
    """A form with files. Each part: its headers and its content."""
    body = b"".join(b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return body + (b"--b--\r\n" if end else b"")


def field(name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', content


def file(content: bytes = CUSTOMERS, more: str = "") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="file"; filename="attack.csv"{more}', content


MALFORMED = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "long address": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 1000 + b"\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\nHost: x\r\nsecret\r\n\r\n",
    "zero byte": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_http_is_answered_without_details(served: Served, request_bytes: bytes) -> None:
    answer = answer_to(served.port, request_bytes)
    assert status_of(answer) == 400
    assert b"malformed, or its headers are too large" in answer
    assert b"Server: batchsend\r\n" in answer
    assert b"secret" not in answer


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/history?q=%ff%fe%00", 200),
        ("/history?q=%ed%a0%80", 200),  # half a character
        ("/?%%%", 200),
        ("/campaign/here/%ff", 404),
        ("/campaign/here/%00", 404),
        ("/%", 404),
        (f"{SPRING}/run/99999999999", 404),
        (f"{SPRING}/run/%d9%a1", 404),  # a digit, but not one of ours
        (f"{SPRING}/run/1?after=%d9%a1&before=x&status=none&code=%00&find={'9' * 120}", 404),
        (f"{SPRING}/text?text={chr(57) * 5000}", 200),  # too many digits for Python
        (f"{SPRING}/check/{'a' * 22}", 404),
        ("/login?next=%0d%0aSet-Cookie:x", 200),
    ],
)
def test_a_malformed_address_is_not_our_mistake(served: Served, path: str, status: int) -> None:
    clicker = served.signed_in()
    answer = clicker.get(path)
    assert answer.status == status, answer.plain
    assert "error in batchsend" not in answer.plain
    assert answer.headers["Server"] == "batchsend"


@pytest.mark.parametrize(
    ("path", "kind", "fields"),
    [
        ("/campaigns", f"{FORM}; charset=nonsense", b"&name=attack"),
        ("/campaigns", f"{FORM}; charset=base64", b"&name=attack"),  # no encoding of text
        ("/campaigns", FORM, b"&name=\xff"),
        ("/campaigns", FORM, b"&name=%00"),
        ("/campaigns", FORM, b"&name=NUL"),  # a device on Windows
        ("/campaigns", FORM, b"&name=" + b"x" * 5000),
        ("/campaigns", FORM, b"&name=" + b"%f0%a0%80%80" * 100),  # 400 bytes
        ("/campaigns", FORM, b"&name=attack" + b"&a=1" * 5000),
        ("/campaigns", FORM, b"&name=attack" + b"x" * 5_000_000),
        ("/campaigns", "application/json", b""),
        ("/campaigns", "///;;;", b"&name=attack"),
        (f"{SPRING}/list", FORM, b""),
        (f"{SPRING}/text/try", FORM, b"&row=2&text=x&number=" + b"9" * 5000),
        (f"{SPRING}/text", FORM, b"&number=-1&text=x"),
    ],
)
def test_a_malformed_form_is_refused_and_does_nothing(
    served: Served, world: World, path: str, kind: str, fields: bytes
) -> None:
    clicker = served.signed_in()
    before = files(world)
    answer = answer_to(served.port, post(clicker, path, b"csrf=" + clicker.token().encode() + fields, kind))
    # 303 leads to the page that says what is wrong.
    assert status_of(answer) in (303, *range(400, 500)), answer
    assert files(world) == before


UPLOADS = {
    "no boundary": ("multipart/form-data", b"x"),
    "wrong boundary": (UPLOAD, b"--c\r\n\r\n"),
    "long boundary": (f"multipart/form-data; boundary={'z' * 100}", b"--" + b"z" * 100),
    "empty": (UPLOAD, b""),
    "long name of an encoding": (UPLOAD, parts(field("_charset_", b"z" * 40), file())),
}


@pytest.mark.parametrize(("kind", "body"), UPLOADS.values(), ids=UPLOADS.keys())
@pytest.mark.parametrize("path", ["/campaigns", f"{SPRING}/list"])
def test_a_malformed_upload_is_refused(
    served: Served, world: World, path: str, kind: str, body: bytes
) -> None:
    before = files(world)
    answer = answer_to(served.port, post(served.signed_in(), path, body, kind))
    assert status_of(answer) in (400, 403)
    assert files(world) == before


@pytest.mark.parametrize(
    ("content", "more", "end"),
    [
        (CUSTOMERS, "", False),  # the rest of the list may be missing
        (CUSTOMERS, "\r\n" + "X: 1\r\n" * 500 + "X: 1", True),
    ],
)
def test_an_upload_that_breaks_off_is_not_saved(
    served: Served, world: World, content: bytes, more: str, end: bool
) -> None:
    clicker = served.signed_in()
    before = files(world)
    body = parts(field("csrf", clicker.token().encode()), file(content, more), end=end)
    answer = answer_to(served.port, post(clicker, f"{SPRING}/list", body, UPLOAD))
    assert status_of(answer) == 400
    assert b"malformed or incomplete, and nothing was done" in answer
    assert files(world) == before


def test_every_form_needs_the_token_however_it_is_sent(served: Served, world: World) -> None:
    """A form with a file is received in pieces, but no page can do without the token."""
    clicker = served.signed_in()
    token, before = clicker.token().encode(), files(world)
    name = field("name", b"attack")
    for path in ("/campaigns", f"{SPRING}/check", f"{SPRING}/sender", f"{SPRING}/list", "/logout", "/link"):
        for body in (
            parts(name, file()),
            parts(field("csrf", b"wrong"), name, file()),
            parts((f'{field("csrf", b"")[0]}; filename="csrf"', b"wrong"), name, file()),
        ):
            assert status_of(answer_to(served.port, post(clicker, path, body, UPLOAD))) == 403, path
    assert files(world) == before
    assert clicker.get("/").status == 200, "it is still signed in"
    # The token in its usual place works in both kinds of forms.
    answer = answer_to(served.port, post(clicker, "/campaigns", parts(field("csrf", token), name), UPLOAD))
    assert status_of(answer) == 303
    assert (world.folder / "attack.toml").exists()


def test_malformed_requests_print_nothing(world: World) -> None:
    """Anyone could fill the log of the server with them."""
    with serving(world) as served:
        for request in MALFORMED.values():
            answer_to(served.port, request)
        clicker = served.signed_in()
        for kind, body in UPLOADS.values():
            answer_to(served.port, post(clicker, f"{SPRING}/list", body, kind))
        assert served.printed() == served.output


@dataclass
class Limited:
    """A server with other limits, and its clients, which stay connected until it ends."""

    port: int
    auth: Auth
    writers: list[asyncio.StreamWriter] = field_of(default_factory=list)

    async def open(self, request: str) -> asyncio.StreamReader:
        """Connects and sends the beginning of a request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        self.send(request)
        return reader

    def send(self, request: str, client: int = -1) -> None:
        self.writers[client].write(request.format(host=f"127.0.0.1:{self.port}").encode())


@asynccontextmanager
async def limited(folder: Path, limits: Limits) -> AsyncIterator[Limited]:
    """Runs a server with these limits."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    auth = Auth(Users(users_file(folder)), frozenset({"127.0.0.1"}), port)
    async with answering(application(Options(folder), auth), listening, limits):
        server = Limited(port, auth)
        yield server
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)


LOGIN_PAGE = "GET /login HTTP/1.1\r\nHost: {host}\r\n\r\n"
HALF_A_FORM = (
    f"POST /login HTTP/1.1\r\nHost: {{host}}\r\nOrigin: http://{{host}}\r\nContent-Type: {FORM}\r\n"
    "Content-Length: 100\r\n\r\nname="
)


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nHost: "])
def test_headers_that_do_not_arrive_end_the_connection(tmp_path: Path, sent: str) -> None:
    async def attack() -> bytes:
        async with limited(tmp_path, Limits(headers=0.1)) as server:
            return await (await server.open(sent)).read()

    assert asyncio.run(attack()) == b""


def test_an_idle_connection_ends(tmp_path: Path) -> None:
    async def attack() -> bytes:
        async with limited(tmp_path, Limits(idle=0.1)) as server:
            return await (await server.open(LOGIN_PAGE)).read()

    assert status_of(asyncio.run(attack())) == 401


def test_a_form_that_does_not_arrive_is_refused(tmp_path: Path) -> None:
    async def attack() -> bytes:
        async with limited(tmp_path, Limits(body=0.1)) as server:
            return await (await server.open(HALF_A_FORM)).readuntil(b"\r\n\r\n")

    assert status_of(asyncio.run(attack())) == 408


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nHost: ", HALF_A_FORM, LOGIN_PAGE])
def test_connections_of_strangers_leave_room_for_others(tmp_path: Path, sent: str) -> None:
    """The ones that were unused for longest are closed; a new one is answered."""

    async def attack() -> tuple[list[bytes], bytes]:
        async with limited(tmp_path, Limits(connections=5)) as server:
            strangers = [await server.open(sent) for _ in range(8)]
            page = await (await server.open(LOGIN_PAGE)).readuntil(b"\r\n\r\n")
            return [await stranger.read() for stranger in strangers[:4]], page

    closed, page = asyncio.run(attack())
    assert status_of(page) == 401
    assert all(re.fullmatch(rb"(HTTP/1.1 401 .*)?", answer, re.DOTALL) for answer in closed)


def test_connections_of_strangers_do_not_end_those_of_users(tmp_path: Path) -> None:
    async def attack() -> bytes:
        async with limited(tmp_path, Limits(connections=5)) as server:
            cookie, _ = server.auth.sessions.begin("dana", None)
            page = LOGIN_PAGE.replace("\r\n\r\n", f"\r\nCookie: {server.auth.cookie}={cookie}\r\n\r\n")
            user = await server.open(page)
            await user.readuntil(b"\r\n\r\n")
            for _ in range(20):
                await server.open(LOGIN_PAGE)
            server.send(page, client=0)
            return await user.readuntil(b"\r\n\r\n")

    assert b"303 See Other" in asyncio.run(attack())


def files(world: World) -> list[Path]:
    return sorted(path for path in world.folder.iterdir() if path.is_file())
