"""Guards: checks that refuse a list or a ledger that looks wrong, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from batchsend.campaigns.tables import Guards
from batchsend.lists.newest import FAR_AHEAD, FROM_THE_FUTURE
from batchsend.utils.wording import text_count, time_span

#: Runs needed to know what a campaign usually sends.
_RUNS_KNOWN = 3
#: A run is unusual with this many times the texts of the largest run, or this fraction of the smallest run.
_FAR = 2


@dataclass(frozen=True)
class Facts:
    """What guards judge.

    `texts`: all texts of the run, without regard to quiet hours, caps and `--limit`; `untried`: those among them
    that no start has tried yet; `unusual`: the sentence of `unusual`; `now`: when this start began; `now_texts`: the
    texts that it would send, `None` if `--expect` named their number; `unknown`: a clause that names the ledger and
    the campaign that is not in it, `None` if it is or if a person said that it is new; `unknown_runs`: the sentence
    of `unknown_runs`.
    """

    texts: int
    untried: int
    list_saved_at: datetime
    now: datetime
    unusual: str | None = None
    now_texts: int | None = None
    unknown: str | None = None
    unknown_runs: str | None = None


def refusals(guards: Guards, facts: Facts) -> list[str]:
    """Why nothing may be sent, each with what to do; empty if all guards pass."""
    return [*_refused_ledger(guards, facts), *_refused_count(guards, facts), *_refused_age(guards, facts)]


def _refused_ledger(guards: Guards, facts: Facts) -> Iterator[str]:
    # Also with nothing to send: a start would be recorded, and the next one would find the campaign known.
    if guards.require_history and facts.unknown is not None:
        yield (
            f"guards.require_history is true, but {facts.unknown}, so every customer would count as new. If it was "
            "sent before, restore the ledger from a backup, or name the right one with --ledger or BATCHSEND_LEDGER. "
            "If it was never sent, start it once by hand with --new-campaign."
        )

    if guards.require_history and facts.texts and facts.unknown_runs is not None:
        yield f"guards.require_history is true. {facts.unknown_runs}"


def _refused_count(guards: Guards, facts: Facts) -> Iterator[str]:
    if not facts.untried:
        return
    if guards.max_texts is not None and facts.texts > guards.max_texts:
        yield (
            f"guards.max_texts is {guards.max_texts:,}, but {facts.texts:,} texts would be sent. Check that this is "
            "the right list. If it is, raise max_texts under [guards]."
        )
    if guards.min_texts is not None and facts.texts < guards.min_texts:
        yield (
            f"guards.min_texts is {guards.min_texts:,}, but only {text_count(facts.texts)} would be sent. Check that "
            f"the list is complete. If it is, lower min_texts under [guards]."
        )
    if guards.unusual == "refuse" and facts.unusual is not None and facts.now_texts is not None:
        number = f"{facts.now_texts}" if facts.now_texts else "and the number of texts, when they may go out"
        yield (
            f'guards.unusual is "refuse". {facts.unusual}. Check that this is the right list. If it is, start it by '
            f"hand with --expect {number}."
        )


def _refused_age(guards: Guards, facts: Facts) -> Iterator[str]:
    # Also with nothing to send: all of yesterday's list was texted, and today's is missing.
    age = facts.now - facts.list_saved_at
    if guards.list_max_age is None:
        return
    if -age > FAR_AHEAD:
        yield f"guards.list_max_age is set, and the list cannot be checked. {FROM_THE_FUTURE}"
    if age > guards.list_max_age:
        oldest = time_span(guards.list_max_age.total_seconds())
        yield (
            f"guards.list_max_age is {oldest}, but the list was saved {time_span(age.total_seconds())} ago. Export "
            "it again, or raise list_max_age under [guards]. The same rows, exported again, continue their run."
        )


def unknown_runs(results: Mapping[int, Path], last: int, ledger: str) -> str | None:
    """A warning if there are results of runs after the `last` one that the ledger knows, else `None`.

    `results`: run -> its workbook; `ledger`: its name.
    """
    first = min((run for run in results if run > last), default=None)
    if first is None:
        return None
    known = f"no run after {last}" if last else "no run"
    return (
        f"{results[first]} has the results of run {first}, but {ledger} has {known}. It is another ledger or an "
        f"older copy, and does not know who was texted by run {first} and later. Use the right ledger. If it is "
        f"lost, move the results of run {first} and later to another folder, and name their workbooks under "
        f"`suppress` in [recipients], so that their customers are skipped."
    )


def unusual(texts: int, earlier: Sequence[int]) -> str | None:
    """A warning if a run has far more or fewer texts than each of the `earlier` ones, else `None`."""
    runs = [count for count in earlier if count]
    if len(runs) < _RUNS_KNOWN or not texts:
        return None
    if texts > _FAR * max(runs):
        return f"UNUSUAL: {texts:,} texts; the largest earlier run of this campaign had {max(runs):,}"
    if texts * _FAR < min(runs):
        return f"UNUSUAL: {text_count(texts)}; the smallest earlier run of this campaign had {min(runs):,}"
    return None
