"""Attacks on the web console: without a session, from other websites, and by file names. A real server, real HTTP."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from urllib.parse import quote

import pytest
from web_client import Answer, Clicker, Served, folder_never_sent, refuse_to_start, server_for_all, serving
from world import World, customers

from batchsend.errors import BatchsendError
from batchsend.web.auth.sessions import Session
from batchsend.web.jobs.list_preview import read_list
from batchsend.web.jobs.process import run_check
from batchsend.web.jobs.reader_pool import Readers
from batchsend.web.jobs.registry import JobRequest, Jobs, JobState
from batchsend.web.uploads import fingerprint, save
from batchsend.web.views.all_steps import ALL_STEPS


@dataclass(frozen=True)
class EditedCampaign:
    """A campaign that one test may change. `url`: the address of its page."""

    file: Path
    url: str


_NUMBERS = count()
SESSION = Session("ann", "", None, 0.0, 0.0)
SPRING = "/campaign/here/campaign"
PASSWORD = "four words are good"


world = pytest.fixture(scope="module")(folder_never_sent)
served = pytest.fixture(scope="module")(server_for_all)


@pytest.fixture
def new_world(tmp_path: Path) -> World:
    """A new folder, for tests that start their own server."""
    folder = tmp_path / "dealership"
    folder.mkdir()
    return World(folder).write(customers(3))


@pytest.fixture
def edited(world: World) -> Iterator[EditedCampaign]:
    """A new campaign in the folder of the shared server."""
    stem = f"edited-{next(_NUMBERS)}"
    file = world.folder / f"{stem}.toml"
    text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
    file.write_text(text.replace("Spring", stem), encoding="utf-8")
    yield EditedCampaign(file, f"/campaign/here/{stem}")
    file.unlink()


def test_the_link_signs_one_browser_in(new_world: World) -> None:
    with serving(new_world) as served:
        first, second = served.clicker(), served.clicker()
        assert first.raw("HEAD", served.link).status == 405, "a preview of the link does not use it up"
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
        # A browser that is signed in may open the link again.
        assert first.get(served.link).status == 200


@pytest.mark.parametrize("token", ["", "wrong", "%00", "x" * 5000])
def test_a_wrong_token_signs_no_one_in(served: Served, token: str) -> None:
    clicker = served.clicker()
    answer = clicker.get(f"/enter?token={token}")
    assert answer.status == 403
    assert "start the program again for a new one" in answer.plain
    assert clicker.cookies == {}


def test_a_new_link_signs_another_browser_in(served: Served) -> None:
    link = served.new_link()
    assert served.clicker().get(link).status == 200
    assert served.clicker().get(link).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/",
        SPRING,
        f"{SPRING}/list",
        "/history?q=customer-1",
        "/opt-outs",
        "/archive",
        f"{SPRING}/rename",
        "/opt-outs/download",
        f"{SPRING}/run/1/workbook",
        f"{SPRING}/run/1/list",
        "/nothing",
    ],
)
def test_no_page_is_shown_without_a_session(served: Served, path: str) -> None:
    clicker = served.clicker()
    answer = clicker.raw("GET", path)
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/login")
    assert "customer" not in answer.text
    assert clicker.raw("GET", path, headers={"Cookie": f"batchsend-{served.port}=guessed"}).status == 303


def test_nothing_is_changed_without_a_session(served: Served, world: World) -> None:
    answer = served.clicker().submit("/campaigns", {"name": "mine"}, token="x")
    assert answer.status == 401
    assert "nothing was done" in answer.plain
    assert not (world.folder / "mine.toml").exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},  # a file, or a frame without rights
        {"Origin": "http://127.0.0.1"},  # another port of this computer
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},  # no header: not a browser
        {"Origin": "", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "", "Sec-Fetch-Site": "same-site"},  # a subdomain, not our own page
    ],
)
def test_another_website_can_do_nothing(served: Served, world: World, headers: dict[str, str]) -> None:
    """Even if it has the cookie and the form's token."""
    clicker = served.signed_in()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"csrf={clicker.token()}&name=mine".encode()
    answer = clicker.raw("POST", "/campaigns", body, {**form, **headers})
    assert answer.status == 403
    assert "came from another page, and nothing was done" in answer.plain
    assert not (world.folder / "mine.toml").exists()


