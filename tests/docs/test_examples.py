"""The examples for pipelines work."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from world import Finished, Sandbox, World, customers

EXAMPLES = Path(__file__).parents[2] / "examples"


def step(world: World) -> Finished:
    done = subprocess.run(
        [sys.executable, "-c", "import batch_job; print(batch_job.run_campaign('campaign.toml'))"],
        cwd=world.folder,
        env={**world.env(), "PYTHONPATH": str(EXAMPLES)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.system
def test_a_campaign_as_a_step_of_a_pipeline(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3))
    for _ in range(2):  # running a step again sends nothing twice
        done = step(world)
        assert done.code == 0, done.err
        result = ast.literal_eval(done.out)
        assert (result["campaign"], result["run"], result["exit"]) == ("Spring", 1, 0)
        assert result["summary"].startswith("3 rows = 3 accepted by myKaarma")
    assert set(sandbox.texts().values()) == {1}

    # The step fails if a row needs attention or a guard refuses the list.
    people = customers(2, "other")
    people[1]["Customer UUID"] = "sandbox-locked-1"
    world.write(people)
    failed = step(world)
    assert failed.code == 1
    assert "StepFailedError: Spring needs attention: 2 rows = 1 accepted by myKaarma" in failed.err
    world.write(customers(9, "more"), campaign="[guards]\nmax_texts = 5\n")
    refused = step(world)
    assert refused.code == 1
    assert "guards.max_texts is 5, but 9 texts would be sent." in refused.err
    assert len(sandbox.texts()) == 4


def test_the_airflow_example_is_valid_and_calls_the_step() -> None:
    tree = ast.parse((EXAMPLES / "airflow_dag.py").read_text(encoding="utf-8"))
    imported = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "batch_job"
    ]
    step_source = ast.parse((EXAMPLES / "batch_job.py").read_text(encoding="utf-8"))
    there = {node.name for node in step_source.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert (
        {alias.name for node in imported for alias in node.names}
        == {"run_campaign", "StepFailedError"}
        <= there
    )


# --- packages that add to batchsend


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example packages are installed in, by uv."""
    folder = tmp_path_factory.mktemp("installed")
    packages = sorted(path.parent for path in EXAMPLES.glob("*/pyproject.toml"))
    python = Path(sys.executable)
    uv = python.with_name(f"uv{python.suffix}")
    options = ("--quiet", "--offline", "--no-deps", "--target", str(folder), "--python", str(python))
    subprocess.run([uv, "pip", "install", *options, *map(str, packages)], check=True, timeout=60)
    return folder


class Crm(BaseHTTPRequestHandler):
    """A CRM with one segment, and a help desk."""

    tickets: ClassVar[list[dict[str, object]]] = []

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        found = self.headers["Authorization"] == "Bearer swordfish" and address.path == "/customers"
        people = [
            {"uuid": f"crm-{number}", "firstName": f"Ann{number}", "mobile": f"(312) 555-010{number}"}
            for number in range(3)
        ]
        content = json.dumps(people if parse_qs(address.query) == {"segment": ["Spring"]} else []).encode()
        self.send_response(200 if found else 403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.tickets.append({"path": self.path, **json.loads(content)})
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        return


@pytest.fixture
def crm() -> Iterator[str]:
    """The address of a CRM and help desk."""
    Crm.tickets.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Crm) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.system
def test_a_list_source(world: World, sandbox: Sandbox, installed: Path, crm: str) -> None:
    world.write()
    campaign = world.folder / "campaign.toml"
    campaign.write_text(campaign.read_text().replace("customers.csv", "spring.crm"), encoding="utf-8")
    (world.folder / "spring.crm").write_text('segment = "Spring"\n', encoding="utf-8")
    world.environment |= {"CRM_URL": crm, "CRM_TOKEN": "swordfish"}
    missing = world.run_cold("preview", "campaign.toml")
    assert missing.code == 2
    assert "No package that reads lists ending in .crm is installed here." in missing.err

    world.environment["PYTHONPATH"] = str(installed)
    done = world.run_cold("send", "campaign.toml", "--yes")
    assert (done.code, done.err) == (0, "")
    assert "3 rows = 3 accepted by myKaarma" in done.out
    assert set(sandbox.texts()) == {"crm-0", "crm-1", "crm-2"}
    # The same customers continue the run.
    again = world.run_cold("send", "campaign.toml", "--yes")
    assert again.code == 0
    assert len(sandbox.requests()) == 3

    world.environment["CRM_TOKEN"] = "old"
    refused = world.run_cold("preview", "campaign.toml")
    assert refused.code == 2
    assert 'The list source "crm" of the package batchsend-crm-list 1.0' in refused.err
    assert "failed (HTTPError, " in refused.err
    assert "Traceback" not in refused.err
    assert world.run_cold("runs").code == 0


