"""What the terminal says of a ledger's opt-outs and of a purge: pure functions from facts to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from batchsend.cli.text.layout import labeled
from batchsend.cli.text.plan import host_of
from batchsend.ledger.attempts import Attempt
from batchsend.ledger.optouts import OptOut, OptOutSource
from batchsend.ledger.purge import Purgeable
from batchsend.messages.phones import display_phone
from batchsend.statuses import IN_FLIGHT, Code, Status

_DAY = len("2026-11-22")


def opt_out_lines(entries: Iterable[OptOut]) -> Iterator[str]:
    """Who is out, since when and why; who was taken off the list, and when."""
    empty = True
    for entry in entries:
        empty = False
        yield f"{entry.added_at[:_DAY]}  {named(entry)}"
        scope = f"; only at {entry.base_url}" if entry.base_url else ""
        if entry.source == OptOutSource.ANSWER:
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
        display_phone(entry.phone) if entry.phone else "",
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


def evidence_lines(evidence: Sequence[Attempt], whom: str) -> Iterator[str]:
    """What somebody got, the latest first, with who sent it and from which files."""
    if not evidence:
        yield f"This ledger knows of no text to {whom}."
    for one in evidence:
        when = f"{one.sent_at[:19].replace('T', ' ')} UTC" if one.sent_at else "at an unknown time"
        status, codes = (
            (Status.UNCONFIRMED, Code.INTERRUPTED) if one.status == IN_FLIGHT else (one.status, one.codes)
        )
        yield f"{when}  {status}{f' {codes}' if codes else ''}  {one.campaign}, run {one.run_id}, row {one.row}"
        yield labeled("to", f"{one.customer_uuid}, {_number_of(one)}, by {host_of(one.base_url)}")
        if one.message_uuid:
            yield labeled("message", one.message_uuid)
        if one.purged_at is not None:
            yield labeled("", f"the text and the phone were purged on {one.purged_at[:10]}")
        else:
            for line in (one.body or "").split("\n"):
                yield labeled("", f"| {line}")
        if one.os_user is not None:
            yield labeled("sent by", f"{one.os_user} on {one.host}")
            yield labeled("list", f"{one.list_file}, SHA-256 {one.list_sha256}")
            yield labeled("template", f"{one.template_file}, SHA-256 {one.template_sha256}")


def _number_of(one: Attempt) -> str:
    if one.phone is not None:
        return one.phone
    return "the preferred number" if one.purged_at is None else "a number that was purged"
