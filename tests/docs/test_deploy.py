"""The files in deploy/: their commands exist, and the manual names each of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from batchsend.cli.main import cli

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
TASK = ROOT / "deploy" / "windows" / "appointments.xml"
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
#: What the schema of the Task Scheduler allows in these elements.
SCHEMA = {
    "Task": {"RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"},
    "CalendarTrigger": {"StartBoundary", "Enabled", "ScheduleByWeek"},
    "ScheduleByWeek": {"DaysOfWeek", "WeeksInterval"},
    "Principal": {"UserId", "LogonType", "RunLevel"},
    "Settings": {
        "AllowHardTerminate",
        "AllowStartOnDemand",
        "DisallowStartIfOnBatteries",
        "Enabled",
        "ExecutionTimeLimit",
        "Hidden",
        "IdleSettings",
        "MultipleInstancesPolicy",
        "Priority",
        "RestartOnFailure",
        "RunOnlyIfIdle",
        "RunOnlyIfNetworkAvailable",
        "StartWhenAvailable",
        "StopIfGoingOnBatteries",
        "WakeToRun",
    },
    "Exec": {"Command", "Arguments", "WorkingDirectory"},
}


def setting(unit: Path, name: str) -> list[str]:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_exists_as_a_user_without_rights(unit: Path) -> None:
    (line,) = setting(unit, "ExecStart")
    program, name, *words = shlex.split(line)
    assert program == "/opt/batchsend/bin/batchsend"
    command = cli.commands[name]
    if isinstance(command, click.Group):
        command = command.commands[words[0]]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert (setting(unit, "User"), setting(unit, "WorkingDirectory")) == (["texts"], ["/srv/texts"])


def test_no_setting_is_in_a_unit() -> None:
    # A command that is started by hand would not see it, and use another ledger.
    for unit in UNITS:
        assert setting(unit, "Environment") == setting(unit, "EnvironmentFile") == []


def test_the_manual_names_each_file() -> None:
    manual = "".join(
        (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("server", "scheduling")
    )
    files = {file for file in (ROOT / "deploy").rglob("*") if file.is_file()}
    started = {file.with_suffix(".service") for file in files if file.suffix == ".timer"}
    unnamed = {file.name for file in files - started if file.name not in manual}
    assert unnamed == set()


def test_the_task_is_as_the_task_scheduler_knows_it() -> None:
    content = TASK.read_bytes()
    assert content.isascii()
    # `schtasks` refuses a declared encoding that the file does not have.
    assert content.startswith(b'<?xml version="1.0"?>')
    task = ElementTree.fromstring(content)
    for element in task.iter():
        name = element.tag.removeprefix(NAMESPACE)
        children = [child.tag.removeprefix(NAMESPACE) for child in element]
        assert len(children) == len(set(children)), name
        assert set(children) <= SCHEMA.get(name, set(children)), name
    settings = {
        child.tag.removeprefix(NAMESPACE): child.text for child in task.iterfind(f"{NAMESPACE}Settings/*")
    }
    wanted = {"DisallowStartIfOnBatteries", "StopIfGoingOnBatteries"}
    assert {settings[name] for name in wanted} == {"false"}
    assert (settings["ExecutionTimeLimit"], settings["MultipleInstancesPolicy"]) == ("PT0S", "IgnoreNew")
    assert [element.text for element in task.iter(f"{NAMESPACE}LogonType")] == ["Password"]
    command = next(task.iter(f"{NAMESPACE}Command")).text
    assert f"`{command}`" in (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
