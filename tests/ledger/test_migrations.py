"""Ledgers of earlier versions are upgraded to this one, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ledgers import BASE_URL, identity, planned, send_all, slow_on_postgresql, store_plan, stored
from phonenumbers import parse
from phonenumbers.timezone import time_zones_for_number
from procrastinate.schema import SchemaManager
from sqlalchemy import create_engine, inspect, select, text, update
from world import Sandbox, World, customers

from batchsend.errors import BusyError, LedgerError
from batchsend.ledger.cluster_schema import COUNTED, leases
from batchsend.ledger.history import History
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger, upgrade_ledger
from batchsend.ledger.schema import SCHEMA_VERSION, messages, meta, metadata, superseded
from batchsend.sending.cluster.worker import SCHEMA, create_queue
from batchsend.sending.locks import all_campaigns_locked, campaign_lock

SCHEMAS = Path(__file__).with_name("schemas")
#: What SQLite and PostgreSQL call differently.
POSTGRESQL_TYPES = {" id INTEGER": " id SERIAL", "DOUBLE": "DOUBLE PRECISION", "BLOB": "BYTEA"}
#: Columns that versions 3 and 6 dropped.
DROPPED = {
    "campaigns": {"created_at"},
    "runs": {"owner", "lease_until"},
    "messages": {"lease_until"},
    "superseded": {"lease_until"},
    "planned_starts": {"host", "process"},
}

#: Columns that version 8 added.
ADDED_TO_RUNS = ("stop_requested_by", "given_up_at", "given_up_by", "waits_until", "waits_because")

#: Takes from a ledger what versions 5 to 9 changed; version 6 makes the leases anew.
BACK_TO_VERSION_4 = (
    "DROP TABLE lookups",
    "DROP TABLE replies",
    "ALTER TABLE messages DROP COLUMN looked_for_at",
    "ALTER TABLE superseded DROP COLUMN looked_for_at",
    "DROP TABLE dismissed_rows",
    "DROP TABLE dismissals",
    *(f"ALTER TABLE runs DROP COLUMN {name}" for name in ADDED_TO_RUNS),
    "DROP TABLE approvals",
    "ALTER TABLE starts DROP COLUMN approval_id",
    "ALTER TABLE planned_starts ADD COLUMN host TEXT NOT NULL DEFAULT 'front-desk'",
    "ALTER TABLE planned_starts ADD COLUMN process INTEGER NOT NULL DEFAULT 4711",
    *(f"ALTER TABLE handovers DROP COLUMN {name}" for name in COUNTED),
    "ALTER TABLE messages DROP COLUMN phone_hash",
    "ALTER TABLE superseded DROP COLUMN phone_hash",
)

Contents = dict[str, list[dict[str, Any]]]


def write_version(url: str, version: int) -> None:
    """Writes a ledger with the literal SQL of an earlier version."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for script in range(1, version + 1):
            sql = (SCHEMAS / f"version_{script}.sql").read_text(encoding="utf-8")
            if engine.dialect.name == "postgresql":
                for name, other in POSTGRESQL_TYPES.items():
                    sql = sql.replace(name, other)
            for statement in sql.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
    engine.dispose()


