"""Terminal lines about customers' replies. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from batchsend.cli.text.layout import labeled
from batchsend.ledger.replies import ReplyCounts, StoredReply
from batchsend.messages.phones import display_phone
from batchsend.utils.wording import reply_count

if TYPE_CHECKING:
    from batchsend.runs.replies import Poll

#: How many characters of the text that was sent are shown.
_SHOWN = 70


def reply_lines(replies: Sequence[StoredReply]) -> Iterator[str]:
    """How many replies there are, and each one with the text that it answers: first those that need a person."""
    if not replies:
        return
    unclear = sum(reply.needs_you for reply in replies)
    yield ReplyCounts(len(replies), sum(reply.asks_to_stop for reply in replies), unclear).sentence()
    for reply in sorted(replies, key=lambda reply: not reply.needs_you):
        yield from _lines(reply)


def elsewhere_lines(replies: Sequence[StoredReply]) -> Iterator[str]:
    """The new replies to texts of other runs: how many and where, and in full those that ask for something."""
    if not replies:
        return
    opted_out = sum(reply.asks_to_stop and reply.opted_out for reply in replies)
    count = f"{len(replies):,} new {'reply' if len(replies) == 1 else 'replies'} to texts of other runs"
    places = {reply.run_id: reply.campaign for reply in replies if reply.run_id is not None}
    shown = ", ".join(f"`batchsend replies {run}` ({name})" for run, name in sorted(places.items()))
    yield f"{count}, {opted_out:,} opted out{f': see {shown}' if shown else ''}."
    for reply in replies:
        if reply.asks_to_stop or reply.needs_you or reply.run_id is None:
            yield from _lines(reply)


def _lines(reply: StoredReply) -> Iterator[str]:
    place = f"{reply.campaign}, run {reply.run_id}, row {reply.row}" if reply.run_id else "no text of ours"
    phone = display_phone(reply.number) if reply.number else "unknown number"
    yield f"{reply.received_at[:16].replace('T', ' ')} UTC  {phone}  to {place}"
    if reply.customer_uuid:
        yield labeled("customer", reply.customer_uuid)
    if reply.sent_body:
        words = _printable(" ".join(reply.sent_body.split()))
        yield labeled("sent", words if len(words) <= _SHOWN else f"{words[:_SHOWN]}...")
    for number, line in enumerate(reply.words.split("\n")):
        yield labeled("" if number else "replied", f"| {_printable(line)}")
    if reply.outcome:
        yield labeled("", reply.outcome)


def _printable(line: str) -> str:
    """The line without characters that could control the terminal."""
    return "".join(char if char.isprintable() else " " for char in line)


def poll_lines(poll: Poll) -> Iterator[str]:
    """Which conversations were read, and why others were not."""
    if not poll.wanted:
        yield "Nobody was texted in the last 30 days, so no conversation was read."
        return
    yield f"Conversations read: {poll.asked:,} of {poll.wanted:,}."
    for reason, count in poll.unread.items():
        yield f"{count:,} not read, or not to the end: {reason}"
    if poll.undated:
        yield (
            f"{reply_count(poll.undated)} left out: without a readable time, and not about opting out. "
            "Look in myKaarma."
        )
    if poll.stopped is not None:
        yield f"Stopped: {poll.stopped}"
