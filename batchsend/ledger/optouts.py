"""The ledger's own opt-outs: who is not to be texted, since when, why, and who said so.

An opt-out is a person's wish, not an address's: it holds at whichever API the next campaign goes to. Only what a
server on this machine answered holds at that address alone: that is a sandbox, which invents its answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import campaigns, messages, optouts, starts
from batchsend.utils.net import is_this_machine
from batchsend.utils.timestamps import for_people, from_text, to_text

#: The scope of what holds at whichever API.
EVERYWHERE = ""
#: Wishes stored in one statement; SQLite takes 32,766 parameters.
_AT_ONCE = 2000
_DAY = len("2026-11-22")


class OptOutSource(StrEnum):
    """How the ledger came to know."""

    ANSWER = "answer"  #: myKaarma refused a text
    ADDED = "added"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class OptOutRequest:
    """Somebody who is not to be texted: a customer UUID, a phone (E.164) or both; "" is not known."""

    customer_uuid: str
    phone: str
    reason: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who changes the list: the operating system's user, on which computer."""

    os_user: str
    host: str


@dataclass(frozen=True, slots=True)
class OptOut:
    """One entry of the list. Times are UTC text; `base_url` is "" where it holds everywhere."""

    customer_uuid: str
    phone: str
    base_url: str
    reason: str
    source: str
    os_user: str
    host: str
    added_at: str
    removed_at: str | None
    removed_by: str | None
    removed_because: str | None


@dataclass(frozen=True)
class OptOuts:
    """The entries that count at one API, for looking people up."""

    by_customer: Mapping[str, OptOut] = field(default_factory=dict)
    by_phone: Mapping[str, OptOut] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    @property
    def names_anybody(self) -> bool:
        """Is there anybody to leave out at all?"""
        return bool(self.by_customer or self.by_phone)

    def why(self, customer_uuid: str, phone: str | None) -> str | None:
        """Why this customer or this phone is left out, and since when; `None` where neither is."""
        entry = self.by_customer.get(customer_uuid)
        if entry is not None:
            return _because(entry, "this customer", self.zone)
        entry = self.by_phone.get(phone) if phone is not None else None
        return _because(entry, "this phone", self.zone) if entry is not None else None


def _because(entry: OptOut, who: str, zone: ZoneInfo) -> str:
    day = for_people(from_text(entry.added_at), zone)[:_DAY]
    if entry.source == OptOutSource.ANSWER:
        return f"myKaarma said on {day} that {who} opted out ({entry.reason})"
    return f"{who} is on the ledger's opt-outs since {day}: {entry.reason}"


def scope_of_answer(base_url: str) -> str:
    """Where an opt-out holds that the API at `base_url` told us of."""
    return base_url if is_this_machine(urlsplit(base_url).hostname or "") else EVERYWHERE


def load_opt_outs(ledger: Ledger, base_url: str, zone: ZoneInfo) -> OptOuts:
    """Everybody who is not to be texted at this API; of several entries for somebody the oldest."""
    by_customer: dict[str, OptOut] = {}
    by_phone: dict[str, OptOut] = {}
    for entry in _entries(ledger, and_(_still_out, optouts.c.base_url.in_((EVERYWHERE, base_url)))):
        if entry.customer_uuid:
            by_customer.setdefault(entry.customer_uuid, entry)
        if entry.phone:
            by_phone.setdefault(entry.phone, entry)
    return OptOuts(by_customer, by_phone, zone)


def opt_outs(ledger: Ledger) -> Iterator[OptOut]:
    """Who is out now, the oldest first."""
    return _entries(ledger, _still_out)


def opt_outs_ever(ledger: Ledger) -> Iterator[OptOut]:
    """Who is or was out, the oldest first."""
    return _entries(ledger, optouts.c.id.is_not(None))


def add_opt_outs(
    ledger: Ledger, wishes: Iterable[OptOutRequest], source: OptOutSource, person: Person, moment: datetime
) -> int:
    """Puts people on the list, all or none; whoever is on it already stays as they are. Returns how many are new."""
    added = 0
    remaining = iter(wishes)
    with ledger.write() as connection:
        while some := list(islice(remaining, _AT_ONCE)):
            added += _add(connection, some, EVERYWHERE, source, person, moment)
    return added


