"""After a purge, the same rows are decided as before it: what guards against a second text is still recognized."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import came_to, identity, outbox, planned, send_all, start_record, store_plan
from sqlalchemy import select, update
from world import Sandbox, World

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.ledger.attempts import of_phone
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import SCRATCH_RUN, open_ledger
from batchsend.ledger.optouts import (
    EVERYWHERE,
    Person,
    add_opted_out,
    load_opt_outs,
    opt_outs,
    opt_outs_of,
    remove_opt_outs,
)
from batchsend.ledger.purge import purge
from batchsend.ledger.runs import run_rows
from batchsend.ledger.schema import messages, meta, runs, starts, superseded
from batchsend.planning.plan import PlanRequest, make_plan
from batchsend.reports.list_file import write_opt_outs
from batchsend.statuses import Status
from batchsend.utils.timestamps import to_text

#: How many stories are played; more of them find more, and take longer.
STORIES = int(os.environ.get("BATCHSEND_STORIES", "5"))
BASE_URL = "https://api.example.com"
OUT = "OPTED_OUT_COMMUNICATION_VALUE"
CAMPAIGN = """
name = "{name}"
list = "list.csv"
template = "message.txt.j2"
department_uuid = "department"
user_uuid = "user"
timezone = "America/Chicago"

[recipients]
{recipients}

