"""The rules for signing in: sessions, links, passwords, host names and uploaded file names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import sys
from pathlib import Path

import pytest
from world import World

from batchsend.errors import BatchsendError, SettingsError
from batchsend.web.auth.middleware import Auth, local_path
from batchsend.web.auth.proxy import proxy_of
from batchsend.web.auth.sessions import (
    IDLE,
    LINK_LASTS,
    LONGEST,
    Attempts,
    Links,
    Sessions,
    attempt_keys,
    device_of,
    device_token,
)
from batchsend.web.auth.users import Users
from batchsend.web.uploads import safe_name
from batchsend.web.views.login import FailedSignIn


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / ".batchsend" / "web-users.json")


def test_a_link_works_once(clock: Clock) -> None:
    links = Links(clock)
    token = links.issue()
    clock.now += 1_000_000
    assert not links.redeem(token + "x")
    assert links.redeem(token)
    assert not links.redeem(token)


def test_a_link_made_on_a_page_expires(clock: Clock) -> None:
    links = Links(clock)
    token = links.issue(lasts=LINK_LASTS)
    clock.now += LINK_LASTS
    assert not links.redeem(token)


def test_an_unused_session_ends(clock: Clock) -> None:
    sessions = Sessions(clock)
    cookie, session = sessions.begin("dana", None)
    clock.now += IDLE - 1
    assert sessions.find(cookie) is session
    clock.now += IDLE + 1
    assert sessions.find(cookie) is None
    assert sessions.find("") is None
    assert sessions.find("another") is None


def test_a_session_ends_after_a_week_of_use(clock: Clock) -> None:
    sessions = Sessions(clock)
    cookie, _ = sessions.begin("dana", None)
    began = clock.now
    while clock.now - began <= LONGEST:
        assert sessions.find(cookie) is not None
        clock.now += IDLE / 2
    assert sessions.find(cookie) is None


def test_each_wrong_password_doubles_the_delay(clock: Clock) -> None:
    attempts = Attempts(clock)
    dana = attempt_keys("dana", "192.0.2.1", None)
    for _ in range(4):
        attempts.failed(dana)
        assert attempts.wait(dana) <= 0
    waits = []
    for _ in range(9):
        attempts.failed(dana)
        waits.append(attempts.wait(dana))
        clock.now += waits[-1]
        assert attempts.wait(dana) <= 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert attempts.wait(attempt_keys("lee", "192.0.2.1", None)) <= 0
    attempts.succeeded(dana)
    attempts.failed(dana)
    assert attempts.wait(dana) <= 0


def test_wrong_passwords_are_forgotten_after_an_hour(clock: Clock) -> None:
    attempts = Attempts(clock)
    dana = attempt_keys("dana", "192.0.2.1", None)
    for _ in range(20):
        attempts.failed(dana)
    clock.now += 3600
    attempts.failed(dana)
    assert attempts.wait(dana) <= 0


@pytest.mark.parametrize("address", ["198.51.100.7", None])
def test_guesses_from_many_places_delay_only_new_browsers(clock: Clock, address: str | None) -> None:
    attempts = Attempts(clock)
    for number in range(300):
        place = f"203.0.113.{number % 200}" if address else None
        attempts.failed(attempt_keys("dana", place, None))
    assert attempts.wait(attempt_keys("Dana", address, None)) == 60
    known = attempt_keys("dana", "203.0.113.1", "the browser at work")
    assert attempts.wait(known) <= 0
    # Its own guesses are delayed all the same: it may be stolen.
    for _ in range(6):
        attempts.failed(known)
    assert attempts.wait(known) > 0


def test_guesses_from_one_place_delay_no_other_place(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(60):
        if attempts.wait(guess := attempt_keys("dana", "203.0.113.9", None)) <= 0:
            attempts.failed(guess)
        attempts.failed(attempt_keys(f"user {number}", "203.0.113.9", None))
        clock.now += 1
    assert attempts.wait(attempt_keys("dana", "203.0.113.9", None)) > 0
    assert attempts.wait(attempt_keys("lee", "203.0.113.9", None)) > 0, "one password for many names"
    assert attempts.wait(attempt_keys("dana", "198.51.100.7", None)) <= 0


def test_signing_in_does_not_reset_what_was_counted_for_others(clock: Clock) -> None:
    """A guesser with an account of their own could begin anew."""
    attempts = Attempts(clock)
    for number in range(49):
        attempts.failed(attempt_keys(f"user {number}", "203.0.113.9", None))
    own = attempt_keys("mallory", "203.0.113.9", None)
    attempts.failed(own)
    attempts.succeeded(own)
    attempts.failed(attempt_keys("dana", "203.0.113.9", None))
    assert attempts.wait(attempt_keys("lee", "203.0.113.9", None)) > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),  # a network has 2**64 addresses
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unknown", "unknown", True),  # what a proxy may write
    ],
)
def test_places(one: str, other: str, same: bool) -> None:
    assert (attempt_keys("dana", one, None) == attempt_keys("dana", other, None)) is same


def test_a_browser_is_known_for_one_user_until_the_password_changes(users: Users) -> None:
    users.put("dana", "four words are good")
    users.put("lee", "four words are good")
    version = users.password_version("dana") or ""
    token = device_token(version)
    assert device_of(token, version) == token.partition(".")[0]
    assert device_of(token, users.password_version("lee")) is None
    assert device_of(token, None) is None, "no such user"
    for forged in ("", ".", "x", f"x.{token.partition('.')[2]}", f"{token}é"):
        assert device_of(forged, version) is None
    users.put("dana", "other words are good")
    assert device_of(token, users.password_version("dana")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((None, "127.0.0.1", "Remote-User"), "--user-header Remote-User: anyone could write that header"),
        (("X Real", "127.0.0.1", None), "--behind-proxy X Real: a proxy cannot use this header"),
        (("X-Real-IP", "127.0.0.1", "Cookie"), "--user-header Cookie: a proxy cannot use this header"),
        (("X-Real-IP", "caddy", None), "--forwarded-allow-ips: caddy is not an IP address"),
        (("X-Real-IP", "127.0.0.1,", None), "--forwarded-allow-ips:  is not an IP address"),
    ],
)
def test_options_of_a_proxy(options: tuple[str | None, str, str | None], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        proxy_of(*options)


def test_passwords_are_stored_as_hashes_in_a_private_file(users: Users, tmp_path: Path) -> None:
    assert users.put("dana", "four words are good")
    assert users.put("lee", "four words are good")
    file = tmp_path / ".batchsend" / "web-users.json"
    assert b"four words" not in file.read_bytes()
    assert users.password_version("dana") != users.password_version("lee"), "each hash has its own salt"
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert users.verify("dana", "four words are good")
    assert not users.verify("dana", "four words are bad")
    assert not users.verify("stranger", "four words are good")


def test_users_passwords_cost_a_guesser_work(tmp_path: Path) -> None:
    """RFC 7914's scrypt with 32 MiB for each guess, in the installed command: the tests themselves hash faster."""
    done = World(tmp_path).run_cold(
        "web-users", "add", "dana", "--password-stdin", answer="four words are good\n"
    )
    assert done.code == 0, done.err
    kept = json.loads((tmp_path / ".batchsend" / "web-users.json").read_bytes())["users"]["dana"]
    salt = base64.b64decode(kept["salt"])
    assert len(salt) == 16
    hashed = hashlib.scrypt(b"four words are good", salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
    assert base64.b64decode(kept["hash"]) == hashed


def test_a_new_password_changes_the_password_version(users: Users) -> None:
    users.put("dana", "four words are good")
    before = users.password_version("dana")
    assert not users.put("dana", "other words are good")
    assert users.password_version("dana") not in (None, before)
    users.remove("dana")
    assert users.password_version("dana") is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../dana",  # a path
        "dana lee",  # a space
        "a" * 65,  # one character too many
        "dana\n",
        "-dana",  # could be an option on a command line
    ],
)
def test_an_invalid_name_is_refused(users: Users, name: str) -> None:
    with pytest.raises(BatchsendError, match="cannot be a user's name"):
        users.put(name, "four words are good")


