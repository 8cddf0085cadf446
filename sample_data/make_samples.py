"""Makes the sample lists in this folder: `make samples`, or `python sample_data/make_samples.py [FOLDER]`.

The people are made up: the phone numbers are 555-01xx, which are reserved for fiction, and the email addresses end
in `example.com`. The same seed makes the same files.
"""

from __future__ import annotations

import base64
import csv
import io
import re
import sys
import zipfile
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from openpyxl import Workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

Cell = str | int | float | bool | date | datetime | None

SEED = 20260301
SPRING_ROWS = 500
RECALL_ROWS = 120
#: The name in this row has a comma without quotes in the CSV file, which shifts the other cells to the right.
UNQUOTED = 355
#: The advisor in this row is a failed formula in the workbook.
FAILED_FORMULA = 355
#: An empty row follows this one in both files.
EMPTY_AFTER = 379

# Around Chicago; each has a hundred numbers for fiction.
AREA_CODES = ("312", "773", "847", "630", "708", "224", "331", "815", "872", "219", "262", "414")
PHONE_SPELLINGS = (
    "({0}) {1}-{2}",
    "({0}) {1}-{2}",
    "{0}-{1}-{2}",
    "{0}-{1}-{2}",
    "{0}.{1}.{2}",
    "{0}{1}{2}",
    "{0} {1} {2}",
    "1-{0}-{1}-{2}",
    "+1 {0} {1} {2}",
    "+1{0}{1}{2}",
    "({0}){1}-{2}",
)
FIRST_NAMES = """
    JAMES MARIA ROBERT LINDA MICHAEL PATRICIA DAVID BARBARA WILLIAM ELIZABETH RICHARD JENNIFER JOSEPH SUSAN
    THOMAS KAREN CARLOS GUADALUPE DANIEL NANCY MATTHEW LISA ANTHONY BETTY MARK SANDRA DONALD ASHLEY STEVEN
    EMILY ANDREW DONNA PAUL MICHELLE JOSHUA CAROL KENNETH AMANDA KEVIN MELISSA BRIAN DEBORAH GEORGE STEPHANIE
    TIMOTHY REBECCA RONALD LAURA JASON HELEN EDWARD CYNTHIA JEFFREY AMY RYAN ANGELA JACOB ANNA GARY RUTH
    NICHOLAS BRENDA ERIC PAMELA JONATHAN NICOLE PRIYA WEI MOHAMMED OLUWASEUN MIN-JUN SVETLANA THUY
    GIUSEPPE AALIYAH
"""
LAST_NAMES = """
    SMITH JOHNSON WILLIAMS BROWN JONES GARCIA MILLER DAVIS RODRIGUEZ MARTINEZ HERNANDEZ LOPEZ GONZALEZ WILSON
    ANDERSON THOMAS TAYLOR MOORE JACKSON MARTIN LEE PEREZ THOMPSON WHITE HARRIS SANCHEZ CLARK RAMIREZ LEWIS
    ROBINSON WALKER YOUNG ALLEN KING WRIGHT SCOTT TORRES NGUYEN HILL FLORES GREEN ADAMS NELSON BAKER HALL
    RIVERA CAMPBELL MITCHELL CARTER KOWALSKI NOVAK PATEL OKAFOR YAMAMOTO SCHMIDT KIM O'BRIEN O'CONNOR
    DE_LA_CRUZ MCDONALD MCCARTHY MACDONALD VAN_DYKE SMITH-JONES DI_NAPOLI ST._CLAIR
"""
MAKES = ("HONDA",) * 9 + ("TOYOTA", "FORD", "ACURA")
MODELS = {
    "HONDA": ("CR-V", "CR-V", "Civic", "Civic", "Accord", "Pilot", "Odyssey", "HR-V", "Ridgeline"),
    "TOYOTA": ("RAV4", "Camry"),
    "FORD": ("F-150", "Escape"),
    "ACURA": ("MDX", "TLX"),
}
MAKERS = {"HONDA": "1HG", "TOYOTA": "4T1", "FORD": "1FT", "ACURA": "19U"}
ADVISORS = ("DANA", "MARCUS", "Beth", "LUIS", "TERRENCE")
VIN_CHARACTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
YES = ("Y", "Y", "Y", "Y", "Yes", "YES", "y")


@dataclass(frozen=True)
class Customer:
    """One row of the service export."""

    customer_id: str
    first_name: str
    last_name: str
    mobile: str
    year: int
    make: str
    model: str
    vin: str
    last_service: date
    mileage: int
    advisor: str
    ok_to_text: str
    language: str
    gave_email: bool

    @property
    def email(self) -> str:
        name = f"{self.first_name}.{self.last_name}".lower()
        return re.sub(r"[^a-z.-]", "", name) + "@example.com" if self.gave_email else ""


