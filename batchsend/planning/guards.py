"""Guards: checks that refuse a list or a ledger that looks wrong, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from batchsend.campaigns.guards_table import Guards
from batchsend.errors import page_words
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
    of `unknown_runs`; `lint`: what is wrong with the texts, a sentence each, whose words for pages may quote them.
    """

    texts: int
    untried: int
    list_saved_at: datetime
    now: datetime
    unusual: str | None = None
    now_texts: int | None = None
    unknown: str | None = None
    unknown_runs: str | None = None
    lint: Sequence[str] = ()


class Refusal(NamedTuple):
    """Why a guard refuses, and what to do. `guard`: its key; `on_page`: the same for pages of the console."""

    guard: str
    sentence: str
    on_page: str


#: Mistakes in texts that a refusal names.
_LINT_NAMED = 9
_RIGHT_LIST = "Check that this is the right list. If it is"
_SAME_ROWS = "The same rows, exported again, continue their run."
#: Where the console has the guards.
_ON_PAGE = "under When, Safety checks"


def refusals(guards: Guards, facts: Facts) -> list[Refusal]:
    """Why nothing may be sent; empty if all guards pass."""
    return [
        *_refused_ledger(guards, facts),
        *_refused_count(guards, facts),
        *_refused_age(guards, facts),
        *_refused_texts(guards, facts),
    ]


def _refused_ledger(guards: Guards, facts: Facts) -> Iterator[Refusal]:
    # Also with nothing to send: a start would be recorded, and the next one would find the campaign known.
    if guards.require_history and facts.unknown is not None:
        yield Refusal(
            "require_history",
            f"guards.require_history is true, but {facts.unknown}, so every customer would count as new. If it was "
            "sent before, restore the ledger from a backup, or name the right one with --ledger or BATCHSEND_LEDGER. "
            "If it was never sent, start it once by hand with --new-campaign.",
            "The history of this campaign is missing, so every customer would count as new. If it was sent before, "
            "ask the person who looks after batchsend. If it was never sent, start it as a new campaign.",
        )

    if guards.require_history and facts.texts and facts.unknown_runs is not None:
        yield Refusal(
            "require_history",
            f"guards.require_history is true. {facts.unknown_runs}",
            "There are results of later runs than the history has, so it may be an older copy, which does not know "
            "who got those texts. Ask the person who looks after batchsend.",
        )


def _refused_count(guards: Guards, facts: Facts) -> Iterator[Refusal]:
    if not facts.untried:
        return
    if guards.max_texts is not None and facts.texts > guards.max_texts:
        yield Refusal(
            "max_texts",
            f"guards.max_texts is {guards.max_texts:,}, but {facts.texts:,} texts would be sent. {_RIGHT_LIST}, "
            f"raise max_texts under [guards].",
            f"{facts.texts:,} texts would be sent, but the safety checks allow at most {guards.max_texts:,}. "
            f"{_RIGHT_LIST}, allow more {_ON_PAGE}.",
        )
    if guards.min_texts is not None and facts.texts < guards.min_texts:
        yield Refusal(
            "min_texts",
            f"guards.min_texts is {guards.min_texts:,}, but only {text_count(facts.texts)} would be sent. Check that "
            f"the list is complete. If it is, lower min_texts under [guards].",
            f"Only {text_count(facts.texts)} would be sent, but the safety checks want at least "
            f"{guards.min_texts:,}. Check that the list is complete. If it is, allow fewer {_ON_PAGE}.",
        )
    if guards.unusual == "refuse" and facts.unusual is not None and facts.now_texts is not None:
        number = f"{facts.now_texts}" if facts.now_texts else "and the number of texts, when they may go out"
        yield Refusal(
            "unusual",
            f'guards.unusual is "refuse". {facts.unusual}. {_RIGHT_LIST}, start it by hand with --expect {number}.',
            f"{facts.unusual}. {_RIGHT_LIST}, allow unusual numbers {_ON_PAGE}.",
        )


def _refused_age(guards: Guards, facts: Facts) -> Iterator[Refusal]:
    # Also with nothing to send: all of yesterday's list was texted, and today's is missing.
    age = facts.now - facts.list_saved_at
    if guards.list_max_age is None:
        return
    if -age > FAR_AHEAD:
        yield Refusal(
            "list_max_age",
            f"guards.list_max_age is set, and the list cannot be checked. {FROM_THE_FUTURE}",
            f"The age of the list cannot be checked. {FROM_THE_FUTURE}",
        )
    if age > guards.list_max_age:
        oldest = time_span(guards.list_max_age.total_seconds())
        saved = f"the list was saved {time_span(age.total_seconds())} ago"
        yield Refusal(
            "list_max_age",
            f"guards.list_max_age is {oldest}, but {saved}. Export it again, or raise list_max_age under [guards]. "
            f"{_SAME_ROWS}",
            f"The safety checks allow a list of at most {oldest}, but {saved}. Export it again, or allow an older "
            f"one {_ON_PAGE}. {_SAME_ROWS}",
        )


def _first_of(sentences: Iterable[str]) -> str:
    all_of_them = list(sentences)
    more = len(all_of_them) - _LINT_NAMED
    return " ".join(all_of_them[:_LINT_NAMED] + ([f"And {more:,} more."] if more > 0 else []))


def _refused_texts(guards: Guards, facts: Facts) -> Iterator[Refusal]:
    if guards.lint != "error" or not facts.untried or not facts.lint:
        return
    # The sentence gets into logs and notices, so it quotes no text. Without the words, some are the same.
    found = _first_of(dict.fromkeys(map(str, facts.lint)))
    on_page = _first_of(map(page_words, facts.lint))
    yield Refusal(
        "lint",
        f'guards.lint is "error", and the texts have something that carriers block or customers dislike. {found} '
        f'`batchsend preview` shows the words. To send them as they are, set lint = "warn" under [guards], or '
        f"name the rule in lint_ignore.",
        f"The texts have something that carriers block or customers dislike. {on_page} To send them as they are, let "
        f"the safety check only say so, {_ON_PAGE}.",
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
