"""Terminal lines about a ledger's opt-outs, its history and a purge. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from batchsend.cli.text.layout import labeled
from batchsend.cli.text.plan import host_of
from batchsend.ledger.attempts import Attempt
from batchsend.ledger.backup import Backup
from batchsend.ledger.optouts import OptOut, OptOutSource
from batchsend.ledger.purge import Purgeable
from batchsend.ledger.purged_phones import is_purged
from batchsend.messages.phones import display_phone
from batchsend.statuses import IN_FLIGHT, Code, Status

_DAY = len("2026-11-22")


def opt_out_lines(entries: Iterable[OptOut]) -> Iterator[str]:
    """The opt-outs: who, since when and why; for removed entries, when they were removed."""
    empty = True
    for entry in entries:
        empty = False
        yield f"{entry.added_at[:_DAY]}  {named(entry)}"
        scope = f"; only at {entry.base_url}" if entry.base_url else ""
        if entry.source == OptOutSource.ANSWER:
            yield f"  myKaarma refused a text as opted out ({entry.reason}){scope}"
        elif entry.source == OptOutSource.REPLY:
            yield f"  {entry.reason}{scope}"
        else:
            yield f"  {entry.reason} ({entry.source} by {entry.os_user} on {entry.host}){scope}"
        if entry.removed_at is not None:
            because = f": {entry.removed_because}" if entry.removed_because else ""
            yield f"  removed on {entry.removed_at[:_DAY]} by {entry.removed_by}{because}"
    if empty:
        yield "This ledger has no opt-outs."


def named(entry: OptOut) -> str:
    """`customer abc, (312) 555-0142`."""
    parts = [
        f"customer {entry.customer_uuid}" if entry.customer_uuid else "",
        _phone_of(entry) if entry.phone else "",
    ]
    return ", ".join(filter(None, parts))


def _phone_of(entry: OptOut) -> str:
    return "a number that was purged" if is_purged(entry.phone) else display_phone(entry.phone)


def purge_lines(found: Sequence[Purgeable], cutoff_day: str, where: str) -> Iterator[str]:
    """What a purge would delete, and what that means."""
    yield f"{where}: texts last used before {cutoff_day}"
    for one in found:
        texts = f"{one.texts:,} with a text" if one.texts != one.entries else "each with its text"
        yield (
            f"  {one.campaign}, through {one.base_url.split('://', 1)[-1]}: {entry_count(one.entries)}, {texts}, "
            f"from {one.first[:_DAY]} to {one.last[:_DAY]}"
        )
    yield "Permanently deleted: texts, phone numbers, list columns and error descriptions."
    yield "You will no longer be able to show what was sent to these customers, or to which number."
    yield "Kept: customer ids, keys, statuses, codes, times, message ids, who sent, file hashes and all opt-outs."
    yield "Of each phone that was texted, a keyed hash is kept."
    yield "Nobody is texted twice because of a purge."


def backup_lines(where: str, made: Backup) -> Iterator[str]:
    """What a backup has, and what it does not know."""
    sent = f"last text sent {_utc(made.last_sent_at)}" if made.last_sent_at else "no text sent"
    yield f"{where}: backed up to {made.file}"
    yield f"  {made.runs:,} {'run' if made.runs == 1 else 'runs'}, {sent}. It does not know what is sent from now on."


def entry_count(count: int) -> str:
    """`1 entry`, `1,200 entries`."""
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def attempt_lines(attempts: Sequence[Attempt], recipient: str) -> Iterator[str]:
    """The texts to a recipient, the latest first, with who sent them and from which files."""
    if not attempts:
        yield f"This ledger has no text to {recipient}."
    for one in attempts:
        when = _utc(one.sent_at) if one.sent_at else "at an unknown time"
        status, codes = (
            (Status.UNCONFIRMED, Code.INTERRUPTED) if one.status == IN_FLIGHT else (one.status, one.codes)
        )
        yield f"{when}  {status}{f' {codes}' if codes else ''}  {one.campaign}, run {one.run_id}, row {one.row}"
        yield labeled("to", f"{one.customer_uuid}, {_number_of(one)}, through {host_of(one.base_url)}")
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


def _utc(moment: str) -> str:
    return f"{moment[:19].replace('T', ' ')} UTC"


def _number_of(one: Attempt) -> str:
    if one.phone is not None:
        return one.phone
    return "the preferred number" if one.purged_at is None else "a number that was purged"