def remove_opt_outs(
    ledger: Ledger,
    *,
    customer_uuid: str | None,
    phone: str | None,
    because: str,
    person: Person,
    moment: datetime,
) -> list[OptOut]:
    """Ends every entry that names this customer or this phone, and returns what was ended."""
    named = or_(optouts.c.customer_uuid == customer_uuid, optouts.c.phone == phone)
    ended = {
        "removed_at": to_text(moment),
        "removed_by": f"{person.os_user} on {person.host}",
        "removed_because": because,
    }
    statement = update(optouts).where(_still_out, named).values(ended).returning(*_columns)
    with ledger.write() as connection:
        return [OptOut(*row) for row in connection.execute(statement)]


def opt_outs_of(ledger: Ledger, *, customer_uuid: str | None, phone: str | None) -> Iterator[OptOut]:
    """All that is or was said of this customer, or of this phone, the oldest first."""
    return _entries(ledger, or_(optouts.c.customer_uuid == customer_uuid, optouts.c.phone == phone))


def add_opted_out(connection: Connection, run_id: int, rows: Collection[int], moment: datetime) -> None:
    """Puts the customers of these rows, and the numbers that their texts were to go to, on the list.

    For rows that myKaarma refused as opted out, in the transaction that records it. A plan's scratch ledger knows no
    campaign, and learns nothing: it forgets everything anyway.
    """
    query = (
        select(
            messages.c.row,
            messages.c.customer_uuid,
            messages.c.phone,
            campaigns.c.name,
            campaigns.c.base_url,
            starts.c.os_user,
            starts.c.host,
        )
        .join(campaigns, campaigns.c.id == messages.c.campaign_id)
        .join(starts, starts.c.id == messages.c.start_id)
        .where(messages.c.run_id == run_id, messages.c.row.in_(rows))
        # Two processes that learn the same in another order would wait for each other for ever.
        .order_by(messages.c.customer_uuid)
    )
    for row, customer_uuid, phone, campaign, base_url, os_user, host in connection.execute(query).all():
        wish = OptOutRequest(customer_uuid or "", phone or "", f"{campaign}, run {run_id}, row {row}")
        _add(
            connection, [wish], scope_of_answer(base_url), OptOutSource.ANSWER, Person(os_user, host), moment
        )


_columns = [optouts.c[name] for name in OptOut.__slots__]
_still_out = optouts.c.removed_at.is_(None)


def _entries(ledger: Ledger, condition: ColumnElement[bool]) -> Iterator[OptOut]:
    query = select(*_columns).where(condition).order_by(optouts.c.added_at, optouts.c.id)
    with ledger.read() as connection:
        for row in connection.execution_options(yield_per=1000).execute(query):
            yield OptOut(*row)


def _add(
    connection: Connection,
    wishes: Sequence[OptOutRequest],
    scope: str,
    source: OptOutSource,
    person: Person,
    moment: datetime,
) -> int:
    missing = _missing(connection, wishes, scope)
    if missing:
        entry = {
            "base_url": scope,
            "source": source,
            "os_user": person.os_user,
            "host": person.host,
            "added_at": to_text(moment),
        }
        values: list[dict[str, Any]] = [
            {**entry, "customer_uuid": wish.customer_uuid, "phone": wish.phone, "reason": wish.reason}
            for wish in missing
        ]
        connection.execute(insert_into(connection, optouts).on_conflict_do_nothing(), values)
    return len(missing)


def _missing(connection: Connection, wishes: Sequence[OptOutRequest], scope: str) -> list[OptOutRequest]:
    """Those that name somebody who is not on the list yet, each person once."""
    customers = {wish.customer_uuid for wish in wishes} - {""}
    phones = {wish.phone for wish in wishes} - {""}
    query = select(optouts.c.customer_uuid, optouts.c.phone).where(
        _still_out,
        optouts.c.base_url.in_((EVERYWHERE, scope)),
        or_(optouts.c.customer_uuid.in_(customers), optouts.c.phone.in_(phones)),
    )
    known = {""}
    for row in connection.execute(query):
        known.update(row)
    missing = []
    for wish in wishes:
        if not known.issuperset((wish.customer_uuid, wish.phone)):
            missing.append(wish)
            known.update((wish.customer_uuid, wish.phone))
    return missing
