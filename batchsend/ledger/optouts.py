"""The ledger's opt-outs: who must not be texted, since when, why, and who recorded it.

An opt-out belongs to a person, so it applies to every API that a campaign sends to. The exception is an answer from
a server on this machine, which applies to that server only: it is a sandbox, which makes up its answers.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    union_all,
    update,
)

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.purged_phones import PURGED_RANGE, PhoneHash, is_purged, phone_hash, spellings
from batchsend.ledger.schema import campaigns, messages, optouts, runs, starts
from batchsend.settings import os_user
from batchsend.utils.net import is_this_machine
from batchsend.utils.timestamps import for_people, from_text, to_text

#: The scope of opt-outs that apply to every API.
EVERYWHERE = ""
#: Opt-outs stored in one statement; SQLite allows 32,766 parameters.
_CHUNK = 2000
_DAY = len("2026-11-22")


class OptOutSource(StrEnum):
    """How an opt-out came into the ledger."""

    ANSWER = "answer"  #: myKaarma refused a text
    ADDED = "added"
    IMPORTED = "imported"
    REPLY = "reply"  #: the customer answered a text with STOP or the like


@dataclass(frozen=True, slots=True)
class OptOutRequest:
    """A person who must not be texted: a customer UUID, a phone (E.164) or both; "" means unknown."""

    customer_uuid: str
    phone: str
    reason: str


@dataclass(frozen=True, slots=True)
class Person:
    """The operating system's user who changes the list, and the computer."""

    os_user: str
    host: str


def this_person() -> Person:
    """Who runs this process."""
    return Person(os_user(), socket.gethostname())


@dataclass(frozen=True, slots=True)
class OptOut:
    """One entry of the list. Times are UTC text; `base_url` is "" if the entry applies to every API."""

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
    """The entries that apply to one API, by customer and by phone.

    `phone_hash`: the hash of phones, if entries have one in place of a phone that was purged.
    """

    by_customer: Mapping[str, OptOut] = field(default_factory=dict)
    by_phone: Mapping[str, OptOut] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    phone_hash: PhoneHash | None = None

    @property
    def has_entries(self) -> bool:
        """Whether there are any entries."""
        return bool(self.by_customer or self.by_phone)

    def why(self, customer_uuid: str, phone: str | None) -> str | None:
        """Why and since when this customer or this phone is skipped; `None` if neither opted out."""
        entry = self.by_customer.get(customer_uuid)
        if entry is not None:
            return _because(entry, "this customer", self.zone)
        entry = self._of_phone(phone) if phone is not None else None
        return _because(entry, "this phone", self.zone) if entry is not None else None

    def _of_phone(self, phone: str) -> OptOut | None:
        entry = self.by_phone.get(phone)
        return self.by_phone.get(self.phone_hash(phone)) if entry is None and self.phone_hash else entry


def _because(entry: OptOut, who: str, zone: ZoneInfo) -> str:
    day = for_people(from_text(entry.added_at), zone)[:_DAY]
    if entry.source == OptOutSource.ANSWER:
        return f"myKaarma reported on {day} that {who} opted out ({entry.reason})"
    return f"{who} has been on the opt-out list since {day}: {entry.reason}"


def scope_of_answer(base_url: str) -> str:
    """The scope of an opt-out that the API at `base_url` reported."""
    return base_url if is_this_machine(urlsplit(base_url).hostname or "") else EVERYWHERE


def load_opt_outs(ledger: Ledger, base_url: str, zone: ZoneInfo) -> OptOuts:
    """The opt-outs that apply to this API; of several entries for a person, the oldest."""
    with ledger.read() as connection:
        return RunOptOuts(base_url, zone, phone_hash(connection)).load(connection)


