"""Tries a text on rows of the list while it is typed. Runs in the processes of `reader_pool`.

A template can be slow. In a separate process, it cannot hold up the pages. Texts are made and counted by the rules
that plan a run.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from batchsend.campaigns.file import parse_campaign
from batchsend.errors import ExtensionError, FileError, ListError
from batchsend.lists.customer_list import Chunk
from batchsend.messages.lint import Finding, lint, read_columns
from batchsend.messages.sms import non_gsm7, normalize, room, size_with_opt_out, smart_encode
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.cost import cost_of
from batchsend.planning.row_frame import rows_of
from batchsend.planning.rules import MAX_CHARACTERS, judge
from batchsend.planning.text_lint import (
    LintFinding,
    TextLint,
    lint_context,
    package_findings,
    package_rules_of,
    rules_of,
)
from batchsend.reports.advice import advise
from batchsend.statuses import Code, Status
from batchsend.web.jobs.list_preview import list_of, roles_of
from batchsend.web.jobs.text_trial import Trial, texts_of

LONGEST, STRANGEST = "longest", "strangest"
#: Twice the most rows that are tried for the longest text.
_MOST_TRIED = 40_000
#: Mistakes in other rows' texts that are named.
_FINDINGS_NAMED = 3
#: Digits from which words are part of a phone.
_PART_OF_PHONE = 4
_no_digit = re.compile(r"[^0-9\0]")


@dataclass(frozen=True)
class Wanted:
    """The row to show: this one or the next; or the next one with these words; or the longest or strangest one."""

    row: int | None = None
    words: str = ""
    extreme: str = ""


@dataclass(frozen=True)
class WholeList:
    """The texts of all rows, or an estimate from some of them. `is_exact`: all rows were tried.

    `rows`: of the list, with this text; `blank`: rows that are left out because a value is blank; `others`: rows
    whose text cannot be sent; `cost`: of the segments, if the campaign has a price.
    """

    rows: int
    texts: int
    segments: int
    blank: int
    others: int
    is_exact: bool
    cost: str | None


@dataclass(frozen=True)
class RowText:
    """The text of one row, or why it has none. `problems` concern the template, `list_problems` the list.

    `row` is `None` if the list has no rows. `earlier` and `later`: the numbers of the neighboring rows. `units` of
    `room` are used. `other`: the campaign's text that the row gets instead. `missed`: no row has the words.
    `longest_of`: of how many rows it is the longest text, 0 for all, if that was asked for. `lint`: what carriers
    block or customers dislike in the text; `others_lint`: the same in other rows only.
    """

    problems: tuple[str, ...] = ()
    list_problems: tuple[str, ...] = ()
    row: int | None = None
    earlier: int | None = None
    later: int | None = None
    phone: str | None = None
    body: str | None = None
    segments: int = 0
    encoding: str = ""
    units: int = 0
    room: int = 0
    opt_out_line: str | None = None
    code: str = ""
    problem: str = ""
    cells: tuple[tuple[str, str], ...] = ()
    other: str = ""
    missed: bool = False
    longest_of: int | None = None
    lint: tuple[Finding, ...] = ()
    others_lint: tuple[LintFinding, ...] = ()
    whole: WholeList | None = None

    @property
    def blanks(self) -> list[str]:
        """The columns in the text that are blank in this row and keep it from being sent."""
        is_blank = self.code == Code.MISSING_VALUE
        return [header for header, cell in self.cells if is_blank and not cell]


def try_text(path: Path, content: bytes, template: Path, source: str, wanted: Wanted) -> RowText:
    """Makes the text of a row, and counts those of the whole list, with the template as it is in the editor.

    `path` and `content`: the campaign file's. `template` and `source`: the template's.
    """
    campaign = parse_campaign(path, content)
    try:
        read = list_of(campaign)
    except ListError as error:
        return RowText(list_problems=error.page_problems)
    headers = read.customers.headers
    try:
        compiled = MessageTemplate.of(template, source, headers)
        return _tried(Trial(campaign, read, compiled, roles_of(campaign, headers)[0]), wanted)
    except (FileError, ExtensionError) as error:
        return RowText(problems=error.page_problems)


def _tried(trial: Trial, wanted: Wanted) -> RowText:
    longest = _longest(trial) if wanted.extreme == LONGEST and not wanted.words else None
    number = longest[0] if longest is not None else _number(trial, wanted)
    shown = _row_text(trial, wanted.row if number is None else number)
    made = _own_texts(trial)
    return replace(
        shown,
        missed=number is None and bool(wanted.words),
        longest_of=longest[1] if longest is not None else None,
        **_lint(trial, shown, made),
        whole=_whole_list(trial, made),
    )


# Which row


def strangeness(cells: Sequence[str]) -> int:
    """Says how strange the values of a row are: one for each blank and each character that phones lack."""
    return sum(not cell for cell in cells) + len(non_gsm7("".join(cells)))


def _number(trial: Trial, wanted: Wanted) -> int | None:
    """Returns the number of the wanted row or of one just before it; `None` if none has the words."""
    if wanted.words:
        return _with_words(trial, wanted.words, wanted.row or 0)
    if wanted.extreme == STRANGEST:
        return max(trial.rows(), key=lambda row: strangeness(row[2]), default=(0,))[0]
    return wanted.row if wanted.row is not None else next(trial.rows(), (0,))[0]


def _with_words(trial: Trial, words: str, after: int) -> int | None:
    """Returns the next row that has these words in a cell or these digits in its phone, from the top if need be."""
    search, digits = words.casefold(), _no_digit.sub("", words)
    phone = trial.roles.phone if trial.roles is not None else None
    if len(digits) < _PART_OF_PHONE or any(map(str.isalpha, words)):
        phone = None

    def has_words(cells: Iterable[str], phones: Sequence[str]) -> bool:
        return search in "\0".join(cells).casefold() or bool(
            phones and digits in _no_digit.sub("", "\0".join(phones))
        )

    first: int | None = None
    for block in trial.read.customers.blocks():
        phones = block.columns[phone] if phone is not None else ()
        # Looking at a whole block first is faster.
        if not has_words(chain.from_iterable(block.columns), phones):
            continue
        for number, cells in zip(block.numbers, zip(*block.columns, strict=True), strict=True):
            if has_words(cells, () if phone is None else (cells[phone],)):
                if number > after:
                    return number
                first = number if first is None else first
    return first


def _longest(trial: Trial) -> tuple[int, int]:
    """Returns the row with the longest text, and of how many rows it is the longest: 0 for all.

    Rows whose values differ are tried, those with the longest or the most unusual ones first.
    """
    of_values: dict[Sequence[str], tuple[int, Sequence[str]]] = {}
    for number, cells, values in trial.rows():
        of_values.setdefault(values, (number, cells))
    rows = [*of_values.values()]
    length = np.array([len("".join(values)) for values in of_values])
    unusual = np.array([len(non_gsm7("".join(values))) for values in of_values])
    orders = np.lexsort((unusual, length))[::-1], np.lexsort((length, unusual))[::-1]
    likely = [rows[one] for one in dict.fromkeys(np.column_stack(orders).ravel()[:_MOST_TRIED].tolist())]
    numbers, cells_of = [number for number, _ in likely], [cells for _, cells in likely]
    made = texts_of(trial, pd.DataFrame(cells_of, numbers, dtype=object), in_order=True)
    of_how_many = 0 if len(made) == len(rows) else len(made)
    made = made[made["body"].notna()]
    size = made["segments"].astype(int) * MAX_CHARACTERS + made["body"].str.len()
    longest = made.index.to_numpy()[size.to_numpy().argmax()] if len(made) else next(iter(numbers), 0)
    return int(longest), of_how_many


# The whole list


@dataclass(frozen=True)
class _Made:
    """Rows of the list's sample that get the text, and the texts that were made of all or some of them."""

    own: pd.DataFrame
    texts: pd.DataFrame