SPRING_HEADER = (
    "Customer ID",
    "First Name",
    "Last Name",
    "Mobile",
    "Email",
    "Vehicle Year",
    "Make",
    "Model",
    "VIN",
    "Last Service",
    "Mileage",
    "Advisor",
    "OK to Text",
    "Language",
)
RECALL_HEADER = (
    "Customer GUID",
    "First Name",
    "Last Name",
    "Cell Phone",
    "VIN",
    "Model Year",
    "Model",
    "Recall",
    "Parts Available",
    "Repair Hours",
    "Loaner",
    "Text OK",
)


class Dealership:
    """Makes up customers, each with their own id, phone and car."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._first_names = FIRST_NAMES.split()
        self._last_names = [name.replace("_", " ") for name in LAST_NAMES.split()]
        self._phones = [(area, number) for area in AREA_CODES for number in range(100, 200)]
        self._random.shuffle(self._phones)

    def customer(self, make: str | None = None) -> Customer:
        random = self._random
        make = make or random.choice(MAKES)
        first_name, last_name = random.choice(self._first_names), random.choice(self._last_names)
        # Some customers were typed in by hand.
        if random.random() < 0.08:
            first_name, last_name = first_name.title(), last_name.title()
        year = random.randrange(2011, 2025)
        spanish = last_name.upper().endswith("EZ") and random.random() < 0.4
        return Customer(
            customer_id=self.customer_id(),
            first_name=first_name,
            last_name=last_name,
            mobile=self.phone(),
            year=year,
            make=make,
            model=random.choice(MODELS[make]),
            vin=self.vin(make),
            last_service=date(2025, 4, 1) + timedelta(days=random.randrange(300)),
            mileage=(2026 - year) * 11_000 + random.randrange(9_000),
            advisor=random.choice(ADVISORS),
            ok_to_text=random.choice(YES),
            language="Spanish" if spanish else "English",
            gave_email=random.random() < 0.85,
        )

    def customer_id(self) -> str:
        """An opaque id, as in myKaarma; some older ones are hexadecimal."""
        digest = self._random.randbytes(32)
        if self._random.random() < 0.08:
            return digest.hex()
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")

    def phone(self) -> str:
        area, number = self._phones.pop()
        return self._random.choice(PHONE_SPELLINGS).format(area, "555", f"0{number}")

    def vin(self, make: str) -> str:
        serial = self._random.randrange(10**6)
        return MAKERS[make] + "".join(self._random.choices(VIN_CHARACTERS, k=8)) + f"{serial:06}"


def spring_customers(dealership: Dealership) -> list[Customer]:
    """The list of the spring campaign, with the problems of real lists. Positions count from 0."""
    rows = [dealership.customer() for _ in range(SPRING_ROWS)]

    def change(position: int, **values: Any) -> None:
        rows[position] = replace(rows[position], **values)

    # Names that cause trouble in software.
    change(3, first_name="SEAN", last_name="O'BRIEN")
    change(9, first_name="JENNIFER", last_name="Null")
    change(17, first_name="NA", last_name="LI")
    change(26, first_name="D’ANDRE", last_name="WASHINGTON")
    change(33, first_name="BEGOÑA", last_name="MUÑOZ", language="Spanish")
    change(41, first_name="LUCÍA", last_name="DE LA CRUZ", language="Spanish")
    change(48, first_name="JOHN PAUL", last_name="MCDONALD III")
    change(55, first_name="", last_name="RIVERSIDE LANDSCAPING LLC")
    change(62, mobile="")
    change(70, model="", make="")

    # To skip: no consent ...
    for position, answer in zip(range(75, 460, 33), ("N", "No", "", "N", "no", "?") * 2, strict=True):
        change(position, ok_to_text=answer)
    # ... the same customer twice (exported twice, or with a second car), and households with one phone.
    rows[121] = rows[88]
    rows[233] = replace(rows[190], vin=dealership.vin("HONDA"), make="HONDA", model="Odyssey", year=2022)
    rows[305] = rows[301]
    change(147, mobile=rows[146].mobile, last_name=rows[146].last_name)
    change(262, mobile=rows[200].mobile, last_name=rows[200].last_name)
    change(391, mobile=rows[390].mobile, last_name=rows[390].last_name)

    # Bad rows.
    change(99, customer_id="")
    change(156, customer_id="WALK-IN 4471")
    change(171, mobile="555-0142")
    change(214, mobile="NO PHONE")
    change(276, mobile="(312) 555-01")
    change(320, mobile="3.12555E+09")
    change(UNQUOTED, last_name="WALKER, JR")
    change(402, advisor="")

    # Customers who get an error from the sandbox.
    change(60, customer_id="sandbox-opted-out-0001")
    change(250, customer_id="sandbox-invalid-number-0001")
    change(430, customer_id="sandbox-500-0001")
    return rows


def spring_cells(customer: Customer) -> list[Cell]:
    return [
        customer.customer_id,
        customer.first_name,
        customer.last_name,
        customer.mobile,
        customer.email,
        customer.year,
        customer.make,
        customer.model,
        customer.vin,
        customer.last_service,
        customer.mileage,
        customer.advisor,
        customer.ok_to_text,
        customer.language,
    ]


def spring_csv(customers: list[Customer]) -> str:
    """The list as a dealer management system exports it: US dates, thousands separators, Windows line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(SPRING_HEADER)
    for position, customer in enumerate(customers):
        cells = spring_cells(customer)
        cells[9] = customer.last_service.strftime("%m/%d/%Y")
        cells[10] = f"{customer.mileage:,}"
        if position == UNQUOTED:
            cells[2:3] = customer.last_name.split(",")
        writer.writerow(cells)
        if position == EMPTY_AFTER:
            writer.writerow([""] * len(SPRING_HEADER))
    return text.getvalue()