@pytest.mark.parametrize("token", ["", "wrong", "é"])  # not ASCII, so it cannot be compared as text
def test_a_form_without_the_sessions_token_does_nothing(served: Served, world: World, token: str) -> None:
    clicker = served.signed_in()
    assert clicker.submit("/campaigns", {"name": "mine"}, token=token).status == 403
    assert clicker.upload(f"{SPRING}/list", "mine.csv", b"a,b\n1,2\n", token=token).status == 403
    assert not list(world.folder.glob("mine*"))
    other = served.signed_in()
    assert other.submit("/campaigns", {"name": "mine"}, token=clicker.token()).status == 403, (
        "the token of another session"
    )


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost.evil.example"])
def test_an_unknown_host_name_is_refused(served: Served, host: str) -> None:
    """Otherwise a website whose name points to this computer could read our pages as its own."""
    clicker = served.signed_in()
    for path in ("/", "/login", "/static/web.js", "/health"):
        answer = clicker.raw("GET", path, headers={"Host": host})
        assert answer.status == 421
        assert "Campaigns" not in answer.text


def test_every_page_has_the_security_headers(served: Served) -> None:
    clicker = served.signed_in()
    for path in ("/", SPRING, f"{SPRING}/list", f"{SPRING}/file", "/opt-outs", "/login", "/nothing"):
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


def test_no_page_has_inline_or_foreign_scripts_and_styles(served: Served) -> None:
    clicker = served.signed_in()
    _, checked = clicker.check(SPRING)
    pages = [checked, clicker.get("/"), clicker.get(SPRING), clicker.get("/history?q=customer-1")]
    pages += [
        clicker.get(f"/opt-outs{page}") for page in ("", "/add", "/import", "/remove?customer=customer-1")
    ]
    pages += [
        clicker.get(f"{SPRING}/{step}") for step in ("list", "columns", "text", "sender", "when", "file")
    ]
    for page in pages:
        inline = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page.text)
        assert inline == []
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page.text)
        for address in re.findall(r'\b(?:src|href|action|hx-get|hx-post|sse-connect)="([^"]*)"', page.text):
            assert address.startswith(("/", "#")), address
            assert not address.startswith("//"), address


def test_only_the_listed_static_files_are_served(served: Served) -> None:
    clicker = served.clicker()
    for name in ("htmx-2.0.11.min.js", "htmx-ext-sse-2.2.4.min.js", "LICENSES.txt"):
        assert clicker.raw("GET", f"/static/{name}").status == 200
    for name in ("..%2flayout.html.j2", "layout.html.j2", "%2e%2e/server.py", "x"):
        assert clicker.raw("GET", f"/static/{name}").status == 404


@pytest.mark.parametrize("stem", ["..%2fsecret", "%2e%2e", "nothing", ".env", "..%5csecret", "%00"])
def test_an_address_never_becomes_a_path(served: Served, world: World, stem: str) -> None:
    (world.folder.parent / "secret.toml").write_text('name = "x"\nlist = "y"\n', encoding="utf-8")
    answer = served.signed_in().get(f"/campaign/here/{stem}")
    assert answer.status == 404
    assert "no campaign" in answer.plain or "no such page" in answer.plain


def test_uploads_stay_beside_the_campaign_and_overwrite_nothing(
    served: Served, world: World, edited: EditedCampaign
) -> None:
    clicker = served.signed_in()
    before = (world.folder / "customers.csv").read_bytes()
    new = b"Customer UUID,First Name,Phone\ncustomer-new,Ann,(312) 555-0101\n"
    answer = clicker.upload(f"{edited.url}/list", "../../customers.csv", new)
    assert "customers (2).csv is now the campaign" in answer.plain
    assert (world.folder / "customers.csv").read_bytes() == before
    assert (world.folder / "customers (2).csv").read_bytes() == new
    assert not list(world.folder.parent.glob("*.csv"))
    again = clicker.upload(f"{edited.url}/list", "customers.csv", new)
    assert "customers (2).csv is now the campaign" in again.plain, "the same file is kept once"
    assert not (world.folder / "customers (3).csv").exists()


def files_in(folder: Path) -> list[Path]:
    """Without folders, because another test's check may still be writing its preview."""
    return sorted(file for file in folder.iterdir() if file.is_file())