def _own_texts(trial: Trial) -> _Made:
    sample = trial.read.sample
    is_own = [trial.text_of(cells) == trial.compiled.path for cells in sample.to_numpy().tolist()]
    own = sample[is_own].set_axis(range(sample.shape[1]), axis=1)
    return _Made(own, texts_of(trial, own))


def _lint(trial: Trial, shown: RowText, tried: _Made) -> dict[str, Any]:
    """Looks for what carriers block or customers dislike, in the text that is shown and in the other ones."""
    campaign, headers = trial.campaign, trial.headers
    found: tuple[Finding, ...] = ()
    if shown.body is not None:
        cells = tried.own.loc[[shown.row]].to_numpy().tolist()[0] if shown.row in tried.own.index else []
        compared = {headers[one]: cells[one] for one in read_columns(headers) if cells}
        context = replace(lint_context(campaign), cells=compared)
        found = tuple(lint(shown.body, context, rules_of(campaign)))
        if cells:
            row = tried.own.loc[[shown.row]].assign(body=shown.body)
            found += tuple(
                one for _, one in package_findings(package_rules_of(campaign), context, headers, row)
            )
    others = TextLint(campaign, headers, TemplateChoice(trial.compiled))
    texts = tried.texts[tried.texts["code"].isna()]
    others.add(tried.own.loc[texts.index].assign(body=texts["body"]), None)
    shown_there = {(one.rule, one.sentence) for one in found}
    more = tuple(one for one in others.findings() if (one.rule, one.sentence) not in shown_there)
    return {"lint": found, "others_lint": more[:_FINDINGS_NAMED]}