class RunOptOuts(NamedTuple):
    """Where the opt-outs for one run are: its API, its zone, and the ledger's hash of purged phones."""

    base_url: str
    zone: ZoneInfo
    phone_hash: PhoneHash | None

    @classmethod
    def of_run(cls, connection: Connection, run_id: int) -> RunOptOuts | None:
        """Those of a run; `None` in the scratch ledger of a plan, which has no campaigns."""
        query = (
            select(campaigns.c.base_url, runs.c.zone)
            .join(runs, runs.c.campaign_id == campaigns.c.id)
            .where(runs.c.id == run_id)
        )
        found = connection.execute(query).one_or_none()
        if found is None:
            return None
        return cls(found.base_url, ZoneInfo(found.zone), phone_hash(connection))

    def load(self, connection: Connection) -> OptOuts:
        """All of them."""
        return self._of(_read(connection, and_(_is_current, optouts.c.base_url.in_(self._scopes))))

    def among(
        self, connection: Connection, customer_uuids: Collection[str], phones: Collection[str]
    ) -> OptOuts:
        """Those that name one of these customers or phones."""
        hashed = [self.phone_hash(phone) for phone in phones] if self.phone_hash is not None else []
        named = {"scopes": self._scopes, "customers": list(customer_uuids), "phones": [*phones, *hashed]}
        return self._of(OptOut(*row) for row in connection.execute(_naming, named))

    @property
    def _scopes(self) -> list[str]:
        return [EVERYWHERE, self.base_url]

    def _of(self, entries: Iterable[OptOut]) -> OptOuts:
        by_customer: dict[str, OptOut] = {}
        by_phone: dict[str, OptOut] = {}
        for entry in entries:
            if entry.customer_uuid:
                by_customer.setdefault(entry.customer_uuid, entry)
            if entry.phone:
                by_phone.setdefault(entry.phone, entry)
        is_hashed = any(map(is_purged, by_phone))
        return OptOuts(by_customer, by_phone, self.zone, self.phone_hash if is_hashed else None)


def opt_outs(ledger: Ledger) -> Iterator[OptOut]:
    """The current opt-outs, oldest first."""
    return _entries(ledger, _is_current)


def opt_outs_ever(ledger: Ledger) -> Iterator[OptOut]:
    """The current and the removed opt-outs, oldest first."""
    return _entries(ledger, optouts.c.id.is_not(None))


def find_opt_outs(ledger: Ledger, text: str, phone: str | None, *, removed: bool, most: int) -> list[OptOut]:
    """The entries whose customer, phone or reason contains this text, or that have this phone (E.164).

    The latest `most` of them, latest first; "" finds all. `removed`: also those that were removed.
    """
    query = select(*_columns).order_by(*(column.desc() for column in _oldest_first)).limit(most)
    if not removed:
        query = query.where(_is_current)
    with ledger.read() as connection:
        if text:
            fields = (optouts.c.customer_uuid, optouts.c.phone, optouts.c.reason)
            contains = [column.icontains(text, autoescape=True) for column in fields]
            has_phone = optouts.c.phone.in_(spellings(connection, phone) if phone is not None else [])
            query = query.where(or_(*contains, has_phone))
        return [OptOut(*row) for row in connection.execute(query)]


def add_opt_outs(
    ledger: Ledger, requests: Iterable[OptOutRequest], source: OptOutSource, person: Person, moment: datetime
) -> int:
    """Adds all people to the list or none; existing entries are unchanged. Returns how many are new."""
    added = 0
    remaining = iter(requests)
    with ledger.write() as connection:
        while chunk := list(islice(remaining, _CHUNK)):
            added += _add(connection, chunk, EVERYWHERE, source, person, moment)
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
    """Removes the entries for this customer or this phone, and returns them."""
    removal = {
        "removed_at": to_text(moment),
        "removed_by": f"{person.os_user} on {person.host}",
        "removed_because": because,
    }
    with ledger.write() as connection:
        named = _names(connection, customer_uuid, phone)
        statement = update(optouts).where(_is_current, named).values(removal).returning(*_columns)
        return [OptOut(*row) for row in connection.execute(statement)]


def opt_outs_of(ledger: Ledger, *, customer_uuid: str | None, phone: str | None) -> Iterator[OptOut]:
    """The current and removed opt-outs of this customer or this phone, oldest first."""
    with ledger.read() as connection:
        named = _names(connection, customer_uuid, phone)
    return _entries(ledger, named)


def _names(connection: Connection, customer_uuid: str | None, phone: str | None) -> ColumnElement[bool]:
    """A condition on the list: entries that name this customer or this phone."""
    phones = spellings(connection, phone) if phone is not None else []
    return or_(optouts.c.customer_uuid == customer_uuid, optouts.c.phone.in_(phones))


def add_opted_out(connection: Connection, run_id: int, rows: Collection[int], moment: datetime) -> None:
    """Adds the customers and phones of these rows to the list.

    For rows that myKaarma refused as opted out, in the transaction that records the refusal. In the scratch ledger of
    a plan, which has no campaigns, this adds nothing.
    """
    query = (
        select(
            messages.c.row,
            messages.c.customer_uuid,
            func.coalesce(messages.c.phone, messages.c.phone_hash).label("phone"),
            campaigns.c.name.label("campaign"),
            campaigns.c.base_url,
            starts.c.os_user,
            starts.c.host,
        )
        .join(campaigns, campaigns.c.id == messages.c.campaign_id)
        .join(starts, starts.c.id == messages.c.start_id)
        .where(messages.c.run_id == run_id, messages.c.row.in_(rows))
        # Two processes that add the same people in a different order could deadlock.
        .order_by(messages.c.customer_uuid)
    )
    for row in connection.execute(query).all():
        reason = f"{row.campaign}, run {run_id}, row {row.row}"
        request = OptOutRequest(row.customer_uuid or "", row.phone or "", reason)
        person = Person(row.os_user, row.host)
        _add(connection, [request], scope_of_answer(row.base_url), OptOutSource.ANSWER, person, moment)


