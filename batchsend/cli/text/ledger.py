"""What the terminal says of a ledger's opt-outs and of a purge: pure functions from facts to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from batchsend.ledger.optouts import OptOut, Source
from batchsend.ledger.purge import Purgeable
from batchsend.messages.phones import for_people as phone_for_people

_DAY = len("2026-11-22")


def opt_out_lines(entries: Iterable[OptOut]) -> Iterator[str]:
    """Who is out, since when and why; who was taken off the list, and when."""
    empty = True
    for entry in entries:
        empty = False
        yield f"{entry.added_at[:_DAY]}  {named(entry)}"
        scope = f"; only at {entry.base_url}" if entry.base_url else ""
        if entry.source == Source.ANSWER:
            yield f"  myKaarma refused a text as opted out ({entry.reason}){scope}"
        else:
            yield f"  {entry.reason} ({entry.source} by {entry.os_user} on {entry.host}){scope}"
        if entry.removed_at is not None:
            because = f": {entry.removed_because}" if entry.removed_because else ""
            yield f"  taken off on {entry.removed_at[:_DAY]} by {entry.removed_by}{because}"
    if empty:
        yield "Nobody is on this ledger's opt-outs."


def named(entry: OptOut) -> str:
    """`customer abc, (312) 555-0142`."""
    parts = [
        f"customer {entry.customer_uuid}" if entry.customer_uuid else "",
        phone_for_people(entry.phone) if entry.phone else "",
    ]
    return ", ".join(filter(None, parts))


def purge_lines(found: Sequence[Purgeable], cutoff_day: str, where: str) -> Iterator[str]:
    """What would be forgotten, and what goes with it."""
    yield f"{where}: what was last touched before {cutoff_day}"
    for one in found:
        texts = f"{one.texts:,} with a text" if one.texts != one.entries else "each with its text"
        yield (
            f"  {one.campaign}, by {one.base_url.split('://', 1)[-1]}: {entry_count(one.entries)}, {texts}, "
            f"from {one.first[:_DAY]} to {one.last[:_DAY]}"
        )
    yield "Removed for good: the texts, the phone numbers, the lists' own columns and the descriptions of errors."
    yield "With them goes the evidence of what was written to these customers, and to which number."
    yield "What is kept: customer ids, keys, statuses, codes, times, message ids, who sent, the hashes of the files,"
    yield "and all opt-outs. Nobody is texted twice for it."


def entry_count(count: int) -> str:
    """`1 entry`, `1,200 entries`."""
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
