"""Signing in to a console that others can reach: guesses, proxies, single sign-on, and users who are removed."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from web_client import Clicker, Served, refuse_to_start, serving, serving_here
from world import CAMPAIGN, World, customers

from batchsend.web.auth.middleware import Auth
from batchsend.web.auth.proxy import Proxy, proxy_of
from batchsend.web.auth.sessions import Attempts
from batchsend.web.auth.users import Users
from batchsend.web.folder import users_file
from batchsend.web.server import Options

pytestmark = pytest.mark.system

NAME = "texts.dealer.example"
PASSWORD = "four words are good"
RUN = "/campaign/here/campaign/run/1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def shared(tmp_path: Path) -> World:
    """A folder with a campaign that is never sent, and a user."""
    folder = tmp_path / "dealership"
    folder.mkdir()
    Users(users_file(folder)).put("dana", PASSWORD)
    return World(folder).write(customers(3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "Put a proxy with TLS (https) in front of it"),
        (("--name", NAME), f"through its proxy, at https://{NAME}."),
        (("--behind-proxy", "X-Forwarded-For"), "through its proxy."),
        (("--name", NAME, "--behind-proxy", "X-Forwarded-For"), f"through its proxy, at https://{NAME}."),
    ],
)
def test_a_server_behind_a_proxy_does_not_ask_for_one(
    shared: World, options: tuple[str, ...], said: str
) -> None:
    with serving(shared, *options) as served:
        assert f"Other people can reach this server{'.' if 'Put' in said else ''} {said}" in served.output
        assert ("Put a proxy" in served.output) == ("Put a proxy" in said)


@contextmanager
def standing_still(folder: Path, *names: str, proxy: Proxy | None = None) -> Iterator[Clicker]:
    """Runs a server for which no time passes, so that a delay never ends."""
    auth = Auth(
        Users(users_file(folder)),
        frozenset({"127.0.0.1"}),
        port=0,
        proxy=proxy,
        is_hidden=bool(names),
        attempts=Attempts(lambda: 1_000_000.0),
    )
    with serving_here(Options(folder, names=names, proxy=proxy), auth) as clicker:
        yield clicker


def sign_in(
    clicker: Clicker, password: str, name: str = "dana", headers: Mapping[str, str] | None = None
) -> int:
    """Returns 303, or the status of the page that says why it failed."""
    body = urlencode({"name": name, "password": password}).encode()
    answer = clicker.raw("POST", "/login", body, {**FORM, **(headers or {})})
    assert answer.status == 303
    return clicker.raw("GET", "/login").status if answer.headers["Location"] == "/login" else 303


def guess_until_delayed(
    clicker: Clicker, name: str = "dana", headers: Mapping[str, str] | None = None
) -> None:
    statuses = [sign_in(clicker, f"guess number {number}", name, headers) for number in range(7)]
    assert statuses == [403] * 5 + [429] * 2


@pytest.mark.parametrize("names", [(), (NAME,)])
def test_guesses_from_elsewhere_do_not_lock_a_known_browser_out(
    shared: World, names: tuple[str, ...]
) -> None:
    with standing_still(shared.folder, *names) as known:
        assert sign_in(known, PASSWORD) == 303
        guess_until_delayed(Clicker(known.port))
        assert sign_in(Clicker(known.port), PASSWORD) == 429, "a new browser waits"
        assert sign_in(known, PASSWORD) == 303
        guess_until_delayed(known, "lee")  # it is known for dana only
        guess_until_delayed(known)  # nor are its own guesses free
        assert sign_in(known, PASSWORD) == 429


def test_a_new_password_makes_a_browser_unknown(shared: World) -> None:
    with standing_still(shared.folder) as known:
        assert sign_in(known, PASSWORD) == 303
        guess_until_delayed(Clicker(known.port))
        Users(users_file(shared.folder)).put("dana", "other words are good")
        assert sign_in(known, "other words are good") == 429


def test_behind_a_proxy_that_is_not_trusted_one_name_is_delayed_but_no_other(shared: World) -> None:
    """All people have the proxy's address."""
    Users(users_file(shared.folder)).put("lee", PASSWORD)
    with standing_still(shared.folder, NAME) as clicker:
        for number in range(60):
            sign_in(clicker, "wrong words", f"user{number % 20}")
        guess_until_delayed(clicker)
        assert sign_in(clicker, PASSWORD, "lee") == 303


