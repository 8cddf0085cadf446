"""Every library that batchsend requires is used by a command, and a library of an extra is missed by name only."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import openpyxl
import pytest
from web_client import serving
from world import CAMPAIGN, STARTER, Sandbox, World, customers

from batchsend.exits import Exit

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "tests" / "support" / "recording"
OLD_LIST = ROOT / "tests" / "lists" / "formats" / "odd_lists" / "same_table.xls"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Its list is an old workbook, its hours leave out holidays, and its zone is this computer's.
SCHEDULED = (
    CAMPAIGN.replace('timezone = "America/Chicago"', "")
    .replace("customers.csv", "old.xls")
    .replace("Spring", "Old list")
    + """
[columns]
customer_uuid = "Customer ID"

[sending]
quiet_hours = "TCPA"
holidays = ["US"]

[schedule]
cron = "0 10 * * MON-FRI"
"""
)
#: The libraries of each extra, a command that needs them, and what the command says without them.
EXTRAS = {
    "postgres": ("psycopg", ["optouts", "list", "--ledger", "postgresql://ann@localhost/texts"]),
    "cluster": ("procrastinate psycopg_pool", ["worker", "--ledger", "postgresql://ann@localhost/texts"]),
    "parquet": ("pyarrow", ["preview", "parquet.toml"]),
    "mssql": ("pyodbc", ["preview", "mssql.toml"]),
    "mysql": ("pymysql", ["preview", "mysql.toml"]),
}


def distribution(requirement: str) -> str:
    """The name of a required package, as metadata writes it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()  # type: ignore[index]


def import_names(requirements: list[str]) -> set[str]:
    """The names under which these packages are imported."""
    wanted = {distribution(one) for one in requirements}
    found = {
        distribution(name): module
        for module, names in packages_distributions().items()
        for name in names
        if not module.startswith("_")
    }
    assert wanted <= found.keys()
    return {found[name] for name in wanted}


@pytest.fixture
def cold_world(world: World) -> Iterator[World]:
    """A user's folder whose commands are new processes."""
    token = STARTER.set(None)
    world.environment["PYTHONPATH"] = str(RECORDING)
    yield world
    STARTER.reset(token)


def write_lists(world: World) -> None:
    workbook = openpyxl.Workbook()
    rows = customers(2)
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        workbook.active.append(row)
    workbook.save(world.folder / "customers.xlsx")
    shutil.copy(OLD_LIST, world.folder / "old.xls")
    (world.folder / "scheduled.toml").write_text(SCHEDULED, encoding="utf-8")
    (world.folder / ".env").write_text("MYKAARMA_TIMEOUT=5\n", encoding="utf-8")


def use_the_console(world: World) -> None:
    """Changes a campaign file and checks the campaign."""
    with serving(world) as server:
        clicker = server.signed_in()
        page = "/campaign/here/campaign"
        form = {"department_label": "Service", **clicker.shown(f"{page}/sender")}
        assert clicker.submit(f"{page}/sender", form).status == 303
        clicker.check(page)
    assert "Service" in (world.folder / "campaign.toml").read_text(encoding="utf-8")


@pytest.mark.timeout(300)
def test_every_required_library_is_used_by_a_command(cold_world: World, sandbox: Sandbox) -> None:
    world, libraries = cold_world, import_names(PROJECT["dependencies"])
    used = world.folder / "used"
    world.environment |= {"RECORD_USE": str(used), "RECORDED": " ".join(libraries)}
    world.write(
        campaign=CAMPAIGN.replace(".csv", ".xlsx"),
        template="Hi {{ first_name }}, {{ 1000 | number }} thanks",
    )
    write_lists(world)

    assert world.ask("send", "campaign.toml", answer="2").code == Exit.DONE
    assert world.run("results", "campaign.toml", "--into-list").code == Exit.DONE
    assert world.run("preview", "scheduled.toml").code == Exit.ATTENTION
    use_the_console(world)
    world.environment["HIDDEN"] = "rustpy_xlsxwriter"
    assert world.run("optouts", "export", "optouts.xlsx").code == Exit.DONE

    unused = libraries - set(used.read_text(encoding="utf-8").split())
    assert not unused, (
        f"no command of this test uses {', '.join(sorted(unused))}: "
        "add one, or remove the library from pyproject.toml"
    )


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(cold_world: World, extra: str) -> None:
    hidden, command = EXTRAS[extra]
    cold_world.environment["HIDDEN"] = hidden
    cold_world.write(customers(2))
    (cold_world.folder / "list.sql").write_text("SELECT 1 AS id", encoding="utf-8")
    (cold_world.folder / "list.parquet").write_bytes(b"PAR1 PAR1")
    for name in ("parquet", "mssql", "mysql"):
        ending = "parquet" if name == "parquet" else "sql"
        (cold_world.folder / f"{name}.toml").write_text(
            CAMPAIGN.replace("customers.csv", f"list.{ending}"), encoding="utf-8"
        )
    cold_world.environment["BATCHSEND_LIST_DATABASE"] = f"{extra}://ann@localhost/texts"

    assert cold_world.run("--help").code == Exit.DONE
    assert cold_world.run("preview", "campaign.toml").code == Exit.DONE
    missed = cold_world.run(*command)

    assert missed.code == Exit.REFUSED
    said = " ".join(missed.err.split())
    assert (
        f'`pipx runpip batchsend install "batchsend[{extra}]"`, or `pip install "batchsend[{extra}]"`' in said
    )


def test_the_extras_of_this_test_are_those_of_the_package() -> None:
    for_developers = {"dev", "bench", "docs", "release", "system"}
    assert EXTRAS.keys() == PROJECT["optional-dependencies"].keys() - for_developers
