"""The pages against those who should not come in, and against pages of somebody else's: a real server, real HTTP."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from web_client import Answer, Clicker, Served, refuse_to_start, serving
from world import World, customers

from batchsend.errors import BatchsendError
from batchsend.web.jobs.list_preview import read_list
from batchsend.web.jobs.list_process import ListReader
from batchsend.web.jobs.registry import JobRequest, Jobs, JobState
from batchsend.web.uploads import fingerprint


@dataclass(frozen=True)
class Own:
    """A campaign file, and its page's address."""

    file: Path
    url: str


_NUMBERS = count()
SPRING = "/campaign/here/campaign"
PASSWORD = "four words are good"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A campaign that nobody sends: no sandbox is needed."""
    folder = tmp_path_factory.mktemp("web") / "dealership"
    folder.mkdir()
    return World(folder).write(customers(3))


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Served]:
    """One server for all tests that leave it as it was."""
    with serving(world) as server:
        server.inside()
        yield server


@pytest.fixture
def new_world(tmp_path: Path) -> World:
    """A folder of one's own, for servers of one's own."""
    folder = tmp_path / "dealership"
    folder.mkdir()
    return World(folder).write(customers(3))


@pytest.fixture
def own(world: World) -> Iterator[Own]:
    """A campaign of one's own in the folder."""
    stem = f"own-{next(_NUMBERS)}"
    file = world.folder / f"{stem}.toml"
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    file.write_text(text.replace("Spring", stem), encoding="utf-8")
    yield Own(file, f"/campaign/here/{stem}")
    file.unlink()


def test_the_link_lets_one_browser_in(new_world: World) -> None:
    with serving(new_world) as served:
        lets_one_browser_in(served)


def lets_one_browser_in(served: Served) -> None:
    first, second = served.clicker(), served.clicker()
    assert first.raw("HEAD", served.link).status == 405, "whoever only looks at a link does not use it up"
    entered = first.raw("GET", served.link)
    assert entered.status == 303
    (cookie,) = entered.cookies
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert first.get("/").status == 200
    late = second.get(served.link)
    assert late.status == 403
    assert "Each link works once" in late.plain
    assert second.get("/").status == 401
    # Who is in already may use it again: nothing happens.
    assert first.get(served.link).status == 200


@pytest.mark.parametrize("token", ["", "wrong", "%00", "x" * 5000])
def test_a_wrong_token_lets_nobody_in(served: Served, token: str) -> None:
    clicker = served.clicker()
    answer = clicker.get(f"/enter?token={token}")
    assert answer.status == 403
    assert "batchsend web" in answer.plain
    assert clicker.cookies == {}


def test_a_further_link_for_another_browser(served: Served) -> None:
    link = served.further_link()
    assert served.clicker().get(link).status == 200
    assert served.clicker().get(link).status == 403


@pytest.mark.parametrize(
    "path", ["/", SPRING, "/history?q=customer-1", f"{SPRING}/run/1/workbook", "/nothing"]
)
def test_nobody_sees_a_page_without_coming_in(served: Served, path: str) -> None:
    clicker = served.clicker()
    answer = clicker.raw("GET", path)
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/login")
    assert "customer" not in answer.text
    assert clicker.raw("GET", path, headers={"Cookie": f"batchsend-{served.port}=guessed"}).status == 303


def test_nobody_changes_anything_without_coming_in(served: Served, world: World) -> None:
    answer = served.clicker().submit("/campaigns", {"name": "mine"}, token="x")
    assert answer.status == 401
    assert "nothing was done" in answer.plain
    assert not (world.folder / "mine.toml").exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},  # none at all
        {"Origin": "", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_somebody_else_can_do_nothing(
    served: Served, world: World, headers: dict[str, str]
) -> None:
    """Even with the cookie and the form's token."""
    clicker = served.inside()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"csrf={clicker.token()}&name=mine".encode()
    answer = clicker.raw("POST", "/campaigns", body, {**form, **headers})
    assert answer.status == 403
    assert "came from another page, and nothing was done" in answer.plain
    assert not (world.folder / "mine.toml").exists()


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_a_form_without_the_sessions_token_does_nothing(served: Served, world: World, token: str) -> None:
    clicker = served.inside()
    assert clicker.submit("/campaigns", {"name": "mine"}, token=token).status == 403
    assert clicker.upload(f"{SPRING}/list", "mine.csv", b"a,b\n1,2\n", token=token).status == 403
    assert not list(world.folder.glob("mine*"))
    other = served.inside()
    assert other.submit("/campaigns", {"name": "mine"}, token=clicker.token()).status == 403, (
        "another session's"
    )


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost.evil.example"])
def test_a_name_that_is_not_ours_is_not_answered(served: Served, host: str) -> None:
    """Somebody can make a name of their own mean this computer, and read our pages as theirs."""
    clicker = served.inside()
    for path in ("/", "/login", "/static/web.js", "/health"):
        answer = clicker.raw("GET", path, headers={"Host": host})
        assert answer.status == 421
        assert "Campaigns" not in answer.text


def test_what_every_page_carries(served: Served) -> None:
    clicker = served.inside()
    for path in ("/", SPRING, "/history", "/login", "/nothing"):
        answer = clicker.raw("GET", path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_no_page_has_a_script_or_style_of_its_own_or_from_elsewhere(served: Served) -> None:
    clicker = served.inside()
    _, checked = clicker.check(SPRING)
    pages = [checked, clicker.get("/"), clicker.get(SPRING), clicker.get("/history?q=customer-1")]
    for page in pages:
        inline = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page.text)
        assert inline == []
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page.text)
        for address in re.findall(r'\b(?:src|href|action|hx-get|hx-post|sse-connect)="([^"]*)"', page.text):
            assert address.startswith(("/", "#")), address
            assert not address.startswith("//"), address


