"""The step "Sender": departments and users are saved once, and credentials are written but never shown."""

from __future__ import annotations

import html
import re
import stat
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_client import serving
from world import Sandbox, World, customers

from batchsend.errors import SettingsError
from batchsend.settings import load_settings, require_credentials, store_credentials
from batchsend.web.auth.users import Users

SENDER = "/campaign/here/campaign/sender"
OTHER = "/campaign/here/other/sender"
ID = "0123456789abcdef0123456789abcdef"
NAME, WORD = "subscriber-12", 'it\'s a "pass" \\ word # 1'

characters = st.characters(
    min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f“”‘’", exclude_categories=["Cc"]
)
values = st.text(characters, min_size=1).filter(lambda text: text == text.strip())
env_lines = st.lists(
    st.sampled_from(
        [
            "# mine",
            "",
            "BATCHSEND_LEDGER=ledger.db",
            "export OTHER='two\nlines'",
            "MYKAARMA_USERNAME=old",
            'MYKAARMA_PASSWORD="older"',
        ]
    )
)


@pytest.fixture
def bare(tmp_path: Path) -> World:
    """A folder without credentials, neither in the environment nor in a file."""
    folder = tmp_path / "dealership"
    folder.mkdir()
    world = World(folder, environment={"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": ""})
    return world.write(customers(2))


@given(env_lines, values, values)
def test_stored_credentials_are_read_again_and_other_lines_stay(
    before: list[str], username: str, password: str
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".env").write_text("\n".join(before), encoding="utf-8")
        try:
            store_credentials(folder, folder, username, password)
        except SettingsError:
            # The same rule refuses them when they are used.
            assert (folder / ".env").read_text(encoding="utf-8") == "\n".join(before)
            given = {"MYKAARMA_USERNAME": username, "MYKAARMA_PASSWORD": password}
            with pytest.raises(SettingsError):
                require_credentials(load_settings(folder / "none", folder / "none", given))
            return
        settings = load_settings(folder, folder, {})
        assert (settings.username, settings.password) == (username, password)
        kept = [line for line in before if "MYKAARMA" not in line and line]
        after = (folder / ".env").read_text(encoding="utf-8")
        assert all(after.count(line) == before.count(line) for line in kept)
        assert "old" not in after.replace(username, "").replace(password, "")


def test_credentials_are_written_for_the_owner_alone_and_never_shown(bare: World) -> None:
    with serving(bare) as served:
        clicker = served.signed_in()
        assert "no name and password for it yet" in clicker.get(SENDER).plain
        page = clicker.post(f"{SENDER}/credentials", {"username": NAME, "password": WORD})
        assert "are saved on this computer" in page.plain
        assert "This computer has a name and a password" in page.plain
        file = bare.folder / ".env"
        settings = load_settings(bare.folder, bare.folder, {})
        assert (settings.username, settings.password) == (NAME, WORD)
        if sys.platform != "win32":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        before = file.read_bytes()
        for username, password, words in (
            ("", WORD, "Enter the name"),
            ("a:b", WORD, "colon"),
            ("me", "your-password", "placeholder"),
        ):
            refused = clicker.post(f"{SENDER}/credentials", {"username": username, "password": password})
            assert words in refused.plain
            assert 'aria-invalid="true"' in refused.text
            assert "<title>Error: " in refused.text
            assert not re.search("MYKAARMA_|[.]env", refused.plain)
            assert file.read_bytes() == before
        for address in (SENDER, "/campaign/here/campaign", "/campaign/here/campaign/file", "/"):
            shown = clicker.get(address).text
            assert NAME not in shown
            assert "pass&#34; " not in shown
        # What the server prints and keeps has them neither.
        kept = [one for one in (bare.folder / ".batchsend").rglob("*") if one.is_file()]
        assert all(WORD.encode() not in one.read_bytes() for one in kept)
        assert WORD not in served.printed()