def test_a_short_password_is_refused(users: Users) -> None:
    with pytest.raises(BatchsendError, match="10 characters or more"):
        users.put("dana", "short")


def test_upper_and_lower_case_are_the_same_name(users: Users) -> None:
    users.put("dana", "four words are good")
    with pytest.raises(BatchsendError, match='There is already a user "dana"'):
        users.put("Dana", "four words are good")


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8397", True),
        ("localhost:8397", True),
        ("LOCALHOST:8397", True),  # names ignore case
        ("[::1]:8397", True),
        ("127.0.0.1:8398", False),  # another server on this computer
        ("evil.example:8397", False),  # a foreign name that points to this computer
        ("127.0.0.1.evil.example:8397", False),  # only begins like one of our names
        ("192.168.1.5:8397", False),  # this computer's address in the office
        ("localhost", False),  # port 80
        ("", False),
        ("127.0.0.1:8397@evil.example", False),  # our name as the user of a foreign host
        ("127.0.0.1:x", False),
    ],
)
def test_host_names_of_a_private_server(users: Users, host: str, ours: bool) -> None:
    auth = Auth(users, frozenset({"127.0.0.1", "localhost", "::1"}), 8397)
    assert auth.is_our_host(host) is ours


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("texts.dealer.example", True),  # the proxy's own port
        ("texts.dealer.example:8443", True),
        ("localhost", True),  # a proxy on this computer
        ("localhost:8443", True),
        ("127.0.0.1", False),
        ("office-pc", True),  # this computer's name in the office, through a proxy
        ("192.168.1.5:8397", True),  # without the proxy, by address
        ("192.168.1.5:80", False),  # another server on this computer
        ("evil.example:8397", False),
    ],
)
def test_host_names_of_a_shared_server(users: Users, host: str, ours: bool) -> None:
    named = frozenset({"texts.dealer.example", "localhost"})
    hosts = frozenset({"127.0.0.1", "localhost", "office-pc"})
    auth = Auth(users, hosts, 8397, named=named, any_address=True)
    assert auth.is_our_host(host) is ours


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/campaign/here/spring?text=1", "/campaign/here/spring?text=1"),
        ("//evil.example", "/"),  # browsers read this as another host
        ("/\\evil.example", "/"),  # and this
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),  # a second header
        ("", "/"),
        (None, "/"),
    ],
)
def test_signing_in_leads_only_to_our_own_pages(given: str | None, target: str) -> None:
    assert local_path(given) == target