def test_an_upload_that_is_too_large_leaves_nothing(
    served: Served, world: World, edited: EditedCampaign
) -> None:
    clicker = served.signed_in()
    before = files_in(world.folder)
    answer = clicker.upload(f"{edited.url}/list", "huge.csv", b"x" * (50 * 1024 * 1024 + 1))
    assert "more than 50 MB" in answer.plain
    assert files_in(world.folder) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(100), "picture.csv"),  # the content counts, not the name
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"Customer UUID,First Name\n", "header"),  # no rows
        ("run.exe", b"MZ", "not a list that can be read"),
        # It would read the database with the rights of the server.
        ("due.sql", b"SELECT * FROM people", "not a list that can be read"),
    ],
)
def test_an_unusable_list_is_not_saved(
    served: Served, world: World, edited: EditedCampaign, name: str, content: bytes, message: str
) -> None:
    answer = served.signed_in().upload(f"{edited.url}/list", name, content)
    assert message in answer.plain
    assert "still uses its previous list" in answer.plain
    assert not (world.folder / name).exists()
    assert 'list = "customers.csv"' in edited.file.read_text(encoding="utf-8")


def test_a_list_for_one_campaign_is_not_the_newest_list_of_another(
    served: Served, world: World, edited: EditedCampaign
) -> None:
    other = world.folder / "exports.toml"
    text = edited.file.read_text(encoding="utf-8")
    other.write_text(text.replace("customers.csv", "export-*.csv"), encoding="utf-8")
    content = (world.folder / "customers.csv").read_bytes()
    clicker = served.signed_in()
    answer = clicker.upload(f"{edited.url}/list", "export-1.csv", content)
    assert "the campaign exports uses the newest file with a name like export-*.csv" in answer.plain
    assert not (world.folder / "export-1.csv").exists()
    people = clicker.upload(f"{edited.url}/when/people", "export-1.csv", b"Phone\n(312) 500-0001\n")
    assert "export-1.csv names 1 person" in people.plain
    refused = clicker.post("/campaigns", {"name": "export-2"})
    assert "Use another name for the file." in refused.plain
    assert not list(world.folder.glob("export-*"))
    # A campaign's text that another campaign reads customers from is not changed either, even from the archive.
    (world.folder / "archive").mkdir()
    other.rename(world.folder / "archive" / "exports.toml")
    archived = (world.folder / "archive" / "exports.toml").read_text(encoding="utf-8")
    (world.folder / "archive" / "exports.toml").write_text(
        archived.replace("export-*.csv", "message.txt.j2"), encoding="utf-8"
    )
    try:
        assert "cannot be changed here" in clicker.get(f"{edited.url}/text").plain
    finally:
        (world.folder / "archive" / "exports.toml").unlink()