def test_the_connection_is_tested_without_a_text(world: World, sandbox: Sandbox) -> None:
    world.environment = {"MYKAARMA_USERNAME": "", "MYKAARMA_PASSWORD": ""}
    world.write(customers(2))
    with serving(world) as served:
        clicker = served.signed_in()
        page = clicker.get(SENDER)
        assert "Test the connection" not in page.text
        assert "no usable name and password" in clicker.post(f"{SENDER}/test").plain
        clicker.post(f"{SENDER}/credentials", {"username": NAME, "password": WORD})
        works = clicker.submit(f"{SENDER}/test")
        assert works.headers["Location"] == f"{SENDER}#tested"
        page = clicker.get(SENDER)
        assert "The connection works" in page.plain
        assert "<title>Error" not in page.text
        assert "The connection works" not in clicker.get(SENDER).plain
        # The sandbox refuses this password.
        clicker.post(f"{SENDER}/credentials", {"username": NAME, "password": "wrong"})
        page = clicker.post(f"{SENDER}/test")
        assert "the password is wrong" in page.plain
        assert "<title>Error" in page.text
        assert "Test again" in page.text
        assert NAME not in page.text
        # What a person had typed and could not save is kept.
        clicker.post(SENDER, {**clicker.shown(SENDER), "department_uuid": "no id!", "user_uuid": f"{ID}u"})
        assert 'value="no id!"' in clicker.post(f"{SENDER}/test").text
    assert sandbox.requests() == []


def test_the_connection_is_tested_where_the_settings_say_and_nowhere_else(bare: World) -> None:
    bare.environment = {}
    with serving(bare) as served:
        clicker = served.signed_in()
        inner = {"base_url": "http://169.254.169.254", "MYKAARMA_BASE_URL": "http://169.254.169.254"}
        page = clicker.post(f"{SENDER}/test", {**inner, "department_uuid": "../../x"})
        assert "127.0.0.1:9 refuses the connection" in page.plain
        assert "169.254" not in page.plain
        assert clicker.submit(f"{SENDER}/test", token="another").status == 403


def test_without_a_department_there_is_nothing_to_test(bare: World) -> None:
    bare.environment = {}
    file = bare.folder / "campaign.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("3a7f1c9e", "put-your-"), encoding="utf-8")
    with serving(bare) as served:
        clicker = served.signed_in()
        assert "Save a department, then you can test" in clicker.get(SENDER).plain
        assert "Choose a department and save it first" in clicker.post(f"{SENDER}/test").plain


def test_saved_names_are_changed_and_removed(bare: World) -> None:
    saved = f"{SENDER}/saved"
    with serving(bare) as served:
        clicker = served.signed_in()
        assert "/sender/saved" not in clicker.get(SENDER).text
        assert "Nothing is saved yet" in clicker.get(saved).plain
        new = {"department": "new", "department_uuid": ID, "department_label": "Parts"}
        clicker.post(SENDER, {**clicker.shown(SENDER), **new})
        page = clicker.get(saved)
        one = {name: page.hidden(name) for name in ("kind", "id", "field")}
        assert one["id"] == ID
        assert (
            "“Parts” is now called “Parts & Service”"
            in clicker.post(saved, {**one, "name": " Parts  & Service "}).plain
        )
        for name, words in (("", "Enter a name"), ("x" * 81, "at most 80 characters")):
            refused = clicker.post(saved, {**one, "name": name})
            assert words in refused.plain
            assert 'aria-invalid="true"' in refused.text
        assert "Parts & Service" in html.unescape(clicker.get(saved).text)
        assert (
            "“Parts & Service” is removed" in clicker.post(saved, {**one, "name": "", "remove": "yes"}).plain
        )
        assert "Nothing is saved yet" in clicker.get(saved).plain
        assert "removed meanwhile" in clicker.post(saved, {**one, "name": "Again"}).plain
        # The campaign keeps its department.
        assert (
            tomllib.loads((bare.folder / "campaign.toml").read_text(encoding="utf-8"))["department_uuid"]
            == ID
        )
        other = clicker.submit(saved, {**one, "kind": "no such kind", "name": "x"})
        assert other.status == 303