def test_only_our_own_files_are_served(served: Served) -> None:
    clicker = served.clicker()
    for name in ("htmx-2.0.11.min.js", "htmx-ext-sse-2.2.4.min.js", "LICENSES.txt"):
        assert clicker.raw("GET", f"/static/{name}").status == 200
    for name in ("..%2flayout.html.j2", "layout.html.j2", "%2e%2e/server.py", "x"):
        assert clicker.raw("GET", f"/static/{name}").status == 404


@pytest.mark.parametrize("stem", ["..%2fsecret", "%2e%2e", "nothing", ".env", "..%5csecret", "%00"])
def test_an_address_never_becomes_a_path(served: Served, world: World, stem: str) -> None:
    (world.folder.parent / "secret.toml").write_text('name = "x"\nlist = "y"\n', encoding="utf-8")
    answer = served.inside().get(f"/campaign/here/{stem}")
    assert answer.status == 404
    assert "no campaign" in answer.plain or "no such page" in answer.plain


def test_uploads_stay_beside_the_campaign_and_overwrite_nothing(
    served: Served, world: World, own: Own
) -> None:
    clicker = served.inside()
    before = (world.folder / "customers.csv").read_bytes()
    new = b"Customer UUID,First Name,Phone\nsomebody-new,Ann,(312) 555-0101\n"
    answer = clicker.upload(f"{own.url}/list", "../../customers.csv", new)
    assert "customers (2).csv is now the campaign" in answer.plain
    assert (world.folder / "customers.csv").read_bytes() == before
    assert (world.folder / "customers (2).csv").read_bytes() == new
    assert not list(world.folder.parent.glob("*.csv"))
    again = clicker.upload(f"{own.url}/list", "customers.csv", new)
    assert "customers (2).csv is now the campaign" in again.plain, "the same file is kept once"
    assert not (world.folder / "customers (3).csv").exists()


def files_in(folder: Path) -> list[Path]:
    """Not the folders: a check of another test may still write its preview."""
    return sorted(file for file in folder.iterdir() if file.is_file())


def test_an_upload_that_is_too_large_leaves_nothing(served: Served, world: World, own: Own) -> None:
    clicker = served.inside()
    before = files_in(world.folder)
    answer = clicker.upload(f"{own.url}/list", "huge.csv", b"x" * (50 * 1024 * 1024 + 1))
    assert "more than 50 MB" in answer.plain
    assert files_in(world.folder) == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(100), "picture.csv"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"Customer UUID,First Name\n", "header"),
        ("run.exe", b"MZ", "not a list that can be read"),
    ],
)
def test_what_cannot_be_the_list_is_not_kept(
    served: Served, world: World, own: Own, name: str, content: bytes, said: str
) -> None:
    answer = served.inside().upload(f"{own.url}/list", name, content)
    assert said in answer.plain
    assert "still uses its previous list" in answer.plain
    assert not (world.folder / name).exists()
    assert 'list = "customers.csv"' in own.file.read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["template", "list"])