@pytest.mark.parametrize("name", ["due.SQL", "others.csv", "run.sh", "job.py", "Makefile"])
def test_only_texts_are_changed(tmp_path: Path, name: str) -> None:
    """A campaign could name any file as its template."""
    file = tmp_path / name
    file.write_text("before", encoding="utf-8")
    with pytest.raises(BatchsendError, match=r"only texts that end in .*\.j2.* are changed on these pages"):
        save(file, "after", loaded=fingerprint(b"before"), session=SESSION)
    assert file.read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize(
    "name", ["spring.TXT", "spring.txt.j2", "spring.jinja", "spring.jinja2", "spring.md"]
)
def test_texts_are_changed(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("before", encoding="utf-8")
    save(file, "after", loaded=fingerprint(b"before"), session=SESSION)
    assert file.read_text(encoding="utf-8") == "after"


def test_the_page_for_texts_shows_other_files_and_does_not_change_them(new_world: World) -> None:
    script = new_world.folder / "run.sh"
    script.write_text("echo before", encoding="utf-8")
    text = naming(new_world.folder / "campaign.toml", "template", "run.sh")
    (new_world.folder / "other.toml").write_text(text, encoding="utf-8")
    with serving(new_world) as served:
        clicker = served.signed_in()
        page = clicker.get("/campaign/here/other/text")
        assert "echo before" in page.plain
        fields = {"number": "0", "text": "echo after", "loaded": page.hidden("loaded")}
        refused = clicker.post("/campaign/here/other/text", fields)
        assert "run.sh was not saved" in refused.plain
        assert "name another file as the template" in refused.plain
        assert "echo after" in refused.plain
    assert script.read_text(encoding="utf-8") == "echo before"


@pytest.mark.parametrize(
    "other",
    [
        'list = "people.txt"',
        'list = "peo*.txt"',
        'list = "people.csv"\nrecipients.suppress = ["people.txt"]',
        'list = "people.txt"\nrate = "an error',
    ],
)
def test_the_page_for_texts_changes_no_list_of_another_campaign(new_world: World, other: str) -> None:
    people = new_world.folder / "people.txt"
    people.write_text("Customer ID,Phone\na,3125550100\n", encoding="utf-8")
    file = new_world.folder / "campaign.toml"
    text = naming(file, "template", "people.txt")
    (new_world.folder / "may.toml").write_text(f'{other}\ntemplate = "message.txt.j2"\n', encoding="utf-8")
    (new_world.folder / "other.toml").write_text(text, encoding="utf-8")
    with serving(new_world) as served:
        clicker = served.signed_in()
        page = clicker.get("/campaign/here/other/text")
        assert "people.txt cannot be changed here" in page.plain
        assert "<textarea" not in page.text
        fields = {"number": "0", "text": "Hi", "loaded": fingerprint(people.read_bytes())}
        assert 'the campaign "may" reads customers' in clicker.post("/campaign/here/other/text", fields).plain
        assert people.read_text(encoding="utf-8").startswith("Customer ID")


@pytest.mark.parametrize("key", ["template", "list"])
def test_hidden_files_are_not_shown(served: Served, world: World, edited: EditedCampaign, key: str) -> None:
    """Otherwise the editor for the campaign file would give access to the credentials."""
    (world.folder / ".env").write_text("MYKAARMA_PASSWORD=very,secret\nx,y\n", encoding="utf-8")
    file = edited.file
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(rf"^{key} = .*$", f'{key} = ".env"', text, flags=re.MULTILINE), encoding="utf-8")
    clicker = served.signed_in()
    answer = clicker.get(edited.url)
    assert "hidden files hold settings and passwords" in answer.plain
    assert "secret" not in answer.text
    for step in ("list", "columns", "text", "sender", "when", "check", "send", "states", "file"):
        assert "secret" not in clicker.get(f"{edited.url}/{step}").text
    fields = {"text": "{{ first_name }}", "number": "0", "row": "2"}
    assert "secret" not in clicker.submit(f"{edited.url}/text/try", fields).text
    assert (
        "secret"
        not in clicker.submit(f"{edited.url}/file/try", {"text": file.read_text(encoding="utf-8")}).text
    )
    refused = clicker.submit(f"{edited.url}/check")
    assert refused.status == 303
    assert "secret" not in clicker.get(refused.headers["Location"]).text
    assert "secret" not in refused.text


def naming(campaign: Path, key: str, file: str) -> str:
    """Returns the campaign file with another file under this key."""
    text = campaign.read_text(encoding="utf-8")
    if key == "suppress":
        return f'{text}[recipients]\nsuppress = ["{file}"]\n'
    return re.sub(rf"^{key} = .*$", f'{key} = "{file}"', text, flags=re.MULTILINE)


@pytest.mark.parametrize("key", ["template", "list", "suppress"])
@pytest.mark.parametrize(
    "name", [".env", "link.txt", "prod.env", "/proc/self/environ"]
)  # the link leads to .env
def test_a_campaign_that_names_a_secret_is_not_saved(
    served: Served, world: World, edited: EditedCampaign, key: str, name: str
) -> None:
    """Otherwise the scheduler could start it."""
    for secret in (".env", "prod.env"):
        (world.folder / secret).write_text("MYKAARMA_PASSWORD=very,secret\nx,y\n", encoding="utf-8")
    if not (world.folder / "link.txt").is_symlink():
        (world.folder / "link.txt").symlink_to(".env")
    before = edited.file.read_bytes()
    fields = {"text": naming(edited.file, key, name), "loaded": fingerprint(before)}
    answer = served.signed_in().post(f"{edited.url}/file", fields)
    assert "There is a problem" in answer.plain
    assert "name another file" in answer.plain
    assert "secret" not in answer.text
    assert edited.file.read_bytes() == before


