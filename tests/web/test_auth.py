"""Who is let in to the pages: the rules alone, with a clock of our own."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import Auth, local_path
from batchsend.web.auth.sessions import IDLE, LINK_LASTS, LONGEST, Attempts, Links, Sessions
from batchsend.web.auth.users import Users
from batchsend.web.uploads import safe_name


class Clock:
    """Time that passes when we say so."""

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


def test_a_link_lets_one_in(clock: Clock) -> None:
    links = Links(clock)
    token = links.issue()
    clock.now += 1_000_000
    assert not links.redeem(token + "x")
    assert links.redeem(token)
    assert not links.redeem(token)


def test_a_further_link_ends_by_itself(clock: Clock) -> None:
    links = Links(clock)
    token = links.issue(lasts=LINK_LASTS)
    clock.now += LINK_LASTS
    assert not links.redeem(token)


def test_a_session_ends_when_nobody_uses_it(clock: Clock) -> None:
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


def test_wrong_passwords_make_one_wait_ever_longer(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(4):
        attempts.failed("name dana")
        assert attempts.wait("name dana") == 0
    waits = []
    for _ in range(9):
        attempts.failed("name dana")
        waits.append(attempts.wait("name dana"))
        clock.now += waits[-1]
        assert attempts.wait("name dana") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert attempts.wait("name lee") == 0
    attempts.succeeded("name dana")
    attempts.failed("name dana")
    assert attempts.wait("name dana") == 0


def test_passwords_are_kept_as_hashes_for_their_owner_only(users: Users, tmp_path: Path) -> None:
    assert users.put("dana", "four words are good")
    assert users.put("lee", "four words are good")
    file = tmp_path / ".batchsend" / "web-users.json"
    assert b"four words" not in file.read_bytes()
    assert users.password_version("dana") != users.password_version("lee"), "each has a salt of their own"
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert users.verify("dana", "four words are good")
    assert not users.verify("dana", "four words are bad")
    assert not users.verify("nobody", "four words are good")


def test_a_new_password_ends_what_the_old_one_began(users: Users) -> None:
    users.put("dana", "four words are good")
    before = users.password_version("dana")
    assert not users.put("dana", "other words are good")
    assert users.password_version("dana") not in (None, before)
    users.remove("dana")
    assert users.password_version("dana") is None


@pytest.mark.parametrize("name", ["", "../dana", "dana lee", "a" * 65, "dana\n", "-dana"])
def test_names_that_nobody_has(users: Users, name: str) -> None:
    with pytest.raises(BatchsendError, match="cannot be a user's name"):
        users.put(name, "four words are good")


def test_a_short_password_is_refused(users: Users) -> None:
    with pytest.raises(BatchsendError, match="10 characters or more"):
        users.put("dana", "short")


def test_two_spellings_of_a_name_are_one_person(users: Users) -> None:
    users.put("dana", "four words are good")
    with pytest.raises(BatchsendError, match='There is already a user "dana"'):
        users.put("Dana", "four words are good")


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8397", True),
        ("localhost:8397", True),
        ("LOCALHOST:8397", True),
        ("[::1]:8397", True),
        ("127.0.0.1:8398", False),  # another server of this computer
        ("evil.example:8397", False),  # a name that somebody made mean this computer
        ("127.0.0.1.evil.example:8397", False),
        ("192.168.1.5:8397", False),
        ("localhost", False),
        ("", False),
        ("127.0.0.1:8397@evil.example", False),
        ("127.0.0.1:x", False),
    ],
)
def test_hosts_of_a_server_for_this_computer(users: Users, host: str, ours: bool) -> None:
    auth = Auth(users, frozenset({"127.0.0.1", "localhost", "::1"}), 8397)
    assert auth.is_our_host(host) is ours


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("texts.dealer.example", True),  # the proxy's own port
        ("texts.dealer.example:8443", True),
        ("192.168.1.5:8397", True),
        ("192.168.1.5:80", False),
        ("evil.example:8397", False),
    ],
)
def test_hosts_of_a_server_for_the_office(users: Users, host: str, ours: bool) -> None:
    auth = Auth(users, frozenset({"texts.dealer.example"}), 8397, any_address=True)
    assert auth.is_our_host(host) is ours


@pytest.mark.parametrize(
    ("given", "goes_to"),
    [
        ("/campaign/here/spring?text=1", "/campaign/here/spring?text=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_signing_in_never_leads_elsewhere(given: str | None, goes_to: str) -> None:
    assert local_path(given) == goes_to


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("spring.csv", "spring.csv"),
        ("Spring List (2).XLSX", "Spring List (2).xlsx"),
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\Users\\dana\\list.csv", "list.csv"),
        (".hidden.csv", "hidden.csv"),
        ("con.csv", "list.csv"),
        ("a\x00b\n.csv", "a_b_.csv"),
        ("Lucía.csv", "Lucía.csv"),
        ("x" * 300 + ".csv", "x" * 100 + ".csv"),
    ],
)
def test_what_is_sent_to_us_gets_a_plain_name(given: str, kept: str) -> None:
    assert safe_name(given) == kept


@pytest.mark.parametrize(
    "given", ["", "passwd", "run.exe", "campaign.toml", ".env", "x.csv.html", "x.csv/.."]
)
def test_what_is_no_list_is_not_taken(given: str) -> None:
    with pytest.raises(BatchsendError, match="not a list that can be read"):
        safe_name(given)