def test_hidden_files_are_not_shown(served: Served, world: World, own: Own, key: str) -> None:
    """Or a campaign file in the editor would be a way to the credentials."""
    (world.folder / ".env").write_text("MYKAARMA_PASSWORD=very,secret\nx,y\n", encoding="utf-8")
    file = own.file
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(rf"^{key} = .*$", f'{key} = ".env"', text, flags=re.MULTILINE), encoding="utf-8")
    clicker = served.inside()
    answer = clicker.get(own.url)
    assert "hidden files hold settings and passwords" in answer.plain
    assert "secret" not in answer.text
    fields = {"text": "{{ first_name }}", "number": "0", "row": "2"}
    assert "secret" not in clicker.submit(f"{own.url}/text/try", fields).text
    assert (
        "secret" not in clicker.submit(f"{own.url}/file/try", {"text": file.read_text(encoding="utf-8")}).text
    )
    refused = clicker.submit(f"{own.url}/check")
    assert refused.status == 400
    assert "secret" not in refused.text


def naming(own: Path, key: str, file: str) -> str:
    """The campaign file with another file under this key."""
    text = own.read_text(encoding="utf-8")
    if key == "suppress":
        return f'{text}[recipients]\nsuppress = ["{file}"]\n'
    return re.sub(rf"^{key} = .*$", f'{key} = "{file}"', text, flags=re.MULTILINE)


@pytest.mark.parametrize("key", ["template", "list", "suppress"])
@pytest.mark.parametrize("name", [".env", "link.txt", "prod.env", "/proc/self/environ"])
def test_a_campaign_that_names_a_secret_is_not_saved(
    served: Served, world: World, own: Own, key: str, name: str
) -> None:
    """Otherwise a scheduler would start it."""
    for secret in (".env", "prod.env"):
        (world.folder / secret).write_text("MYKAARMA_PASSWORD=very,secret\nx,y\n", encoding="utf-8")
    if not (world.folder / "link.txt").is_symlink():
        (world.folder / "link.txt").symlink_to(".env")
    before = own.file.read_bytes()
    fields = {"text": naming(own.file, key, name), "loaded": fingerprint(before)}
    answer = served.inside().submit(f"{own.url}/file", fields)
    assert answer.status == 409
    assert "name another file" in answer.plain
    assert "secret" not in answer.text
    assert own.file.read_bytes() == before


def checked_in_its_process(
    world: World, campaign: str, only_below: Path | None = None
) -> tuple[JobState, bool]:
    """What the process of a check says about a campaign file that was changed after the server looked at it.

    And whether it kept a page.
    """
    file = world.folder / "swapped.toml"
    file.write_text(campaign, encoding="utf-8")
    folder = world.folder / ".batchsend" / "web"
    jobs = Jobs(folder, only_below)
    name = jobs.new_name()
    jobs.start(name, JobRequest("check", str(file), None, "dana"), world.env())
    deadline = time.monotonic() + 60
    while not (state := jobs.state(name)).is_over:
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(state.process).wait(30)
    jobs.state(name)
    return state, (folder / f"{name}.html.json").exists()


@pytest.mark.parametrize("key", ["template", "list", "suppress"])
def test_a_campaign_that_is_swapped_after_the_check_of_the_server_shows_nothing(
    new_world: World, key: str
) -> None:
    (new_world.folder / ".env").write_text("Customer UUID\nvery-secret\n", encoding="utf-8")
    swapped = naming(new_world.folder / "campaign.toml", key, ".env")
    state, has_page = checked_in_its_process(new_world, swapped)
    assert "hidden files hold settings and passwords" in state.message
    assert "secret" not in state.message
    assert not has_page


@pytest.mark.parametrize("key", ["template", "list", "suppress"])
def test_the_process_of_a_shared_console_stays_in_its_folder(new_world: World, key: str) -> None:
    elsewhere = new_world.folder.parent / "elsewhere.csv"
    elsewhere.write_text((new_world.folder / "customers.csv").read_text(encoding="utf-8"), encoding="utf-8")
    swapped = naming(new_world.folder / "campaign.toml", key, "../elsewhere.csv")
    state, has_page = checked_in_its_process(new_world, swapped, new_world.folder)
    assert "outside the folder" in state.message
    assert "customer-1" not in state.message
    assert not has_page
    # The same campaign may be checked by a user who sits at the computer.
    assert checked_in_its_process(new_world, swapped)[1]


def test_the_reader_of_a_shared_console_stays_in_its_folder(new_world: World) -> None:
    campaign = new_world.folder / "campaign.toml"
    elsewhere = new_world.folder.parent / "elsewhere.csv"
    elsewhere.write_text("Customer UUID\nvery-secret\n", encoding="utf-8")
    content = naming(campaign, "list", "../elsewhere.csv").encode()

    async def look(only_below: Path | None) -> str:
        reading = ListReader(only_below)
        try:
            return str(await reading.run(read_list, campaign, content))
        except BatchsendError as error:
            return str(error)
        finally:
            reading.close()

    shared = asyncio.run(look(new_world.folder))
    assert "outside the folder" in shared
    assert "secret" not in shared
    assert "secret" in asyncio.run(look(None))