def spring_workbook(customers: list[Customer]) -> list[list[Cell]]:
    """The same list as a workbook: the header and the rows."""
    rows: list[list[Cell]] = [list(SPRING_HEADER)]
    for position, customer in enumerate(customers):
        cells = [as_excel_stores_it(cell) for cell in spring_cells(customer)]
        if position == FAILED_FORMULA:
            cells[11] = "#N/A"
        rows.append(cells)
        if position == EMPTY_AFTER:
            rows.append([])
    return rows


def recall_workbook(dealership: Dealership) -> list[list[Cell]]:
    """The list of the recall campaign: a workbook made by hand, with a customer who has two cars."""
    random = Random(SEED + 1)
    customers = [dealership.customer("HONDA") for _ in range(RECALL_ROWS)]
    customers[31] = replace(customers[30], vin=dealership.vin("HONDA"))
    customers[44] = replace(customers[44], first_name="Null")
    customers[58] = replace(customers[58], mobile="312555014")
    customers[73] = replace(customers[73], ok_to_text="N")
    customers[90] = replace(customers[90], customer_id="sandbox-invalid-number-0002")
    rows: list[list[Cell]] = [
        [
            customer.customer_id,
            customer.first_name.title(),
            customer.last_name.title(),
            as_excel_stores_it(customer.mobile),
            customer.vin,
            customer.year,
            customer.model,
            random.choice(("Fuel pump", "Fuel pump", "Rear view camera")),
            date(2026, 3, 2) + timedelta(days=7 * random.randrange(4)),
            random.choice((1, 1.5, 2.5)),
            random.random() < 0.3,
            "N" if customer.ok_to_text == "N" else "Y",
        ]
        for customer in customers
    ]
    rows[99][8] = "#N/A"
    return [list(RECALL_HEADER), *rows]


def opt_outs_csv(dealership: Dealership, customers: list[Customer]) -> str:
    """Opt-outs by customer id and by phone, including people who are not on the list."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["Customer UUID", "Phone", "Opted Out"])
    for position in (12, 110, 205, 340, 460):
        writer.writerow([customers[position].customer_id, "", "02/11/2026"])
    for position in (24, 180, 289, 415):
        digits = re.sub(r"\D", "", customers[position].mobile)[-10:]
        writer.writerow(["", f"+1{digits}", "01/27/2026"])
    for _ in range(6):
        writer.writerow([dealership.customer_id(), dealership.phone(), "11/05/2025"])
    return text.getvalue()


def as_excel_stores_it(cell: Cell) -> Cell:
    """A cell as Excel stores it: digits alone become a number, and blank cells are left out."""
    if isinstance(cell, str):
        return int(cell) if cell.isdecimal() else cell or None
    return cell


def workbook_bytes(title: str, rows: list[list[Cell]]) -> bytes:
    """An .xlsx with these rows; its bytes do not depend on the time."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None  # noqa: S101 - a new workbook has a sheet
    sheet.title = title
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row, start=1):
            if value is not None:
                sheet.cell(number, column, value)
    for column, _ in enumerate(rows[0], start=1):
        sheet.cell(1, column).font = Font(bold=True)
        width = max(len(str(row[column - 1])) for row in rows if len(row) >= column)
        sheet.column_dimensions[get_column_letter(column)].width = min(width, 30) + 2
    sheet.freeze_panes = "A2"

    saved, fixed = io.BytesIO(), io.BytesIO()
    workbook.save(saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2026-03-01T09:00:00Z", content)
            entry = zipfile.ZipInfo(name, (2026, 3, 1, 9, 0, 0))
            target.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return fixed.getvalue()


def make_samples(folder: Path) -> None:
    """Writes all sample lists into `folder`."""
    dealership = Dealership(SEED)
    customers = spring_customers(dealership)
    # With a BOM, so that Excel reads the file as UTF-8.
    (folder / "spring_service.csv").write_bytes(spring_csv(customers).encode("utf-8-sig"))
    (folder / "opt_outs.csv").write_bytes(opt_outs_csv(dealership, customers).encode("utf-8"))
    (folder / "spring_service.xlsx").write_bytes(workbook_bytes("Service due", spring_workbook(customers)))
    (folder / "recall_notice.xlsx").write_bytes(workbook_bytes("Open recalls", recall_workbook(dealership)))


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