#: What a campaign file could name: key -> names. Each leads to a file that contains "very-secret".
ATTACKS = [
    (key, name)
    for key in ("template", "list", "suppress")
    for name in (
        ".env",
        "results/../.env",
        "prod.env",
        "link.csv",
        "folder/secret.csv",
        "../elsewhere.csv",
        "ELSEWHERE",
        "outward.csv",
    )
]


def write_secrets(folder: Path) -> None:
    """Writes a secret to every file that `ATTACKS` names."""
    content = "Customer UUID,First Name\nvery-secret,very-secret\n"
    (folder / ".hidden").mkdir()
    for name in (".env", "prod.env", ".hidden/secret.csv", "../elsewhere.csv"):
        (folder / name).write_text(content, encoding="utf-8")
    for link, target in (("link.csv", ".env"), ("folder", ".hidden"), ("outward.csv", "../elsewhere.csv")):
        (folder / link).symlink_to(target)


def every_page(clicker: Clicker, campaign: str, text: str) -> Iterator[Answer]:
    """Loads every page of a campaign, tries its text and its file, and starts a check."""
    token = clicker.get("/").csrf
    for step in ALL_STEPS:
        for page in step.pages:
            if page.method == "GET" and "{" not in page.below:
                yield clicker.get(f"{campaign}/{step.name}{page.below}")
    for path in ("", "/file", "/states?step=list"):
        yield clicker.get(campaign + path)
    yield clicker.post(
        f"{campaign}/text/try", {"text": "{{ first_name }}", "number": "0", "row": "2"}, token=token
    )
    yield clicker.post(f"{campaign}/file/try", {"text": text}, token=token)
    yield clicker.post(f"{campaign}/check", token=token)


@pytest.mark.system
def test_no_page_shows_a_file_that_a_campaign_may_not_name(new_world: World) -> None:
    write_secrets(new_world.folder)
    file = new_world.folder / "campaign.toml"
    good = file.read_bytes()
    with serving(new_world) as served:
        clicker = served.signed_in()
        for key, name in ATTACKS:
            path = name.replace("ELSEWHERE", str(new_world.folder.parent / "elsewhere.csv"))
            text = naming(file, key, path)
            # It is not saved. And if it is there all the same, no page shows what it names.
            fields = {"text": text, "loaded": fingerprint(good)}
            refused = clicker.post(f"{SPRING}/file", fields, token=clicker.get("/").csrf)
            assert "There is a problem" in refused.plain, (key, name)
            assert file.read_bytes() == good
            file.write_text(text, encoding="utf-8")
            for page in every_page(clicker, SPRING, text):
                assert page.status != 500, (key, name, page.url)
                assert "secret" not in page.text.replace("folder/secret.csv", ""), (key, name, page.url)
            file.write_bytes(good)


@pytest.mark.system
def test_a_campaign_file_that_changes_all_the_time_shows_nothing(new_world: World) -> None:
    """As if it were saved, checked and restored at once."""
    write_secrets(new_world.folder)
    file = new_world.folder / "campaign.toml"
    good, ended = file.read_text(encoding="utf-8"), threading.Event()
    evil = [naming(file, key, name) for key, name in ATTACKS if name != "ELSEWHERE"]

    def change() -> None:
        swapped = file.with_name("swapped.tmp")
        for text in cycle(evil):
            for content in (text, good):
                swapped.write_text(content, encoding="utf-8")
                swapped.replace(file)
            if ended.is_set():
                return

    thread = threading.Thread(target=change)
    with serving(new_world) as served:
        clicker = served.signed_in()
        thread.start()
        try:
            for _ in range(3):
                for page in every_page(clicker, SPRING, good):
                    assert page.status != 500, page.plain
                    assert "very-secret" not in page.text, page.url
        finally:
            ended.set()
            thread.join()
    for state in (new_world.folder / ".batchsend" / "web").glob("*.json"):
        assert "very-secret" not in state.read_text(encoding="utf-8"), state.name