def add_replied(
    connection: Connection, request: OptOutRequest, scope: str, person: Person, moment: datetime
) -> int | None:
    """Adds a customer who asked for no more texts, in the transaction that records the reply.

    Returns the id of the entry, or of an earlier one for this customer or phone.
    """
    _add(connection, [request], scope, OptOutSource.REPLY, person, moment)
    named = [
        column == value
        for column, value in (
            (optouts.c.customer_uuid, request.customer_uuid),
            (optouts.c.phone, request.phone),
        )
        if value
    ]
    applies = optouts.c.base_url.in_((EVERYWHERE, scope))
    query = select(optouts.c.id).where(_is_current, applies, or_(*named)).order_by(optouts.c.id.desc())
    return connection.scalar(query.limit(1))


_columns = [optouts.c[name] for name in OptOut.__slots__]
_is_current = optouts.c.removed_at.is_(None)
_oldest_first = (optouts.c.added_at, optouts.c.id)
#: With OR, SQLite would read the whole list at each claim.
_named_ids = union_all(
    select(optouts.c.id).where(
        _is_current, optouts.c.customer_uuid.in_(bindparam("customers", expanding=True))
    ),
    select(optouts.c.id).where(optouts.c.phone.in_(bindparam("phones", expanding=True))),
)
_naming = (
    select(*_columns)
    .where(
        _is_current,
        optouts.c.base_url.in_(bindparam("scopes", expanding=True)),
        optouts.c.id.in_(_named_ids),
    )
    .order_by(*_oldest_first)
)


def may_name(customer_uuid: ColumnElement[Any], phone: ColumnElement[Any]) -> ColumnElement[bool]:
    """A quick condition: a current entry may name this customer or this phone. `RunOptOuts.among` says exactly."""
    return or_(
        exists().where(_is_current, optouts.c.customer_uuid == customer_uuid),
        exists().where(_is_current, optouts.c.phone == phone),
        exists().where(_is_current, optouts.c.phone.between(*PURGED_RANGE)),
    )


def _entries(ledger: Ledger, condition: ColumnElement[bool]) -> Iterator[OptOut]:
    with ledger.read() as connection:
        yield from _read(connection.execution_options(yield_per=1000), condition)


def _read(connection: Connection, condition: ColumnElement[bool]) -> Iterator[OptOut]:
    query = select(*_columns).where(condition).order_by(*_oldest_first)
    for row in connection.execute(query):
        yield OptOut(*row)


def _add(
    connection: Connection,
    requests: Sequence[OptOutRequest],
    scope: str,
    source: OptOutSource,
    person: Person,
    moment: datetime,
) -> int:
    missing = _missing(connection, requests, scope)
    if missing:
        entry = {
            "base_url": scope,
            "source": source,
            "os_user": person.os_user,
            "host": person.host,
            "added_at": to_text(moment),
        }
        values: list[dict[str, Any]] = [
            {**entry, "customer_uuid": one.customer_uuid, "phone": one.phone, "reason": one.reason}
            for one in missing
        ]
        connection.execute(insert_into(connection, optouts).on_conflict_do_nothing(), values)
    return len(missing)


def _missing(connection: Connection, requests: Sequence[OptOutRequest], scope: str) -> list[OptOutRequest]:
    """The requests that name a customer or phone that is not on the list yet, each once."""
    customers = {request.customer_uuid for request in requests} - {""}
    phones = {request.phone for request in requests} - {""}
    query = select(optouts.c.customer_uuid, optouts.c.phone).where(
        _is_current,
        optouts.c.base_url.in_((EVERYWHERE, scope)),
        or_(optouts.c.customer_uuid.in_(customers), optouts.c.phone.in_(phones)),
    )
    known = {""}
    for row in connection.execute(query):
        known.update(row)
    missing = []
    for request in requests:
        if not known.issuperset((request.customer_uuid, request.phone)):
            missing.append(request)
            known.update((request.customer_uuid, request.phone))
    return missing