def contents(url: str) -> Contents:
    """Every row of every table in the database."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            table: [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}").mappings()]
            for table in inspect(connection).get_table_names()
        }
    engine.dispose()
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


def upgraded_contents(before: Contents) -> Contents:
    """What an upgrade makes of them: columns of `DROPPED` go, and leases and new tables are empty."""
    after = {
        table: sorted(
            ({name: row[name] for name in row if name not in DROPPED.get(table, ())} for row in rows),
            key=repr,
        )
        for table, rows in before.items()
    }
    for row in after["campaigns"]:
        row["key_region"] = "US"
    for row in (*after["messages"], *after["superseded"]):
        row["phone_hash"] = row["looked_for_at"] = None
    for row in after["meta"]:
        if row["name"] == "schema_version":
            row["value"] = str(SCHEMA_VERSION)
    for row in after.get("handovers", []):
        row.update(dict.fromkeys(COUNTED, 0))
    for row in after["starts"]:
        row["approval_id"] = None
    for row in after["runs"]:
        row.update(dict.fromkeys(ADDED_TO_RUNS))
    added = ("handovers", "paces", "approvals", "dismissals", "dismissed_rows", "lookups", "replies")
    return {name: [] for name in added} | after | {"leases": []}


def shape(ledger: Ledger) -> dict[str, Any]:
    """Columns, keys and indexes of all tables as the database has them."""
    with ledger.read() as connection:
        found = inspect(connection)
        return {
            table: (
                # Every statement names its columns, so their order does not count.
                sorted(
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in found.get_columns(table)
                ),
                found.get_pk_constraint(table)["constrained_columns"],
                sorted((str(index["name"]), index["unique"]) for index in found.get_indexes(table)),
            )
            for table in found.get_table_names()
        }


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_ledger_of_an_earlier_version_keeps_everything(ledger_url: str, version: int) -> None:
    write_version(ledger_url, version)
    before = contents(ledger_url)
    assert {len(before["messages"]), len(before["superseded"])} == {6, 1}
    for refusing in (open_ledger, open_for_reading):
        with pytest.raises(LedgerError, match="Run `batchsend ledger upgrade`"):
            refusing(ledger_url)
    assert contents(ledger_url) == before

    ledger, found = upgrade_ledger(ledger_url)
    assert found == version
    ledger.close()
    after = contents(ledger_url)
    assert after == upgraded_contents(before)
    # A second upgrade changes nothing.
    ledger, found = upgrade_ledger(ledger_url)
    assert found == SCHEMA_VERSION
    ledger.close()
    assert contents(ledger_url) == after


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7, 8])
def test_an_upgraded_ledger_has_the_tables_of_a_new_one(ledger_url: str, version: int) -> None:
    new = open_ledger(ledger_url)
    expected = shape(new)
    with new.write() as connection:
        metadata.drop_all(connection)
    new.close()
    write_version(ledger_url, version)
    ledger, _ = upgrade_ledger(ledger_url)
    assert shape(ledger) == expected
    ledger.close()


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_run_of_an_earlier_version_continues(ledger_url: str, version: int) -> None:
    write_version(ledger_url, version)
    ledger, _ = upgrade_ledger(ledger_url)
    campaign = ledger.campaign("Winter tires", BASE_URL)
    assert campaign is not None
    known = History(ledger, campaign, None, BASE_URL).earlier(["alpha", "beta", "gamma", "delta"])
    assert {key: [(one.run_id, one.status) for one in outcomes] for key, outcomes in known.items()} == {
        "alpha": [(1, "delivered")],
        "beta": [(1, "accepted")],
        "delta": [(2, "in_flight")],
    }
    assert ledger.interrupt_claims("Winter tires", BASE_URL) == 1
    assert stored(ledger, 2) == {
        2: ("skipped", "ALREADY_SENT"),
        3: ("unconfirmed", "INTERRUPTED"),
        4: ("pending", "STOPPED"),
    }
    again = store_plan(
        ledger, [planned(4, key="epsilon")], run_id=2, who=identity("Winter tires"), campaign_id=campaign.id
    )
    send_all(ledger, again)
    assert stored(ledger, 2)[4] == ("accepted", "")
    assert stored(ledger, store_plan(ledger, [planned(2)]).run_id) == {2: ("pending", "STOPPED")}
    ledger.close()


#: The columns of a row that the database does not fill in.
_ROW = 'run_id, "row", campaign_id, "key", cells, status, codes, descriptions, attempts, generation'


def _write_keys(url: str, *rows: tuple[str, str | None]) -> None:
    """Writes a ledger of version 3 with a campaign whose key is a customer and a date. `rows`: status and key."""
    write_version(url, 3)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO campaigns (name, base_url, key_columns, file, host) VALUES "
            f"""('Reminders', '{BASE_URL}', '["customer_uuid", "appointmentdate"]', 'gone.toml', 'gone')"""
        )
        insert = text(f"INSERT INTO messages ({_ROW}) VALUES (2, :row, 2, :key, '[]', :status, '', '', 1, 1)")
        for row, (status, key) in enumerate(rows, start=100):
            connection.execute(insert, {"row": row, "key": key, "status": status})
        connection.execute(
            text(
                f"INSERT INTO superseded ({_ROW}, superseded_at) "
                "SELECT run_id, \"row\", campaign_id, \"key\", cells, 'failed', '', '', 1, 0, '2026' FROM messages "
                "WHERE campaign_id = 2"
            )
        )
    engine.dispose()


def test_toll_free_numbers_are_not_in_all_time_zones_any_more(ledger_url: str) -> None:
    write_version(ledger_url, 4)
    everywhere = "|".join(time_zones_for_number(parse("+18005550142")))
    clocks = {2: everywhere, 3: "America/Adak|America/Anchorage", 4: "America/Chicago"}
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        for row, clock in clocks.items():
            connection.execute(
                text("UPDATE messages SET clock = :clock WHERE row = :row"), {"row": row, "clock": clock}
            )
    engine.dispose()
    ledger, _ = upgrade_ledger(ledger_url)
    with ledger.read() as connection:
        found = {row.row: row.clock for row in connection.execute(select(messages.c.row, messages.c.clock))}
    ledger.close()
    assert {row: found[row] for row in clocks} == {**clocks, 2: None}


def test_keys_of_an_earlier_version_are_found_by_their_values(ledger_url: str) -> None:
    _write_keys(
        ledger_url,
        ("accepted", '["c-1", "03/05/2026"]'),
        # Earlier versions texted both spellings.
        ("accepted", '["c-1", "3/5/2026"]'),
        ("accepted", '["C-1", "2026-03-05"]'),
        ("unconfirmed", '["c-2", "Mar 5, 2026"]'),
        ("invalid", None),
        ("accepted", "no list"),
        ("accepted", '["one value"]'),
    )
    ledger, _ = upgrade_ledger(ledger_url)
    expected = [
        '["c-1", "2026-03-05"]',
        '["c-1", "2026-03-05"]',
        '["C-1", "2026-03-05"]',
        '["c-2", "2026-03-05"]',
        None,
        "no list",
        '["one value"]',
    ]
    with ledger.read() as connection:
        for table in (messages, superseded):
            keys = connection.scalars(
                select(table.c.key).where(table.c.campaign_id == 2).order_by(table.c.row)
            ).all()
            assert keys == expected
    campaign = ledger.campaign("Reminders", BASE_URL)
    assert campaign is not None
    assert campaign.key_region == "US"
    found = History(ledger, campaign, None, BASE_URL).earlier(['["c-1", "2026-03-05"]'])
    assert [outcome.status for outcome in found['["c-1", "2026-03-05"]']] == ["accepted", "accepted"]
    ledger.close()


def back_to_version_3(world: World, *changes: str) -> None:
    with closing(sqlite3.connect(world.folder / ".batchsend" / "ledger.db")) as ledger, ledger:
        for change in changes:
            assert ledger.execute(change).rowcount > 0
        ledger.execute("UPDATE meta SET value = '3' WHERE name = 'schema_version'")
        for statement in (*BACK_TO_VERSION_4, "ALTER TABLE campaigns DROP COLUMN key_region"):
            ledger.execute(statement)


@pytest.mark.parametrize("sent", [2, 3])
def test_an_old_run_with_two_spellings_of_a_key_continues_without_a_second_text(
    world: World, sandbox: Sandbox, sent: int
) -> None:
    rows = [
        {"Customer ID": "c-1", "First Name": "Ann", "Due": due}
        for due in ("03/05/2026", "3/5/2026", "3/6/2026")
    ]
    world.write(rows, campaign='[recipients]\nkey = ["Customer ID", "Due"]')
    assert world.send("--limit", "1").code == 0
    # An earlier version has sent one spelling, and the other one waits.
    waiting = (
        "SET status = 'pending', codes = 'HELD_BACK', start_id = NULL, sent_at = NULL, message_uuid = NULL"
    )
    tried = "(SELECT status, codes, start_id, sent_at, message_uuid FROM messages WHERE row = 2)"
    back_to_version_3(
        world,
        """UPDATE messages SET key = '["c-1", "03/05/2026"]' WHERE row = 2""",
        """UPDATE messages SET key = '["c-1", "3/5/2026"]' WHERE row = 3""",
        f"UPDATE messages SET (status, codes, start_id, sent_at, message_uuid) = {tried} WHERE row = 3",
        f"UPDATE messages {waiting} WHERE row = {5 - sent}",
    )
    assert world.run("ledger", "upgrade").code == 0
    done = world.send()
    assert "3 rows = 2 accepted by myKaarma + 1 skipped" in done.out
    assert world.workbook()[5 - sent]["errorCodes"] == "DUPLICATE"
    assert len(sandbox.requests()) == 2


@pytest.mark.parametrize(
    ("region", "day", "moved"),
    [("US", "2026-03-05", False), ("GB", "2026-05-03", False), ("GB", "2026-05-03", True)],
)
def test_dates_in_old_keys_are_read_as_the_campaign_reads_them(
    world: World, sandbox: Sandbox, region: str, day: str, moved: bool
) -> None:
    key = f'[recipients]\nkey = ["Customer ID", "Due"]\ndefault_region = "{region}"'
    world.write([{"Customer ID": "c-1", "First Name": "Ann", "Due": "03/05/2026"}], campaign=key)
    assert world.send().code == 0
    back_to_version_3(world, """UPDATE messages SET key = '["c-1", "03/05/2026"]'""")
    if moved:
        world.folder = world.folder.rename(world.folder.with_name("another place"))
    assert world.run("ledger", "upgrade").code == 0
    world.write_list([{"Customer ID": "c-1", "First Name": "Ann", "Due": day}])
    done = world.send()
    assert done.code == 0
    assert "1 row = 0 accepted by myKaarma + 1 skipped" in done.out
    assert len(sandbox.requests()) == 1


@slow_on_postgresql
def test_an_upgrade_is_refused_while_a_campaign_is_sent(ledger_url: str) -> None:
    """Its process could store keys of the old form after the upgrade."""
    ledger = open_ledger(ledger_url)
    store_plan(ledger, [planned(2)])
    with ledger.write() as connection:
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value="3"))
        for statement in (*BACK_TO_VERSION_4, "ALTER TABLE campaigns DROP COLUMN key_region"):
            connection.execute(text(statement))
    before = contents(ledger_url)
    with campaign_lock(ledger, "Spring", BASE_URL), pytest.raises(BusyError, match="Nothing was changed"):
        upgrade_ledger(ledger_url, all_campaigns_locked)
    with ledger.write() as connection:
        # The process that had the lock cannot give it up in tables of an earlier version.
        connection.execute(leases.delete())
    assert contents(ledger_url) == before
    upgraded, found = upgrade_ledger(ledger_url, all_campaigns_locked)
    assert found == 3
    upgraded.close()
    ledger.close()


def test_many_campaigns_are_upgraded_over_few_connections(postgres_url: str) -> None:
    write_version(postgres_url, 5)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO campaigns (name, base_url, key_columns, file, host, key_region) SELECT "
            f"'Campaign ' || n, '{BASE_URL}', '[]', 'c.toml', 'h', 'US' FROM generate_series(1, 40) n"
        )
    engine.dispose()
    ledger, found = upgrade_ledger(f"{postgres_url}?connections=8", all_campaigns_locked)
    assert found == 5
    ledger.close()


@pytest.mark.parametrize("version", [2, 5])
def test_an_upgrade_is_refused_while_a_worker_runs(postgres_url: str, version: int) -> None:
    """It does not know the new tables."""
    write_version(postgres_url, version)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        # It waits for runs.
        connection.exec_driver_sql(
            "INSERT INTO leases (owner, base_url, holder, worker, lease_until) VALUES "
            f"('w1', '{BASE_URL}', 'w1', true, extract(epoch FROM clock_timestamp()) + 10)"
        )
    before = contents(postgres_url)
    with pytest.raises(BusyError, match=r"\(w1\)\. Nothing was changed\."):
        upgrade_ledger(postgres_url)
    assert contents(postgres_url) == before
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET lease_until = lease_until - 20")
    engine.dispose()
    ledger, found = upgrade_ledger(postgres_url)
    assert found == version
    ledger.close()


def test_an_upgrade_that_fails_changes_nothing(ledger_url: str) -> None:
    write_version(ledger_url, 1)
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE superseded DROP COLUMN lease_until")
    engine.dispose()
    before = contents(ledger_url)
    with pytest.raises(LedgerError, match="the ledger cannot be used"):
        upgrade_ledger(ledger_url)
    assert contents(ledger_url) == before


def test_an_unknown_version_is_not_changed(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    with ledger.write() as connection:
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value="0"))
    ledger.close()
    with pytest.raises(LedgerError, match="which no released batchsend wrote"):
        upgrade_ledger(ledger_url)


def test_the_queue_is_made_once_and_the_tables_of_other_programs_are_left_alone(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        oldest = min(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
        connection.execute(oldest.read_bytes())
    tables = text(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'procrastinate_jobs'"
    )
    with ledger.read() as reading:
        assert reading.scalars(tables).all() == ["public"]
    assert create_queue(ledger)
    assert not create_queue(ledger)
    with ledger.read() as reading:
        assert sorted(reading.scalars(tables)) == [SCHEMA, "public"]
    ledger.close()


def test_the_command_says_what_it_did(world: World, sandbox: Sandbox, ledger_url: str) -> None:
    world.environment["BATCHSEND_LEDGER"] = ledger_url
    world.write(customers(2))
    write_version(ledger_url, 1)
    refused = world.send()
    assert refused.code == 2
    assert "Run `batchsend ledger upgrade`, and then this again." in refused.err
    upgraded = world.run("ledger", "upgrade")
    assert upgraded.code == 0, upgraded.err
    assert f"upgraded from version 1 to version {SCHEMA_VERSION}" in upgraded.out
    assert ("Queue for workers: created" in upgraded.out) == ledger_url.startswith("postgresql")
    assert f"up to date (version {SCHEMA_VERSION})" in world.run("ledger", "upgrade").out
    assert world.send().code == 0
    assert len(sandbox.requests()) == 2


def test_without_a_ledger_nothing_is_upgraded(tmp_path: Path) -> None:
    done = World(tmp_path).run("ledger", "upgrade")
    assert done.code == 2
    assert "There is no ledger in" in done.err
    assert not (tmp_path / ".batchsend").exists()