def _whole_list(trial: Trial, tried: _Made) -> WholeList | None:
    """Counts the texts of all rows, or estimates them from some."""
    own, made = tried.own, tried.texts
    if made.empty:
        return None
    codes = Counter(made["code"].dropna())
    rows = round(len(own) * trial.read.scale)
    scale = rows / len(made)
    segments = round(scale * int(made.loc[made["code"].isna(), "segments"].sum()))
    return WholeList(
        rows=rows,
        texts=round(scale * int(made["code"].isna().sum())),
        segments=segments,
        cost=cost_of(segments, trial.campaign.message),
        blank=round(scale * codes.pop(str(Code.MISSING_VALUE), 0)),
        others=round(scale * codes.total()),
        is_exact=len(made) == rows,
    )


# One row


def _row_text(trial: Trial, wanted: int | None) -> RowText:
    """Makes the text of the row with this number or the next one; past the end, of the last one."""
    starts, customers = trial.read.starts, trial.read.customers
    if not starts:
        return RowText()
    block = max(0, bisect_right(starts, wanted or 0) - 1)
    chunk = customers.chunk_of(list(customers.blocks(slice(max(0, block - 1), block + 2))))
    numbers = chunk.frame.index.tolist()
    place = min(bisect_left(numbers, wanted or 0), len(numbers) - 1)
    cells, message = chunk.frame.iloc[place].tolist(), trial.campaign.message
    chosen = trial.text_of(cells)
    empty = RowText(
        row=numbers[place],
        earlier=numbers[place - 1] if place else None,
        later=numbers[place + 1] if place + 1 < len(numbers) else None,
        opt_out_line=message.opt_out_line if message.add_tcpa_footer else None,
        cells=tuple((trial.headers[index], cells[index]) for index in sorted(trial.compiled.uses)),
        other="" if chosen == trial.compiled.path else chosen.name,
    )
    return _judged(trial, chunk, cells, empty)


def _judged(trial: Trial, chunk: Chunk, cells: Sequence[str], empty: RowText) -> RowText:
    """Adds the row's text, or the reason that it would not be sent."""
    row = empty.row or 0
    malformed = {row: chunk.malformed[row]} if row in chunk.malformed else {}
    if trial.roles is None:
        return _rendered(trial, cells, empty)
    context = trial.context(malformed, [row] if row in chunk.hidden else [])
    judged = judge(rows_of(pd.DataFrame([cells], index=[row], dtype=object)), context).iloc[0]
    code, description = judged["code"], judged["description"] or ""
    empty = replace(empty, phone=judged["phone"])
    if judged["body"] is None and judged["phone_problem"] is None and not malformed:
        # The row is skipped before its text is made, but the person who edits the text wants to see it.
        shown = _rendered(trial, cells, empty)
        return shown if shown.code or code is None else _with_issue(shown, code, description)
    shown = empty if judged["body"] is None else _with_body(empty, judged["body"])
    return shown if code is None else _with_issue(shown, code, description)


def _rendered(trial: Trial, cells: Sequence[str], empty: RowText) -> RowText:
    """Renders a row without judging it."""
    try:
        body = normalize(trial.compiled.render(cells))
    except RowProblem as problem:
        return _with_issue(empty, problem.code, problem.description)
    return _with_body(empty, smart_encode(body) if trial.campaign.message.smart_encoding else body)


def _with_body(shown: RowText, body: str) -> RowText:
    size = size_with_opt_out(body, shown.opt_out_line)
    return replace(
        shown,
        body=body,
        segments=size.segments,
        encoding=str(size.encoding),
        units=size.units,
        room=room(size),
    )


def _with_issue(shown: RowText, code: str, description: str) -> RowText:
    advice = advise(Status.INVALID, code)
    sentence = description or advice.meaning
    return replace(
        shown, code=str(code), problem=f"{sentence.removesuffix('.')}. What to do: {advice.what_to_do}"
    )
