"""Writes a list again with the customers that a look-up found: `batchsend lookup`, and the console's List page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from batchsend.errors import ListError
from batchsend.ledger.ledger import Ledger
from batchsend.lists.customer_list import Chunk, CustomerList
from batchsend.lists.formula_guard import escape_formula
from batchsend.lists.headers import match_key
from batchsend.messages.phones import phone
from batchsend.mykaarma.customer_search import Candidate, Field, Search
from batchsend.mykaarma.reader import ApiReader
from batchsend.planning.customer_match import Match, Person, Verdict, find_match
from batchsend.planning.lookup_columns import ADDED, LookupColumns, given_ids, persons
from batchsend.reports.list_file import write_list
from batchsend.runs.customer_lookup import Answers, LookupPace, look_up
from batchsend.sending.pacing import Pause

_MATCHED_BY = {Field.CUSTOMER_KEY: "customer number", Field.VIN: "VIN", Field.PHONE: "phone"}


@dataclass(frozen=True)
class ListLookup:
    """A list whose customers are looked up. `department`: its id, or the column that has it."""

    customers: CustomerList
    columns: LookupColumns
    department: str | int
    region: str

    def chunks(self) -> Iterator[tuple[Chunk, list[Person]]]:
        """The rows with the people that they mean."""
        for chunk in self.customers.chunks(self.columns.used):
            people = persons(chunk.frame, self.columns, self.department, self.region)
            yield chunk, list(people)

    def people(self) -> Iterator[Person]:
        """The people to look up: those of rows that are whole and visible, and have no id yet."""
        for chunk, people in self.chunks():
            ids = self.given_ids(chunk.frame)
            for row, person, given in zip(chunk.frame.index, people, ids, strict=True):
                if not given and row not in chunk.malformed and row not in chunk.hidden:
                    yield person

    def given_ids(self, frame: pd.DataFrame) -> list[str]:
        """The ids that the list has already; "" for none."""
        return given_ids(frame, self.customers.headers)

    def _our_columns(self) -> Mapping[str, int]:
        """The columns of the list that are named as those that a look-up adds."""
        ours = set(map(match_key, ADDED))
        found = ((match_key(header), position) for position, header in enumerate(self.customers.headers))
        return {key: position for key, position in found if key in ours}

    def refuse_own_columns(self) -> None:
        """Raises `ListError` if the list has such columns that are not of an earlier look-up."""
        found = self._our_columns()
        own = [self.customers.headers[at] for key, at in found.items() if key != match_key("customer_uuid")]
        if own and len(found) < len(ADDED):
            raise ListError(
                self.customers.path,
                f'has a column "{own[0]}", which a look-up adds too and would replace. Rename it in the list.',
            )

    def kept_columns(self) -> list[int]:
        """The list's own columns. Those of an earlier look-up are replaced."""
        replaced = set(self._our_columns().values())
        return [position for position in range(len(self.customers.headers)) if position not in replaced]


@dataclass(frozen=True)
class LookupReport:
    """How a look-up ended. `problem`: why it ended early; then no list was written. `hidden`: rows without an id."""

    matches: Counter[Match]
    unknown: int
    hidden: int
    problem: str | None
    written: Path | None

    @property
    def rows(self) -> int:
        return self.matches.total() + self.unknown

    @property
    def all_found(self) -> bool:
        return self.matches[Match.ONE] == self.rows


def look_up_list(
    lookup: ListLookup,
    path: Path,
    reader: ApiReader,
    pace: LookupPace,
    ledger: Ledger | None,
    listener: Callable[[Pause], None],
) -> LookupReport:
    """Looks up the customers of a list, and writes it again to `path` (.xlsx or .csv) with what was found.

    Raises `BatchsendError` if the list, the ledger or the file cannot be used.
    """
    lookup.refuse_own_columns()
    answers = Answers(ledger, reader.base_url)
    problem = look_up(lookup.people(), lookup.customers.rows, answers, reader, pace, listener)
    counted = _Counted(lookup, answers)
    headers = [lookup.customers.headers[position] for position in lookup.kept_columns()]
    written = None
    if problem is None:
        is_csv = path.suffix.lower() == ".csv"
        written = write_list(path, [*headers, *ADDED], _safe(counted.rows()) if is_csv else counted.rows())
    else:
        for _ in counted.rows():
            pass
    return LookupReport(counted.matches, counted.unknown, counted.hidden, problem, written)


def _safe(rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The rows with texts of myKaarma that no spreadsheet runs. Those of the list will be read again as they are."""
    count = len(ADDED) - 1
    return ([*row[:-count], *map(escape_formula, row[-count:])] for row in rows)


class _Counted:
    """The rows of the new list, which are counted as they are read."""

    def __init__(self, lookup: ListLookup, answers: Answers) -> None:
        self._lookup = lookup
        self._answers = answers
        self.matches: Counter[Match] = Counter()
        self.unknown = self.hidden = 0

    def rows(self) -> Iterator[Sequence[str]]:
        kept = self._lookup.kept_columns()
        for chunk, people in self._lookup.chunks():
            cells = chunk.frame.iloc[:, kept].to_numpy().tolist()
            ids = self._lookup.given_ids(chunk.frame)
            for row, own, person, given in zip(chunk.frame.index, cells, people, ids, strict=True):
                if row in chunk.hidden:
                    self.hidden += 1
                    yield [*own, *_hidden_cells(given)]
                    continue
                yield [*own, *self._added(person, given, chunk.malformed.get(row))]

    def _added(self, person: Person, given: str, malformed: str | None) -> Sequence[str]:
        if malformed is not None:
            verdict: Verdict | Search = Verdict(Match.NONE, why=f"the row {malformed}")
        elif given:
            verdict = Verdict(Match.ONE, Candidate(given), why="the list had this id")
        else:
            verdict = find_match(person, self._answers)
        if isinstance(verdict, Search):
            self.unknown += 1
            return [*[""] * (len(ADDED) - 1), "not looked up: myKaarma gave no usable answer"]
        self.matches[verdict.match] += 1
        return added_cells(verdict)


def _hidden_cells(given: str) -> Sequence[str]:
    """The cells of a row that the spreadsheet hides. The new list shows it, so it must not have an id."""
    others = (Candidate(given),) if given else ()
    return added_cells(Verdict(Match.NONE, why="not looked up: the list hides this row", others=others))


def added_cells(verdict: Verdict) -> Sequence[str]:
    """The cells of `ADDED` for one row. Several customers are separated by semicolons."""
    one = verdict.customer
    shown = verdict.others if one is None else (one,)
    return [
        "" if one is None else one.uuid,
        verdict.match,
        _MATCHED_BY[verdict.field] if verdict.field is not None else "",
        _joined(" ".join(filter(None, (each.first_name, each.last_name))) or each.company for each in shown),
        _joined(each.customer_key for each in shown),
        _joined(", ".join(map(phone, each.phones)) for each in shown),
        _joined(each.uuid for each in shown),
        verdict.why,
    ]


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(filter(None, texts))
