"""Exports of dealer management systems without myKaarma ids, and the customers that they mean.

`dms_layouts.txt` is the table of layouts: which columns a system exports, under which headers, written how.
`dealership` makes customers with all that makes look-ups hard: namesakes, families with one phone, cars with two
owners, numbers that contain other numbers, people whom myKaarma does not know although it knows a relative.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openpyxl import Workbook

FIRST = (
    "Ann Bob Carla David Elena Frank Grace Henry Ines Jack Karen Luis Mia Noah Olga Paul Rosa Sam Tina Victor"
)
LAST = "Smith Jones García O'Brien Müller Nguyen Lopez-Diaz Brown Walker Young De_La_Cruz Kim"


@dataclass(frozen=True)
class Customer:
    """A customer of the dealership; `known`: myKaarma has it, under `uuid`."""

    uuid: str
    key: str
    first: str
    last: str
    company: str = ""
    cell: str = ""
    home: str = ""
    vins: tuple[str, ...] = ()
    known: bool = True

    @property
    def phones(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.cell, self.home)))


@dataclass(frozen=True)
class Row:
    """A line of an export about `customer`; `last` differs where the export has an old name."""

    customer: Customer
    vin: str
    last: str
    #: Only with this phone: the export knows no other one.
    phones: tuple[str, ...] = ()
    with_key: bool = True


@dataclass
class Dealership:
    """All customers, and the rows that an export has."""

    customers: list[Customer] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def known(self) -> list[Customer]:
        return [one for one in self.customers if one.known]

    def add(self, *customers: Customer) -> None:
        """Adds customers with a row each."""
        self.customers += customers
        self.rows += [Row(one, one.vins[0] if one.vins else "", one.last, one.phones) for one in customers]

    def write(self, path: Path) -> None:
        """Writes the known customers as the sandbox reads them."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["customer_uuid", "customer_key", "first_name", "last_name", "company", "phones", "vins"]
            )
            for one in self.known:
                cells = (one.uuid, one.key, one.first, one.last, one.company)
                writer.writerow([*cells, ";".join(map(dashed, one.phones)), ";".join(one.vins)])