@pytest.mark.system
def test_a_template_filter(world: World, sandbox: Sandbox, installed: Path) -> None:
    vins = ("1HGCM82633A004352", "1HGCM82633A004353", "too short")
    rows = [{**row, "VIN": vin} for row, vin in zip(customers(3), vins, strict=True)]
    world.write(rows, template='Your car {{ vin | short_vin("-") }} is due.')
    missing = world.run_cold("send", "campaign.toml", "--yes")
    assert missing.code == 2
    assert "message.txt.j2: line 1: there is no filter `short_vin`; did you mean" in missing.err
    assert "or is a package missing here?" in missing.err
    assert sandbox.requests() == []

    world.environment["PYTHONPATH"] = str(installed)
    assert world.run_cold("send", "campaign.toml", "--yes").code == 1
    results = world.workbook()
    assert [results[row]["message"] for row in (2, 3)] == [
        "Your car 3A-004352 is due.",
        "Your car 3A-004353 is due.",
    ]
    assert results[4]["errorDescriptions"] == (
        "line 1: `short_vin` needs a VIN of 17 characters, and the value has 8"
    )
    # What was stored is shown without the package.
    del world.environment["PYTHONPATH"]
    assert world.run_cold("results", "campaign.toml").code == 0
    assert world.workbook()[2]["message"] == "Your car 3A-004352 is due."


@pytest.mark.system
def test_a_lint_rule(world: World, sandbox: Sandbox, installed: Path) -> None:
    rows = [
        {**row, "Model": model} for row, model in zip(customers(3), ("CR-V", "Crv", "Civic"), strict=True)
    ]
    world.write(rows, template="Your {{ model }} is due.", campaign='[guards]\nlint = "error"\n')
    world.environment["PYTHONPATH"] = str(installed)
    refused = world.run_cold("send", "campaign.toml", "--yes")
    assert refused.code == 2
    assert "Models that are misspelled (brand_names): row 3." in refused.err
    assert "Crv" not in refused.err
    assert sandbox.requests() == []
    shown = world.run_cold("preview", "campaign.toml").out
    assert "“Crv” is written CR-V (row 3). Write it as the manufacturer does." in shown

    world.write(campaign='[guards]\nlint = "error"\nlint_ignore = ["brand_names"]\n')
    assert world.run_cold("preview", "campaign.toml").code == 0
    del world.environment["PYTHONPATH"]
    missing = world.run_cold("send", "campaign.toml", "--yes")
    assert missing.code == 2
    assert "`guards.lint_ignore`: there is no rule brand_names, and no package that adds one" in missing.err


@pytest.mark.system
def test_a_notifier(world: World, sandbox: Sandbox, installed: Path, crm: str) -> None:
    notify = '[notify]\nwhen = "always"\nnotifiers = { desk = "Service" }\n'
    world.write(customers(2), campaign=notify)
    missing = world.run_cold("send", "campaign.toml", "--yes")
    assert missing.code == 2
    assert (
        '`notify.notifiers`: No package with the notifier "desk" is installed on this computer.'
        in missing.err
    )
    assert sandbox.requests() == []

    world.environment |= {"PYTHONPATH": str(installed), "DESK_URL": crm}
    assert world.run_cold("send", "campaign.toml", "--yes").code == 0
    [ticket] = Crm.tickets
    assert (ticket["path"], ticket["queue"], ticket["urgent"]) == ("/tickets", "Service", False)
    assert str(ticket["text"]).startswith("Spring, run 1: done\n2 rows = 2 accepted by myKaarma")

    # A notice that cannot be delivered changes nothing.
    del world.environment["DESK_URL"]
    done = world.run_cold("send", "campaign.toml", "--yes")
    assert done.code == 0
    assert "The notice by desk was not delivered: " in done.out + done.err
    assert "failed: DESK_URL is not set. Set it to the address of the help desk." in done.out + done.err


TYPES = """
from batchsend import ListSource, Notifier, TextFilter
from batchsend_brand_rule import RULE
from batchsend_crm_list import customers
from batchsend_desk_notifier import open_ticket
from batchsend_vin_filter import short_vin

source: ListSource = customers
notifier: Notifier = open_ticket
text_filter: TextFilter = short_vin
"""


@pytest.mark.system
def test_the_examples_have_the_right_types(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "uses_of_examples.py").write_text(TYPES, encoding="utf-8")
    packages = re.findall(r"^from (batchsend_\w+)", TYPES, re.MULTILINE)
    names = [word for name in packages for word in ("-p", name)]
    done = subprocess.run(
        # As where batchsend is a library, mistakes in batchsend itself are not reported.
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--follow-imports=silent",
            "-m",
            "uses_of_examples",
            *names,
        ],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": os.pathsep.join(map(str, (installed, tmp_path, EXAMPLES.parent)))},
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )
    assert done.returncode == 0, done.stdout


def test_a_list_source_is_short() -> None:
    source = EXAMPLES / "crm_list" / "batchsend_crm_list" / "__init__.py"
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 40