[sending]
{sending}
"""

#: A customer and the last digit of the phone; no digit: no phone.
Rows = Sequence[tuple[int, int | None]]
lists = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, 1, 1, 2, 3])), min_size=1, max_size=6)
answers = st.sampled_from(
    [
        (Status.ACCEPTED, ""),
        (Status.ACCEPTED, ""),
        (Status.UNCONFIRMED, "TIMEOUT"),
        (Status.FAILED, "CUSTOMER_LOCKED"),
        (Status.FAILED, OUT),
    ]
)
#: Which list, `--resend`, how many texts are sent at most, and their answers.
starts_made = st.tuples(
    st.integers(0, 1),
    st.sampled_from([None, None, "failed", "unconfirmed"]),
    st.integers(0, 6),
    st.lists(answers, min_size=6, max_size=6),
)


class Story:
    """One campaign with two lists, in a ledger that other stories share."""

    def __init__(self, folder: Path, ledger: Ledger, recipients: str, sending: str) -> None:
        self._folder, self._ledger = folder, ledger
        self._name = uuid4().hex
        (folder / "message.txt.j2").write_text("Hello", encoding="utf-8")
        self._write(f"{self._name}.csv", [])
        text = CAMPAIGN.format(name=self._name, recipients=recipients, sending=sending)
        (folder / "campaign.toml").write_text(text, encoding="utf-8")
        self.campaign: Campaign = load_campaign(folder / "campaign.toml")

    def _write(self, name: str, rows: Rows) -> None:
        with (self._folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Customer UUID", "Phone"])
            for customer, digit in rows:
                # Customers of other stories share the ledger and its caps.
                phone = f"+1312555014{digit}" if digit is not None else ""
                writer.writerow([f"{self._name}-{customer}", phone])

    def request(self, rows: Rows, resend: str | None) -> PlanRequest:
        self._write("list.csv", rows)
        return PlanRequest(self.campaign, BASE_URL, "here", datetime.now(UTC), resend=resend)

    def start(self, rows: Rows, resend: str | None, most: int, answers: Sequence[tuple[Status, str]]) -> None:
        ledger = self._ledger
        with make_plan(self.request(rows, resend), ledger) as plan:
            stored = ledger.store_plan(
                plan.scratch,
                plan.identity,
                plan.known.id if plan.known else None,
                plan.run.id if plan.run else None,
                plan.new_run(),
                start_record(resend=resend),
            )
        mine = outbox(ledger, stored)
        # A purge gives up rows that `--resend` chose and that were not sent.
        claimed = mine.exchange([], most if resend is None else 1000)
        sent_at = (datetime.now(UTC) - timedelta(days=len(claimed))).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        mine.exchange(
            [came_to(row, *answer, sent_at=sent_at) for row, answer in zip(claimed, answers, strict=False)], 0
        )
        ledger.end_start(stored.start_id, 0, "done")

    def decisions(self, rows: Rows, resend: str | None) -> list[tuple[Any, ...]]:
        names = ("row", "status", "codes", "generation", "resend")
        with make_plan(self.request(rows, resend), self._ledger) as plan:
            return [tuple(row.values()) for row in run_rows(plan.scratch, SCRATCH_RUN, columns=names)]


@settings(deadline=None, max_examples=STORIES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pair=st.tuples(lists, lists),
    made=st.lists(starts_made, min_size=1, max_size=4),
    recipients=st.sampled_from(
        ["", "repeat_after_days = 3", "max_messages = 1\nmax_messages_days = 5", 'duplicate_phones = "allow"']
    ),
    sending=st.sampled_from(["", "per_day = 2"]),
)
@pytest.mark.system
def test_a_plan_after_a_purge_decides_as_before_it(
    ledger: Ledger, pair: tuple[Rows, Rows], made: list[Any], recipients: str, sending: str
) -> None:
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), ledger, recipients, sending)
        for which, resend, most, outcomes in made:
            story.start(pair[which], resend, most, outcomes)

        def decisions() -> list[Any]:
            return [
                story.decisions(rows, resend) for rows in pair for resend in (None, "unconfirmed", "failed")
            ]

        before = decisions()
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        purge(ledger, tomorrow, tomorrow)
        with ledger.read() as connection:
            for table in (messages, superseded):
                assert set(connection.scalars(select(table.c.phone))) <= {None}
        assert decisions() == before


def an_old_text(ledger: Ledger) -> int:
    stored = store_plan(ledger, [planned(2, phone="+13125550142"), planned(3, phone="+13125550143")])
    send_all(ledger, stored, came_to(2), came_to(3, Status.UNCONFIRMED, "TIMEOUT"))
    purge(ledger, datetime.now(UTC) + timedelta(days=1), datetime.now(UTC))
    return stored.run_id


def test_history_finds_a_purged_phone(ledger: Ledger) -> None:
    an_old_text(ledger)
    assert [(one.customer_uuid, one.phone) for one in of_phone(ledger, "+13125550142")] == [
        ("customer-2", None)
    ]
    assert of_phone(ledger, "+13125550199") == []


def test_an_opt_out_that_becomes_known_after_the_purge_guards_the_phone(
    ledger: Ledger, tmp_path: Path
) -> None:
    run_id = an_old_text(ledger)
    with ledger.write() as connection:
        add_opted_out(connection, run_id, [2], datetime.now(UTC))
    found = load_opt_outs(ledger, identity().base_url, ZoneInfo("America/Chicago"))
    assert found.why("customer-2", None) is not None
    assert found.why("somebody-else", "+13125550142") is not None
    assert found.why("somebody-else", "+13125550143") is None
    assert len(list(opt_outs_of(ledger, customer_uuid=None, phone="+13125550142"))) == 1
    written = write_opt_outs(tmp_path / "out.csv", list(opt_outs(ledger)))
    assert "customer-2,," in written.read_text(encoding="utf-8-sig")
    removed = remove_opt_outs(
        ledger,
        customer_uuid=None,
        phone="+13125550142",
        because="",
        person=Person("ann", "here"),
        moment=datetime.now(UTC),
    )
    assert [(one.customer_uuid, one.base_url) for one in removed] == [("customer-2", EVERYWHERE)]


def test_an_update_after_the_purge_is_purged_in_its_turn(ledger: Ledger) -> None:
    """myKaarma's descriptions can name the phone."""
    run_id = an_old_text(ledger)
    purged_at = datetime.now(UTC)
    late = {"delivery_at": to_text(purged_at + timedelta(days=1)), "descriptions": "+13125550142 opted out"}
    with ledger.write() as connection:
        connection.execute(update(messages).where(messages.c.row == 2).values(late))
        guards = connection.scalar(select(messages.c.phone_hash).where(messages.c.row == 2))
    assert purge(ledger, purged_at, purged_at + timedelta(days=2)) == 0
    assert purge(ledger, purged_at + timedelta(days=3), purged_at + timedelta(days=3)) == 1
    assert purge(ledger, purged_at + timedelta(days=3), purged_at + timedelta(days=3)) == 0
    with ledger.read() as connection:
        query = select(messages.c.descriptions, messages.c.phone_hash)
        found = connection.execute(query.where(messages.c.run_id == run_id, messages.c.row == 2)).one()
    assert tuple(found) == ("", guards)
    assert guards is not None