def test_on_an_office_server_nobody_writes_credentials_by_a_page(bare: World) -> None:
    (bare.folder / ".batchsend").mkdir()
    Users(bare.folder / ".batchsend" / "web-users.json").put("ann", "four words are good")
    with serving(bare, "--name", "texts.example") as served:
        clicker = served.clicker()
        body = urlencode({"name": "ann", "password": "four words are good"}).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert clicker.raw("POST", "/login", body, form).status == 303
        page = clicker.get(SENDER)
        assert "The person who runs this server sets" in page.plain
        assert 'type="password"' not in page.text
        refused = clicker.submit(f"{SENDER}/credentials", {"username": NAME, "password": WORD})
        assert refused.status == 303
        assert not (bare.folder / ".env").exists()


def test_a_department_is_saved_once_and_picked_by_its_name(bare: World) -> None:
    text = (bare.folder / "campaign.toml").read_text(encoding="utf-8")
    (bare.folder / "other.toml").write_text(text.replace("Spring", "Other"), encoding="utf-8")
    with serving(bare) as served:
        clicker = served.signed_in()
        new = {"department": "new", "department_uuid": ID, "department_label": "Parts"}
        user = {"user": "new", "user_uuid": f"{ID}u", "user_label": "Dana Lee"}
        clicker.post(SENDER, {**clicker.shown(SENDER), **new, **user})
        other = clicker.get(OTHER)
        assert "Parts" in other.plain
        assert "Dana Lee" in other.plain
        picked = {"department": ID, "user": f"{ID}u"}
        clicker.post(OTHER, {**clicker.shown(OTHER), **picked})
        data = tomllib.loads((bare.folder / "other.toml").read_text(encoding="utf-8"))
        assert (data["department_uuid"], data["department_label"], data["user_uuid"]) == (
            ID,
            "Parts",
            f"{ID}u",
        )
        # An id that the page did not offer is refused by the campaign file's rules.
        before = (bare.folder / "other.toml").read_bytes()
        clicker.post(OTHER, {**clicker.shown(OTHER), "department": "no id!"})
        assert (bare.folder / "other.toml").read_bytes() == before


def test_a_sender_without_ids_is_refused_beside_the_fields(bare: World) -> None:
    file = bare.folder / "campaign.toml"
    before = file.read_bytes()
    with serving(bare) as served:
        refused = served.signed_in().post(SENDER, {"department_uuid": " ", "user_uuid": ""})
    assert "Put in the department’s id." in refused.plain
    assert re.search(r'id="user_uuid"[^>]*user_uuid-error[^>]*aria-invalid="true"', refused.text)
    assert file.read_bytes() == before


def test_who_gets_tests_is_remembered_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "dealership"
    folder.mkdir()
    with serving(World(folder).write(customers(2))) as served:
        clicker = served.signed_in()
        check, _ = clicker.check("/campaign/here/campaign")
        page = clicker.get(f"{check}/trial")
        form = {"nonce": page.hidden("nonce"), "customer": "my-own-id", "tester": "Dana"}
        assert clicker.submit(f"{check}/trial", form).status == 303
        # In every browser and for every campaign of the folder.
        page = served.signed_in().get(f"{check}/trial")
        assert 'name="customer" value="my-own-id" checked> Dana' in page.text
        other = {"nonce": page.hidden("nonce"), "customer": "", "new_customer": "an id!", "tester": "Eve"}
        assert "copy your own customer id" in clicker.post(f"{check}/trial", other).plain
        assert "Eve" not in clicker.get(f"{check}/trial").plain


def test_names_that_are_saved_at_once_are_all_kept(bare: World) -> None:
    text = (bare.folder / "campaign.toml").read_text(encoding="utf-8")
    for number in range(8):
        (bare.folder / f"n{number}.toml").write_text(text, encoding="utf-8")
    with serving(bare) as served:
        people = [served.signed_in() for _ in range(8)]
        together = Barrier(len(people))

        def save(number: int) -> None:
            page = f"/campaign/here/n{number}/sender"
            new = {
                "department": "new",
                "department_uuid": f"{ID}{number}",
                "department_label": f"Parts {number}",
            }
            form = {**people[number].shown(page), **new}
            together.wait()
            people[number].submit(page, form)

        with ThreadPoolExecutor(len(people)) as pool:
            list(pool.map(save, range(len(people))))
        shown = people[0].get(SENDER).plain
        assert [f"Parts {number}" in shown for number in range(8)] == [True] * 8