def test_behind_a_proxy_guesses_delay_only_where_they_come_from(shared: World) -> None:
    proxy = proxy_of("X-Forwarded-For", "127.0.0.1,::1", None)
    with standing_still(shared.folder, NAME, proxy=proxy) as clicker:
        guess_until_delayed(clicker, headers={"X-Forwarded-For": "203.0.113.9"})
        # Clients can write addresses of their choice in front of the one that the proxy adds.
        for forged in ("198.51.100.7, 203.0.113.9", "x,203.0.113.9:4711"):
            assert sign_in(clicker, PASSWORD, headers={"X-Forwarded-For": forged}) == 429
        assert sign_in(clicker, PASSWORD, headers={"X-Forwarded-For": "198.51.100.7"}) == 303


@pytest.mark.parametrize(
    ("header", "allowed"),
    [(None, ""), ("X-Real-IP", "127.0.0.1"), ("X-Forwarded-For", "192.0.2.0/24")],
)
def test_headers_that_no_proxy_wrote_are_ignored(shared: World, header: str | None, allowed: str) -> None:
    """Otherwise a guesser could name another address each time."""
    proxy = proxy_of(header, allowed, None)
    with standing_still(shared.folder, proxy=proxy) as clicker:
        for number in range(6):
            headers = {
                "X-Forwarded-For": f"198.51.100.{number}",
                "Forwarded": f"for=198.51.100.{number}",
                "X-Client-IP": f"198.51.100.{number}",
            }
            assert sign_in(clicker, "wrong words", headers=headers) == (403 if number < 5 else 429)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without users of its own, behind a proxy that signs them in."""
    folder = tmp_path_factory.mktemp("web") / "dealership"
    folder.mkdir()
    world = World(folder).write(customers(3))
    options = ("--name", NAME, "--behind-proxy", "X-Forwarded-For", "--user-header", "Remote-User")
    with serving(world, *options) as server:
        yield server


def by_proxy(user: str) -> dict[str, str]:
    return {"Host": NAME, "X-Forwarded-For": "198.51.100.7", "Remote-User": user}


def test_the_proxy_signs_users_in(proxied: Served) -> None:
    clicker = proxied.clicker()
    page = clicker.raw("GET", "/", headers=by_proxy("dana@dealer.example"))
    assert page.status == 200
    assert "dana@dealer.example" in page.plain
    assert "Sign out" not in page.plain
    (cookie,) = page.cookies
    assert "HttpOnly" in cookie
    assert not clicker.raw("GET", "/", headers=by_proxy("dana@dealer.example")).cookies
    headers = {**by_proxy("dana@dealer.example"), **FORM, "Origin": f"https://{NAME}"}
    made = clicker.raw("POST", "/campaigns", urlencode({"csrf": page.csrf, "name": "mine"}).encode(), headers)
    assert made.status == 303
    assert clicker.raw("GET", "/login", headers=by_proxy("dana@dealer.example")).headers["Location"] == "/"
    # Another user in the same browser gets another session, so forms that are still open do nothing.
    headers["Remote-User"] = "lee"
    late = clicker.raw("POST", "/campaigns", urlencode({"csrf": page.csrf, "name": "late"}).encode(), headers)
    assert late.status == 403
    assert "lee" in clicker.raw("GET", "/", headers=by_proxy("lee")).plain


@pytest.mark.parametrize("path", ["/", "/login", "/enter?token=x", "/history", "/static/web.js"])
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Remote-User": "dana"}, "only through its proxy"),  # not from the proxy
        ({"X-Forwarded-For": "198.51.100.7"}, "did not name a user"),
        ({"X-Forwarded-For": "198.51.100.7", "Remote-User": ""}, "did not name a user"),
        ({"X-Forwarded-For": "198.51.100.7", "Remote-User": "dana, lee"}, "did not name a user"),
        ({"X-Forwarded-For": "198.51.100.7", "Remote_User": "dana"}, "did not name a user"),
    ],
)
def test_without_the_proxys_word_no_one_gets_in(
    proxied: Served, path: str, headers: dict[str, str], message: str
) -> None:
    clicker = proxied.clicker()
    # Not even with the session that the proxy's word began.
    clicker.raw("GET", "/", headers=by_proxy("dana"))
    answer = clicker.raw("GET", path, headers={"Host": NAME, **headers})
    assert answer.status == 403
    assert message in answer.plain
    assert "Campaigns" not in clicker.raw("GET", "/login", headers={"Host": NAME, **headers}).plain


def test_two_names_are_no_name(proxied: Served) -> None:
    """A client could send one of them."""
    with closing(http.client.HTTPConnection("127.0.0.1", proxied.port, timeout=60)) as connection:
        connection.putrequest("GET", "/", skip_host=True)
        for name, value in [*by_proxy("dana").items(), ("Remote-User", "lee")]:
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 403


def test_the_health_check_needs_no_proxy(proxied: Served) -> None:
    assert proxied.clicker().raw("GET", "/health", headers={"Host": NAME}).text == "ok\n"


def test_requests_from_other_computers_cannot_name_a_user(shared: World) -> None:
    options = ("--behind-proxy", "X-Forwarded-For", "--user-header", "Remote-User")
    with serving(shared, *options, "--forwarded-allow-ips", "192.0.2.1", "--name", NAME) as served:
        answer = served.clicker().raw("GET", "/", headers=by_proxy("dana"))
        assert (answer.status, "only through its proxy" in answer.plain) == (403, True)


def test_a_user_header_without_a_proxy_is_refused(shared: World) -> None:
    assert "anyone could write that header" in refuse_to_start(shared, "--user-header", "Remote-User")


def test_users_who_are_no_longer_signed_in_see_no_more_of_a_run(world: World) -> None:
    """A page that shows a run's progress is one long answer."""
    world.write(customers(200), campaign=f"{CAMPAIGN}\n[sending]\nrate = 1\n")
    names = ("dana", "lee", "kim", "ann")
    for name in names:
        world.run("web-users", "add", name, "--password-stdin", answer=f"{PASSWORD}\n")
    with serving(world) as served:
        clickers = {name: served.clicker() for name in names}
        for name, clicker in clickers.items():
            assert sign_in(clicker, PASSWORD, name) == 303
        ann = clickers["ann"]
        address, _ = ann.check("/campaign/here/campaign")
        ann.submit(f"{address}/send", {"choice": "all", "number": "200"})
        ann.wait_for_run(address)
        streams = {name: Stream(clicker, f"{RUN}/events") for name, clicker in clickers.items()}
        world.run("web-users", "remove", "dana")
        world.run("web-users", "add", "lee", "--password-stdin", answer="other words are good\n")
        clickers["kim"].post("/logout")
        for name in ("dana", "lee", "kim"):
            assert streams[name].rest().endswith("event: ended\ndata: ended\n\n"), name
            assert clickers[name].raw("GET", f"{RUN}/events").status == 303
        assert streams["ann"].next_event() == "event: progress"
        ann.post(f"{RUN}/stop")
        ann.wait_for_end(RUN)
        for stream in streams.values():
            stream.connection.close()


class Stream:
    """A page's stream of events, after its first one."""

    def __init__(self, clicker: Clicker, path: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", clicker.port, timeout=60)
        cookie = "; ".join(f"{name}={value}" for name, value in clicker.cookies.items())
        self.connection.request("GET", path, headers={"Cookie": cookie})
        self._answer = self.connection.getresponse()
        assert self._answer.status == 200
        assert self.next_event() == "event: progress"

    def next_event(self) -> str:
        while not (line := self._answer.readline()).startswith(b"event:"):
            assert line, "the stream has ended"
        return line.decode().strip()

    def rest(self) -> str:
        """Everything until the stream ends."""
        return self._answer.read().decode()