@contextmanager
def ledger_of(world: World) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{world.folder / '.batchsend' / 'ledger.db'}")
    yield ledger
    ledger.close()


def sent_long_ago(world: World) -> None:
    """Sends two rows with one phone, and moves what the ledger has of it to the year 2020."""
    rows = [{"Customer UUID": f"c-{n}", "First Name": "Ann", "Phone": "(312) 555-0142"} for n in (1, 2)]
    world.write(rows)
    assert world.send().code == 0
    moment = "2020-03-02T10:00:00.000Z"
    with ledger_of(world) as ledger, ledger.write() as connection:
        connection.execute(update(messages).where(messages.c.sent_at.is_not(None)).values(sent_at=moment))
        connection.execute(update(runs).values(created_at=moment))
        connection.execute(update(starts).values(started_at=moment, ended_at=moment))


def test_each_ledger_has_its_own_key(tmp_path: Path) -> None:
    hashes = set()
    for name in ("one", "two"):
        ledger = open_ledger(f"sqlite:///{tmp_path / name}.db")
        an_old_text(ledger)
        with ledger.read() as connection:
            hashes.update(connection.scalars(select(messages.c.phone_hash)))
        ledger.close()
    assert len(hashes) == 4


def test_a_row_left_out_as_duplicate_phone_stays_out_after_a_purge(world: World, sandbox: Sandbox) -> None:
    sent_long_ago(world)
    assert world.run("purge", "--older-than", "1y", "--yes").code == 0
    again = world.send()
    assert again.code == 0
    assert len(sandbox.requests()) == 1
    assert world.workbook()[3]["errorCodes"] == "DUPLICATE_PHONE"
    shown = world.run("history", "--phone", "312-555-0142")
    assert "c-1, a number that was purged" in shown.out


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("at", ["_purged_values", "_reclaim"])
def test_a_purge_that_is_killed_is_done_whole_or_not_at_all(world: World, sandbox: Sandbox, at: str) -> None:
    sent_long_ago(world)
    script = (
        "import os, signal\n"
        "from batchsend.ledger import purge\n"
        "from batchsend.cli.main import cli\n"
        f"purge.{at} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "cli.main(['purge', '--older-than', '1y', '--yes'])"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=world.folder, env=world.env(), check=False)
    assert killed.returncode == -signal.SIGKILL
    with ledger_of(world) as ledger, ledger.read() as connection:
        first = connection.execute(select(messages).order_by(messages.c.row)).mappings().first()
        keys = connection.scalars(select(meta.c.value).where(meta.c.name == "phone_hash_key")).all()
    assert first is not None
    if at == "_purged_values":
        assert (first["phone"], first["phone_hash"], keys) == ("+13125550142", None, [])
    else:
        assert first["phone"] is None
        assert first["phone_hash"].startswith("purged:")
    assert world.run("purge", "--older-than", "1y", "--yes").code == 0
    assert world.send().code == 0
    assert len(sandbox.requests()) == 1