class Maker:
    """Makes people with different phones, VINs and numbers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._count = 0

    def phone(self) -> str:
        self._count += 1
        return f"312{200 + self._count // 10_000:03}{self._count % 10_000:04}"

    def vin(self, ending: str | None = None) -> str:
        self._count += 1
        letters = "".join(self.random.choices("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", k=9))
        return letters + (ending or f"KA{self._count:06}")

    def person(self, **values: object) -> Customer:
        self._count += 1
        made = Customer(
            uuid=f"mk-{self._count:06}",
            key=str(100 + self._count),
            first=self.random.choice(FIRST.split()),
            last=self.random.choice(LAST.split()).replace("_", " "),
            cell=self.phone(),
            home=self.phone() if self.random.random() < 0.4 else "",
            vins=(self.vin(),),
        )
        return replace(made, **values)  # type: ignore[arg-type]


def dealership(seed: int, size: int = 40) -> Dealership:
    """Customers of all kinds, and a row for nearly each."""
    make, found = Maker(seed), Dealership()
    found.add(*(make.person() for _ in range(size)))
    _namesakes(make, found)
    _families(make, found)
    _cars(make, found)
    _numbers(make, found)
    _companies(make, found)
    _changes(make, found)
    make.random.shuffle(found.rows)
    return found


def _namesakes(make: Maker, found: Dealership) -> None:
    for _ in range(3):
        one = make.person()
        found.add(one, make.person(first=one.first, last=one.last))
    # The export's one is unknown to myKaarma, which has only the namesake.
    one = make.person(known=False)
    found.add(one)
    found.customers.append(make.person(first=one.first, last=one.last))


def _families(make: Maker, found: Dealership) -> None:
    home, vin = make.phone(), make.vin()
    found.add(
        make.person(first="Ann", last="Walker", home=home),
        make.person(first="Bob", last="Walker", home=home),
        # Father and son, one name, one phone, one car.
        make.person(first="Henry", last="Young", cell="", home=make.phone(), vins=(vin,)),
    )
    found.add(replace(found.customers[-1], uuid="mk-son", key="90001"))
    # Only the wife is known to myKaarma, with the phone and the car that both have.
    wife = make.person(first="Rosa", last="Lopez")
    found.customers.append(wife)
    found.add(
        make.person(first="Luis", last="Lopez", cell=wife.cell, home="", vins=wife.vins, known=False),
        # A stepson with another name.
        make.person(first="Jack", last="Kim", cell=wife.cell, home="", vins=wife.vins, known=False),
    )


def _cars(make: Maker, found: Dealership) -> None:
    # Sold: the earlier owner still has it in myKaarma.
    vin = make.vin()
    found.customers.append(make.person(vins=(vin,)))
    found.add(make.person(vins=(vin,)))
    # The buyer is not known there.
    vin = make.vin()
    found.customers.append(make.person(last="Brown", vins=(vin,)))
    found.add(make.person(last="Nguyen", vins=(vin,), known=False))
    # Two cars with the same last 8 characters.
    one = make.vin()
    found.add(make.person(vins=(one,)), make.person(vins=(make.vin(one[-8:]),)))


def _numbers(make: Maker, found: Dealership) -> None:
    found.add(*(make.person(key=key) for key in ("7", "77", "777", "7777", "17", "70017")))
    # The number is that of another customer in myKaarma: the export is from another store.
    stranger = make.person(key="5150", first="Mia", last="Kim")
    found.customers.append(stranger)
    found.add(make.person(key="5150", first="Paul", last="Brown", known=False))


def _companies(make: Maker, found: Dealership) -> None:
    for name in ("Acme Plumbing LLC", "24 Hour Towing, Inc."):
        found.add(make.person(first="", last="", company=name))


def _changes(make: Maker, found: Dealership) -> None:
    # A new last name, and a phone that now belongs to somebody else.
    renamed = make.person(first="Tina", last="Brown")
    found.customers.append(renamed)
    found.rows.append(Row(renamed, renamed.vins[0], "Young", renamed.phones))
    moved = make.person(known=False)
    found.customers.append(make.person(first="Olga", last="Kim", cell=moved.cell))
    found.customers.append(moved)
    found.rows.append(Row(moved, moved.vins[0], "Jones", (moved.cell,)))
    # Without a number, as an appointment by phone.
    walk_in = make.person()
    found.customers.append(walk_in)
    found.rows.append(Row(walk_in, "", walk_in.last, walk_in.phones, with_key=False))


# --- how cells are written


def dashed(phone: str) -> str:
    return f"({phone[:3]}) {phone[3:6]}-{phone[6:]}" if phone else ""


def dotted(phone: str) -> str:
    return f"{phone[:3]}.{phone[3:6]}.{phone[6:]}" if phone else ""


def e164(phone: str) -> str:
    return f"+1{phone}" if phone else ""


def plain(text: str) -> str:
    return text


def _cell(row: Row) -> str:
    return row.phones[0] if row.phones and row.phones[0] == row.customer.cell else ""


def _home(row: Row) -> str:
    return row.customer.home if row.customer.home in row.phones else ""


def _last_first(row: Row) -> str:
    return row.customer.company or f"{row.last}, {row.customer.first}"


def _first_last(row: Row) -> str:
    return row.customer.company or f"{row.customer.first} {row.last}"


#: What a column of an export can hold.
CELLS: dict[str, Callable[[Row], str]] = {
    "key": lambda row: row.customer.key if row.with_key else "",
    "key0": lambda row: row.customer.key if row.with_key else "0",
    "first": lambda row: row.customer.first,
    "last": lambda row: row.last,
    "last_or_company": lambda row: row.last or row.customer.company,
    "company": lambda row: row.customer.company,
    "last_first": _last_first,
    "LAST_FIRST": lambda row: _last_first(row).upper(),
    "LAST FIRST": lambda row: (row.customer.company or f"{row.last} {row.customer.first}").upper(),
    "first_last": _first_last,
    "cell": _cell,
    "home": _home,
    "any_phone": lambda row: row.phones[0] if row.phones else "",
    "work": lambda _: "",
    "fax": lambda _: "3125559999",
    "vin": lambda row: row.vin,
    "vin8": lambda row: row.vin[-8:],
    "advisor_phone": lambda _: "3125550100",
    "year": lambda _: "2019",
    "model": lambda _: "CR-V",
    "ro": lambda row: f"6{row.customer.key}",
    "date": lambda _: "03/05/2026",
    "yes": lambda _: "Y",
}


@dataclass(frozen=True)
class Layout:
    """How one system exports: `columns` are (header, name in `CELLS`)."""

    name: str
    columns: Sequence[tuple[str, str]]
    phone: Callable[[str], str] = plain
    ending: str = ".csv"
    delimiter: str = ","
    encoding: str = "utf-8"

    def shows(self, *names: str) -> bool:
        return any(name in names for _, name in self.columns)

    def shows_name(self) -> bool:
        names = ("last", "last_or_company", "last_first", "LAST_FIRST", "LAST FIRST", "first_last")
        return self.shows(*names)

    def tests(self, row: Row) -> Iterator[Callable[[Customer], bool]]:
        """For each identifier that the row shows, the most telling first: whether a customer has it."""
        cells = {name: CELLS[name](row) for _, name in self.columns}
        key = cells.get("key") or cells.get("key0", "").strip("0")
        if key:
            yield lambda other: other.key == key
        if vin := cells.get("vin") or cells.get("vin8"):
            yield lambda other: any(one.endswith(vin) for one in other.vins)
        for phone in filter(None, (cells.get("cell"), cells.get("home"), cells.get("any_phone"))):
            yield lambda other, phone=phone: phone in other.phones  # type: ignore[misc]

    def is_sure(self, row: Row) -> bool:
        """Whether the row shows enough that no relative or earlier owner fits it as well."""
        cells = {name: CELLS[name](row) for _, name in self.columns}
        key = bool(cells.get("key") or cells.get("key0", "").strip("0"))
        vin = bool(cells.get("vin") or cells.get("vin8"))
        phone = bool(cells.get("cell") or cells.get("home") or cells.get("any_phone"))
        whole_name = self.shows("last_first", "LAST_FIRST", "LAST FIRST", "first_last") or bool(
            row.customer.company if self.shows("company", "last_or_company") else cells.get("first")
        )
        last_name = whole_name or self.shows_name()
        return whole_name or [key, vin, phone].count(True) > 1 or ((key or phone) and last_name)

    def filled(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are not blank in this layout."""
        return [row for row in rows if any(self._cells(row))]

    def write(self, folder: Path, rows: Sequence[Row]) -> Path:
        """Writes the export."""
        lines = [[header for header, _ in self.columns], *(list(self._cells(row)) for row in rows)]
        path = folder / f"{self.name}{self.ending}"
        if self.ending == ".xlsx":
            book = Workbook()
            for line in lines:
                book.worksheets[0].append(line)
            book.save(path)
        else:
            with path.open("w", encoding=self.encoding, newline="") as file:
                csv.writer(file, delimiter=self.delimiter).writerows(lines)
        return path

    def _cells(self, row: Row) -> Iterator[str]:
        for _, name in self.columns:
            cell = CELLS[name](row)
            yield self.phone(cell) if name in ("cell", "home", "any_phone") else cell