def test_the_page_for_texts_changes_no_campaign_file(new_world: World) -> None:
    """Otherwise a campaign file could be saved without the checks of its own page."""
    file, other = new_world.folder / "campaign.toml", new_world.folder / "other.toml"
    before = file.read_bytes()
    other.write_text(naming(file, "template", "campaign.toml"), encoding="utf-8")
    with serving(new_world) as served:
        clicker = served.signed_in()
        fields = {"number": "0", "text": naming(file, "list", ".env"), "loaded": fingerprint(before)}
        refused = clicker.submit("/campaign/here/other/text", fields)
        assert (refused.status, refused.headers["Location"]) == (303, "/campaign/here/other/text")
        assert "is a campaign file, not a text" in clicker.get("/campaign/here/other/text").plain
        assert file.read_bytes() == before


def checked_by_its_job(world: World, campaign: str, only_below: Path | None = None) -> tuple[JobState, bool]:
    """Runs a check's job for a campaign file that was changed after the server had checked it.

    Returns the job's last state, and whether it saved a page.
    """
    file = world.folder / "swapped.toml"
    file.write_text(campaign, encoding="utf-8")
    folder = world.folder / ".batchsend" / "web"

    async def check() -> tuple[JobState, bool]:
        readers = Readers(only_below)
        jobs = Jobs(folder, readers, run_check, only_below)
        name = jobs.new_name()
        request = JobRequest("check", str(file), None, "dana")
        await asyncio.to_thread(jobs.start, name, request, world.env())
        deadline = time.monotonic() + 60
        while not (state := jobs.state(name)).is_over:
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.05)
        await readers.close()
        return state, (folder / f"{name}.html.json").exists()

    return asyncio.run(check())


@pytest.mark.system
@pytest.mark.parametrize("key", ["template", "list", "suppress"])
def test_a_campaign_file_swapped_after_the_server_checked_it_shows_nothing(
    new_world: World, key: str
) -> None:
    (new_world.folder / ".env").write_text("Customer UUID\nvery-secret\n", encoding="utf-8")
    swapped = naming(new_world.folder / "campaign.toml", key, ".env")
    state, has_page = checked_by_its_job(new_world, swapped)
    assert "has a problem, so nothing can be checked" in state.message
    assert (state.exit, [one["step"] for one in state.facts["problems"]]) == (2, ["check"])
    assert "secret" not in f"{state.message} {state.facts}"
    assert not has_page


@pytest.mark.system
@pytest.mark.parametrize("key", ["template", "list", "suppress"])
def test_a_job_of_a_shared_console_reads_only_its_folder(new_world: World, key: str) -> None:
    elsewhere = new_world.folder.parent / "lists" / "elsewhere.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_text((new_world.folder / "customers.csv").read_text(encoding="utf-8"), encoding="utf-8")
    swapped = naming(new_world.folder / "campaign.toml", key, "../lists/elsewhere.csv")
    state, has_page = checked_by_its_job(new_world, swapped, new_world.folder)
    assert "has a problem, so nothing can be checked or sent" in f"{state.message} {state.facts['problems']}"
    assert "customer-1" not in f"{state.message} {state.facts}"
    assert not has_page
    # The user of this computer may check the same campaign, and others if a setting names the folder.
    assert checked_by_its_job(new_world, swapped)[1]
    (new_world.folder / ".env").write_text(f"BATCHSEND_FOLDERS={elsewhere.parent}\n", encoding="utf-8")
    assert checked_by_its_job(new_world, swapped, new_world.folder)[1]


@pytest.mark.system
def test_the_list_reader_of_a_shared_console_reads_only_its_folder(new_world: World) -> None:
    campaign = new_world.folder / "campaign.toml"
    elsewhere = new_world.folder.parent / "lists" / "elsewhere.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_text("Customer UUID\nvery-secret\n", encoding="utf-8")
    content = naming(campaign, "list", "../lists/elsewhere.csv").encode()

    async def read(only_below: Path | None) -> str:
        readers = Readers(only_below)
        try:
            return str(await readers.run("dana", read_list, campaign, content))
        except BatchsendError as error:
            return str(error)
        finally:
            await readers.close()

    shared = asyncio.run(read(new_world.folder))
    assert "outside the folder" in shared
    assert "secret" not in shared
    assert "secret" in asyncio.run(read(None))


