"""A ledger of the first version is brought up to this one; nothing in it is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from ledgers import everything, planned, store_plan, stored
from procrastinate.schema import SchemaManager
from sqlalchemy import text, update
from world import Sandbox, World, customers

from batchsend.errors import LedgerError
from batchsend.ledger.opening import open_ledger, upgrade_ledger
from batchsend.ledger.schema import SCHEMA_VERSION, handovers, leases, meta, paces
from batchsend.sending.cluster.queue import has_queue, queue_is_ready, upgrade_queue

NEW_TABLES = (paces, handovers, leases)


def make_first_version(url: str) -> int:
    """A ledger as version 1 left it, with one run; returns its number."""
    ledger = open_ledger(url)
    stored_plan = store_plan(ledger, [planned(2), planned(3)])
    with ledger.write() as connection:
        for table in NEW_TABLES:
            table.drop(connection)
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value="1"))
    ledger.close()
    return stored_plan.run_id


def test_a_ledger_of_the_first_version_keeps_everything(ledger_url: str) -> None:
    run_id = make_first_version(ledger_url)
    with pytest.raises(LedgerError, match="Run `batchsend ledger upgrade`"):
        open_ledger(ledger_url)
    ledger, before = upgrade_ledger(ledger_url)
    assert before == 1
    assert stored(ledger, run_id) == {2: ("pending", "STOPPED"), 3: ("pending", "STOPPED")}
    contents = everything(ledger)
    ledger.close()
    # As good as one that was made by this version, and a second time changes nothing.
    open_ledger(ledger_url).close()
    again, before = upgrade_ledger(ledger_url)
    assert before == SCHEMA_VERSION
    assert everything(again) == contents
    again.close()


def test_a_version_that_never_was_is_left_alone(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    with ledger.write() as connection:
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value="0"))
    ledger.close()
    with pytest.raises(LedgerError, match="which no released batchsend wrote"):
        upgrade_ledger(ledger_url)


def test_the_queue_is_made_once(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    with ledger.read() as connection:
        assert not has_queue(connection)
    assert upgrade_queue(ledger).startswith("made, as of Procrastinate 3.")
    assert upgrade_queue(ledger).startswith("up to date, as of Procrastinate 3.")
    ledger.close()


def test_a_queue_of_an_older_procrastinate_gets_the_migrations_that_it_lacks(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    scripts = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    older = [script for script in scripts if script.name < "03.03"]
    assert 0 < len(older) < len(scripts)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        for script in older:
            connection.execute(script.read_bytes())
        connection.execute("INSERT INTO meta VALUES ('queue_migration', %s)", [older[-1].name])
    with ledger.read() as reading:
        assert has_queue(reading)
        assert not queue_is_ready(reading)
    assert upgrade_queue(ledger).startswith("brought up to Procrastinate 3.")
    with ledger.read() as reading:
        assert queue_is_ready(reading)
    assert upgrade_queue(ledger).startswith("up to date")
    # As good as one that was made by this version.
    with ledger.write() as connection:
        connection.execute(meta.delete().where(meta.c.name == "queue_migration"))
    assert upgrade_queue(ledger).startswith("found as made by somebody else")
    ledger.close()


def test_a_queue_of_somebody_else_is_used_if_it_is_new_enough(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    upgrade_queue(ledger)
    with ledger.write() as connection:
        connection.execute(meta.delete().where(meta.c.name == "queue_migration"))
    assert upgrade_queue(ledger).startswith("found as made by somebody else")
    with ledger.write() as connection:
        connection.execute(meta.delete().where(meta.c.name == "queue_migration"))
        connection.execute(text("DROP FUNCTION procrastinate_retry_job_v2"))
    with pytest.raises(
        LedgerError, match=re.escape("(procrastinate_retry_job_v2 missing). Nothing was changed.")
    ):
        upgrade_queue(ledger)
    ledger.close()


def test_the_command_says_what_it_did(world: World, sandbox: Sandbox, ledger_url: str) -> None:
    world.environment["BATCHSEND_LEDGER"] = ledger_url
    world.write(customers(2))
    make_first_version(ledger_url)
    refused = world.send()
    assert refused.code == 2
    assert "Run `batchsend ledger upgrade`, and then this again." in refused.err
    upgraded = world.run("ledger", "upgrade")
    assert upgraded.code == 0, upgraded.err
    assert "brought from version 1 to version 2" in upgraded.out
    assert ("Queue for workers: made" in upgraded.out) == ledger_url.startswith("postgresql")
    assert "up to date (version 2)" in world.run("ledger", "upgrade").out
    assert world.send().code == 0
    assert len(sandbox.requests()) == 2


def test_where_there_is_no_ledger_none_is_upgraded(tmp_path: Path) -> None:
    done = World(tmp_path).run("ledger", "upgrade")
    assert done.code == 2
    assert "There is no ledger in" in done.err
    assert not (tmp_path / ".batchsend").exists()