_OPTIONS: dict[str, dict[str, Any]] = {
    "csv": {},
    ".xlsx": {"ending": ".xlsx"},
    "pipe": {"delimiter": "|"},
    "semicolon": {"delimiter": ";"},
    "tab": {"delimiter": "\t"},
    "cp1252": {"encoding": "cp1252"},
    "utf-16": {"encoding": "utf-16"},
    "dashed": {"phone": dashed},
    "dotted": {"phone": dotted},
    "e164": {"phone": e164},
}


def _layout(line: str) -> Layout:
    """Reads `cdk-pipe (pipe, dashed): Cust No=key | VIN=vin`."""
    name, options, columns = re.fullmatch(r"(\S+) \((.*?)\): (.*)", line).groups()  # type: ignore[union-attr]
    values = {key: value for option in options.split(", ") for key, value in _OPTIONS[option].items()}
    pairs = [tuple(map(str.strip, one.rsplit("=", 1))) for one in columns.split(" | ")]
    return Layout(name, pairs, **values)


_TABLE = Path(__file__).with_name("dms_layouts.txt").read_text(encoding="utf-8")
LAYOUTS = [_layout(line) for line in _TABLE.splitlines() if not line.startswith("#")]


def resolvable(layout: Layout, row: Row, people: Dealership) -> bool:
    """Whether the cells that a layout shows lead to the row's customer and nobody else, by the truth.

    The row must show enough to be sure. The first of number, VIN and phone that anybody in myKaarma has must be that
    customer's alone, and the names must be those that myKaarma has.
    """
    one = row.customer
    if not one.known or not layout.is_sure(row) or (row.last != one.last and layout.shows_name()):
        return False
    for has in layout.tests(row):
        holders = [other for other in people.known if has(other)]
        if holders:
            return holders == [one]
    return False