@pytest.mark.parametrize(
    ("given", "saved_as"),
    [
        ("spring.csv", "spring.csv"),
        ("Spring List (2).XLSX", "Spring List (2).xlsx"),
        ("../../etc/passwd.csv", "passwd.csv"),  # a path
        ("C:\\Users\\dana\\list.csv", "list.csv"),  # a path that Windows browsers send
        (".hidden.csv", "hidden.csv"),
        ("con.csv", "list.csv"),  # a device on Windows
        ("COM¹ .tar.csv", "list.csv"),  # and this
        ("a\x00b\n.csv", "a_b_.csv"),
        ("Lucía.csv", "Lucía.csv"),  # letters of other languages stay
        ("x" * 300 + ".csv", "x" * 100 + ".csv"),  # too long for a file system
    ],
)
def test_an_upload_gets_a_safe_name(given: str, saved_as: str) -> None:
    assert safe_name(given) == saved_as


@pytest.mark.parametrize(
    "given",
    [
        "",
        "passwd",
        "run.exe",
        "campaign.toml",  # would become a campaign
        ".env",  # would become the settings
        "x.csv.html",  # only the last ending counts
        "x.csv/..",
    ],
)
def test_an_upload_that_is_not_a_list_is_refused(given: str) -> None:
    with pytest.raises(BatchsendError, match="not a list that can be read"):
        safe_name(given)


@pytest.mark.parametrize("name", ["dana", "O'Hara; Path=/", "Zoë 🙂", "x" * 500, ""])
def test_why_a_sign_in_failed_survives_in_a_cookie(name: str) -> None:
    for wait in (0, 60):
        stored = FailedSignIn(name, wait).stored()
        assert re.fullmatch(r"[\w.%~-]+", stored, re.ASCII)
        assert FailedSignIn.read(stored) == (name[:64], wait)


@pytest.mark.parametrize(
    "cookie", ["", "dana", "x.dana", "-1.dana", "9999.dana", "\N{ARABIC-INDIC DIGIT ONE}.x"]
)
def test_a_cookie_that_no_server_wrote_says_nothing(cookie: str) -> None:
    assert FailedSignIn.read(cookie) is None