def test_customers_data_is_never_markup(served: Served, world: World, edited: EditedCampaign) -> None:
    hostile = "<script>alert(1)</script><b onclick=x>"
    rows = customers(2)
    rows[0]["First Name"] = hostile
    world.write_list(rows, "hostile.csv")
    text = edited.file.read_text(encoding="utf-8")
    edited.file.write_text(text.replace("customers.csv", "hostile.csv"), encoding="utf-8")
    clicker = served.signed_in()
    _, checked = clicker.check(edited.url)
    pages = [*(clicker.get(f"{edited.url}{step}") for step in ("", "/list", "/columns", "/text")), checked]
    pages += [clicker.get(f"/history?q={quote(hostile)}")]
    pages.append(
        clicker.submit(f"{edited.url}/text/try", {"text": "Hi {{ first_name }}", "number": "0", "row": "2"})
    )
    for page in pages:
        assert "<script>alert" not in page.text
        assert "<b onclick" not in page.text
    assert hostile in pages[-1].plain or "&lt;script&gt;alert(1)" in pages[-1].text


def test_users_of_a_shared_server_sign_in(new_world: World) -> None:
    assert "Add them first: batchsend web-users add NAME" in refuse_to_start(new_world, "--host", "0.0.0.0")
    assert "Add them first" in refuse_to_start(new_world, "--name", "texts.dealer.example")
    added = new_world.run("web-users", "add", "dana", "--password-stdin", answer=PASSWORD + "\n")
    assert (added.code, added.out) == (0, "dana can sign in.\n")
    assert new_world.run("web-users", "list").out == "dana\n"
    with serving(new_world, "--name", "texts.dealer.example") as served:
        assert "through its proxy, at https://" in served.output
        assert served.link == "", "a shared server has no link"
        clicker = served.clicker()
        answer = clicker.raw("GET", "/", headers={"Host": "texts.dealer.example"})
        assert answer.status == 303
        sign_in(clicker, "dana", PASSWORD)
        assert "dana" in clicker.get("/").plain
        (new_world.folder.parent / "lists").mkdir()
        (new_world.folder.parent / "lists" / "x.csv").write_text("Customer UUID\nx\n", encoding="utf-8")
        file = new_world.folder / "campaign.toml"
        file.write_text(
            file.read_text(encoding="utf-8").replace('"customers.csv"', '"../lists/x.csv"'), "utf-8"
        )
        assert "lies outside the folder" in clicker.get(SPRING).plain
        for name, reason in (
            ("/etc/passwd", "operating system"),
            ("../lists/x.csv", "outside the folder"),
            ("../x.csv", "BATCHSEND_FOLDERS"),
        ):
            before = file.read_bytes()
            fields = {"text": naming(file, "list", name), "loaded": fingerprint(before)}
            refused = clicker.post(f"{SPRING}/file", fields)
            assert ("There is a problem" in refused.plain, reason in refused.plain) == (True, True)
            assert file.read_bytes() == before
        # Removing a user ends their sessions.
        assert new_world.run("web-users", "remove", "dana").code == 0
        assert clicker.raw("GET", "/").status == 303


def test_guessing_passwords_is_slowed_down(new_world: World) -> None:
    new_world.run("web-users", "add", "dana", "--password-stdin", answer=PASSWORD + "\n")
    with serving(new_world) as served:
        clicker = served.clicker()
        answers = [sign_in(clicker, "dana", f"guess number {number}") for number in range(6)]
        assert [answer.status for answer in answers[:5]] == [403] * 5
        assert answers[5].status == 429
        assert "Too many wrong passwords" in answers[5].plain
        assert sign_in(clicker, "dana", PASSWORD).status == 429, "even the right password has to wait"


def test_behind_tls_the_cookie_is_sent_only_over_tls(new_world: World) -> None:
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
    """Returns the answer, or the page that says why it failed."""
    body = f"name={name}&password={password.replace(' ', '+')}".encode()
    answer = clicker.raw("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 303
    return clicker.raw("GET", "/login") if answer.headers["Location"] == "/login" else answer


def test_signing_out_ends_the_session(served: Served) -> None:
    clicker = served.signed_in()
    cookies = dict(clicker.cookies)
    clicker.post("/logout")
    assert clicker.get("/").status == 401
    clicker.cookies = cookies
    assert clicker.get("/").status == 401
