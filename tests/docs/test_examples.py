"""The examples for pipelines work."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

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
