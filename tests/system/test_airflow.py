"""The example DAG, read by a real Airflow and run with a real campaign, as a worker of Airflow would run it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from world import Sandbox, World, customers

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
#: `make test-system` installs it.
PYTHON = ROOT / "build" / "airflow" / "bin" / "python"
READ = """
import json, pathlib, sys
from airflow.dag_processing.dagbag import BundleDagBag
# A bundle, as Airflow's own processes read the DAGs folder: its modules can be imported.
bag = BundleDagBag(sys.argv[1], bundle_path=pathlib.Path(sys.argv[1]), bundle_name="dags")
assert not bag.import_errors, bag.import_errors
(dag,) = bag.dags.values()
(task,) = dag.tasks
try:
    outcome = task.python_callable()["exit"] if sys.argv[2:] else None
except Exception as error:
    outcome = type(error).__name__
print(json.dumps([dag.dag_id, dag.catchup, dag.max_active_runs, task.retries, outcome]))
"""
USUAL = ["appointment_reminders", False, 1, 2]


def read(world: World, *, run: bool) -> list[Any]:
    """The DAG's settings, and what its task returns or raises."""
    dags = world.folder / "dags"
    dags.mkdir(exist_ok=True)
    for example in (ROOT / "examples").glob("*.py"):
        text = example.read_text(encoding="utf-8")
        (dags / example.name).write_text(
            text.replace("/srv/texts/appointments.toml", str(world.folder / "campaign.toml")),
            encoding="utf-8",
        )
    home = {
        "AIRFLOW_HOME": str(world.folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [PYTHON, "-c", READ, dags, *(["run"] if run else [])],
        env={**world.env(), **home},
        cwd=world.folder,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_airflow_reads_the_dag(world: World) -> None:
    assert read(world.write(customers(1)), run=False) == [*USUAL, None]


def test_the_task_ends_as_the_manual_says(world: World, sandbox: Sandbox) -> None:
    world.write(customers(3), campaign="[guards]\nmax_texts = 5\n")
    assert read(world, run=True) == [*USUAL, 0]
    # A refused list, and a row that needs attention: Airflow does not try again.
    world.write_list(customers(12))
    assert read(world, run=True) == [*USUAL, "AirflowFailException"]
    people = customers(2, "other")
    people[1]["Customer UUID"] = "sandbox-locked-1"
    world.write_list(people)
    assert read(world, run=True) == [*USUAL, "AirflowFailException"]
    # Stopped early: Airflow tries again, and then it works.
    world.write_list(customers(3, "third"))
    world.environment["MYKAARMA_PASSWORD"] = "wrong"
    assert read(world, run=True) == [*USUAL, "StepFailedError"]
    del world.environment["MYKAARMA_PASSWORD"]
    assert read(world, run=True) == [*USUAL, 0]
    assert set(sandbox.texts().values()) == {1}
