"""A signal at any moment: the exit code, the words, the ledger, the results and the server's record agree."""

from __future__ import annotations

import json
import sys

import pytest
from moments import Moments, recorded, run_with_signal, untruths
from world import Sandbox, World, customers, running_world

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]

SEND = ("send", "campaign.toml", "--yes")
ROWS = 4


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Moments:
    with running_world(tmp_path_factory.mktemp("recorded")) as (world, _):
        return recorded(world.write(customers(ROWS)), *SEND)


def check_the_next_start(world: World, sandbox: Sandbox) -> None:
    """Everybody has one text in the end."""
    again = world.send()
    assert again.code in (0, 1), again
    unconfirmed = [row for row in world.workbook().values() if row["status"] == "unconfirmed"]
    assert len(sandbox.texts()) + len(unconfirmed) >= ROWS
    assert set(sandbox.texts().values()) == {1}
    assert len(world.workbook()) == ROWS


@pytest.mark.parametrize("seed", range(8))
def test_a_signal_at_any_moment_and_the_command_tells_the_truth(
    world: World, sandbox: Sandbox, moments: Moments, seed: int
) -> None:
    world.write(customers(ROWS))
    moment = moments.choose(seed)
    log = ("--log-format", "json") if seed % 2 else ()
    done = run_with_signal(world, moment, *SEND, *log)
    assert untruths(world, sandbox, done) == [], (moment, done)
    if log and done.code > 0:
        assert json.loads(done.err.splitlines()[-1])["event"] == "ended"
        assert [json.loads(line)["exit"] for line in done.out.splitlines()] == [done.code]
    check_the_next_start(world, sandbox)


@pytest.mark.parametrize("seed", range(1, 5))
def test_two_signals_end_the_command_at_once_and_it_does_not_lie(
    world: World, sandbox: Sandbox, moments: Moments, seed: int
) -> None:
    world.write(customers(ROWS))
    moment = moments.choose(seed, twice=True)
    done = run_with_signal(world, moment, *SEND)
    assert untruths(world, sandbox, done, signals=2) == [], (moment, done)
    check_the_next_start(world, sandbox)