def test_text_of_customers_is_never_markup(served: Served, world: World, own: Own) -> None:
    hostile = "<script>alert(1)</script><b onclick=x>"
    rows = customers(2)
    rows[0]["First Name"] = hostile
    world.write_list(rows, "hostile.csv")
    text = own.file.read_text(encoding="utf-8")
    own.file.write_text(text.replace("customers.csv", "hostile.csv"), encoding="utf-8")
    clicker = served.inside()
    _, checked = clicker.check(own.url)
    pages = [clicker.get(own.url), checked, clicker.get(f"/history?q={quote(hostile)}")]
    pages.append(
        clicker.submit(f"{own.url}/text/try", {"text": "Hi {{ first_name }}", "number": "0", "row": "2"})
    )
    for page in pages:
        assert "<script>alert" not in page.text
        assert "<b onclick" not in page.text
    assert hostile in pages[-1].plain or "&lt;script&gt;alert(1)" in pages[-1].text


def test_where_others_can_come_in_they_sign_in(new_world: World) -> None:
    assert "Add them first: batchsend web-users add NAME" in refuse_to_start(new_world, "--host", "0.0.0.0")
    assert "Add them first" in refuse_to_start(new_world, "--name", "texts.dealer.example")
    added = new_world.run("web-users", "add", "dana", "--password-stdin", answer=PASSWORD + "\n")
    assert (added.code, added.out) == (0, "dana can sign in.\n")
    assert new_world.run("web-users", "list").out == "dana\n"
    with serving(new_world, "--name", "texts.dealer.example") as served:
        assert "TLS" in served.said
        assert served.link == "", "nobody comes in by a link"
        clicker = served.clicker()
        answer = clicker.raw("GET", "/", headers={"Host": "texts.dealer.example"})
        assert answer.status == 303
        sign_in(clicker, "dana", PASSWORD)
        assert "dana" in clicker.get("/").plain
        (new_world.folder.parent / "elsewhere.csv").write_text("Customer UUID\nx\n", encoding="utf-8")
        file = new_world.folder / "campaign.toml"
        file.write_text(
            file.read_text(encoding="utf-8").replace('"customers.csv"', '"../elsewhere.csv"'), "utf-8"
        )
        assert "lies outside the folder" in clicker.get(SPRING).plain
        for name, said in (("/etc/passwd", "operating system"), ("../elsewhere.csv", "outside the folder")):
            before = file.read_bytes()
            fields = {"text": naming(file, "list", name), "loaded": fingerprint(before)}
            refused = clicker.submit(f"{SPRING}/file", fields)
            assert (refused.status, said in refused.plain) == (409, True)
            assert file.read_bytes() == before
        # Whoever is removed is out at once.
        assert new_world.run("web-users", "remove", "dana").code == 0
        assert clicker.raw("GET", "/").status == 303


def test_guessing_passwords_is_slow(new_world: World) -> None:
    new_world.run("web-users", "add", "dana", "--password-stdin", answer=PASSWORD + "\n")
    with serving(new_world) as served:
        clicker = served.clicker()
        answers = [sign_in(clicker, "dana", f"guess number {number}") for number in range(6)]
        assert [answer.status for answer in answers[:5]] == [403] * 5
        assert answers[5].status == 429
        assert "Too many wrong passwords" in answers[5].plain
        assert sign_in(clicker, "dana", PASSWORD).status == 429, "not even the right one"


def test_a_cookie_travels_over_tls_only_where_there_is_tls(new_world: World) -> None:
    new_world.run("web-users", "add", "dana", "--password-stdin", answer=PASSWORD + "\n")
    with serving(new_world, "--name", "texts.dealer.example") as served:
        clicker = served.clicker()
        answer = clicker.raw(
            "POST",
            "/login",
            f"name=dana&password={PASSWORD.replace(' ', '+')}".encode(),
            {
                "Host": "texts.dealer.example",
                "Origin": "https://texts.dealer.example",
                "X-Forwarded-Proto": "https",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        assert answer.status == 303
        assert "Secure" in answer.cookies[0]


def sign_in(clicker: Clicker, name: str, password: str) -> Answer:
    body = f"name={name}&password={password.replace(' ', '+')}".encode()
    return clicker.raw("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})


def test_signing_out_ends_the_session(served: Served) -> None:
    clicker = served.inside()
    cookies = dict(clicker.cookies)
    clicker.post("/logout")
    assert clicker.get("/").status == 401
    clicker.cookies = cookies
    assert clicker.get("/").status == 401
