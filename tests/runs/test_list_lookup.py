"""Exports of dealer management systems become lists with myKaarma ids, against a sandbox that holds the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from dms_lists import LAYOUTS, Dealership, Layout, dealership, resolvable
from openpyxl import Workbook
from world import PASSWORD, USERNAME, read_results, running_sandbox

from batchsend.campaigns.tables import Lookup
from batchsend.errors import ListError
from batchsend.lists.customer_list import open_list
from batchsend.mykaarma.customer_search import Candidate
from batchsend.planning.customer_match import Match, Verdict
from batchsend.runs import runner
from batchsend.runs.api import load_campaign, prepare
from batchsend.runs.list_lookup import LookupReport, _safe, added_cells, look_up_list
from batchsend.runs.lookup_target import of_list

#: Share of the resolvable rows that must be found.
NEEDED = 0.98
#: Layouts that show too little to be sure: the number alone, and a last name with a car.
UNSURE = ("dealertrack-key-only", "reynolds-vin-only")


@pytest.fixture(scope="module")
def people() -> Dealership:
    return dealership(7)


@pytest.fixture(scope="module")
def base_url(people: Dealership, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sandbox")
    people.write(folder / "truth.csv")
    with running_sandbox(folder, "--customers", "truth.csv") as sandbox:
        yield sandbox.base_url


@pytest.fixture(autouse=True)
def _settings(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYKAARMA_BASE_URL", base_url)
    monkeypatch.setenv("MYKAARMA_USERNAME", USERNAME)
    monkeypatch.setenv("MYKAARMA_PASSWORD", PASSWORD)


def looked_up(layout: Layout, people: Dealership, folder: Path) -> list[dict[str, str]]:
    """The rows of the new list."""
    rows = layout.filled(people.rows)
    export = layout.write(folder, rows)
    target = of_list(export, Lookup(), department="department", region="US", rate=5000)
    report = look_up_list(
        target.lookup, folder / "found.csv", target.reader(), target.pace, None, lambda _: None
    )
    assert (report.problem, report.unknown, report.rows) == (None, 0, len(rows))
    [chunk] = open_list(folder / "found.csv").chunks()
    return chunk.frame.to_dict("records")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_an_export_gets_the_right_ids_and_no_wrong_one(
    layout: Layout, people: Dealership, tmp_path: Path
) -> None:
    found, rows = looked_up(layout, people, tmp_path), layout.filled(people.rows)
    known = {one.uuid: one for one in people.known}
    others = [
        (row, known[cells["customer_uuid"]])
        for row, cells in zip(rows, found, strict=True)
        if cells["customer_uuid"] and known[cells["customer_uuid"]] is not row.customer
    ]
    assert others == []
    expected = [resolvable(layout, row, people) for row in rows]
    right = [bool(cells["customer_uuid"]) for cells in found]
    missed = [
        (row, cells)
        for row, cells, can_be, is_right in zip(rows, found, expected, right, strict=True)
        if can_be and not is_right
    ]
    assert len(missed) <= (1 - NEEDED) * sum(expected), missed
    assert (sum(expected) > 25) is (layout.name not in UNSURE)
    assert set(Counter(cells["match"] for cells in found)) <= {"one", "several", "none", "differs"}


def look_up(path: Path, out: Path) -> LookupReport:
    target = of_list(path, Lookup(), department="department", region="US", rate=5000)
    return look_up_list(target.lookup, out, target.reader(), target.pace, None, lambda _: None)


def test_hidden_rows_stay_in_the_new_list_without_an_id(people: Dealership, tmp_path: Path) -> None:
    one = next(customer for customer in people.known if customer.last and customer.vins)
    book = Workbook()
    sheet = book.worksheets[0]
    for line in (
        ["Cust No", "Last Name", "customer_uuid"],
        [one.key, one.last, ""],
        [one.key, one.last, "u-old"],
    ):
        sheet.append(line)
    sheet.row_dimensions[3].hidden = True
    book.save(tmp_path / "list.xlsx")
    report = look_up(tmp_path / "list.xlsx", tmp_path / "found.xlsx")
    assert (report.rows, report.hidden) == (1, 1)
    [chunk] = open_list(tmp_path / "found.xlsx").chunks()
    assert chunk.frame["customer_uuid"].tolist() == [one.uuid, ""]
    assert chunk.frame["found_uuids"].tolist() == [one.uuid, "u-old"]
    assert "hides this row" in chunk.frame["match_note"].tolist()[1]


def test_what_a_look_up_wrote_proves_nothing_in_the_next_one(people: Dealership, tmp_path: Path) -> None:
    unsure = [one for one in people.known if one.key and one.phones][:20]
    lines = "".join(f"{one.key},,\n" for one in unsure)
    (tmp_path / "0.csv").write_text(f"Cust No,Last Name,Cell\n{lines}", encoding="utf-8")
    written = []
    for number in range(4):
        report = look_up(tmp_path / f"{number}.csv", tmp_path / f"{number + 1}.csv")
        assert report.matches[Match.ONE] == 0
        written.append((tmp_path / f"{number + 1}.csv").read_bytes())
    assert len(set(written)) == 1
    [chunk] = open_list(tmp_path / "4.csv").chunks()
    assert any(chunk.frame["found_phones"])


def test_a_column_of_the_list_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("Cust No,Match\n7,blue\n", encoding="utf-8")
    with pytest.raises(ListError, match='has a column "Match", which a look-up adds too'):
        look_up(tmp_path / "list.csv", tmp_path / "found.csv")


def test_a_name_from_mykaarma_is_no_formula_in_a_csv_file() -> None:
    customer = Candidate("u-1", first_name='=HYPERLINK("x")', last_name="Smith")
    [row] = _safe(iter([["=own", *added_cells(Verdict(Match.ONE, customer))]]))
    assert row[:2] == ["=own", "u-1"]
    assert row[4] == '\'=HYPERLINK("x") Smith'


CAMPAIGN = """
name = "Recall"
list = "unused.csv"
template = "text.txt.j2"
department_uuid = "department"
user_uuid = "user"
timezone = "America/Chicago"
[sending]
rate = 1000
"""


@pytest.mark.system
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_new_list_is_rehearsed_as_it_is(layout: Layout, people: Dealership, tmp_path: Path) -> None:
    found = looked_up(layout, people, tmp_path)
    (tmp_path / "recall.toml").write_text(CAMPAIGN, encoding="utf-8")
    (tmp_path / "text.txt.j2").write_text("Your car has an open recall.", encoding="utf-8")
    campaign = load_campaign(tmp_path / "recall.toml").with_overrides(list=tmp_path / "found.csv")
    report = runner.rehearse(prepare(campaign), confirm=lambda _: True, listener=lambda _: None)
    rows = read_results(tmp_path / "results" / "recall-rehearsal.xlsx")
    assert [values["customerUUID"] or "" for values in rows.values()] == [
        one["customer_uuid"] for one in found
    ]
    # A customer with two rows, or two customers with one phone, get one text.
    sent = {values["customerUUID"] for values in rows.values() if values["status"] == "accepted"}
    skipped = {values["errorCodes"] for values in rows.values() if values["status"] == "skipped"}
    assert report.ending is None
    assert (len(sent) > 25) is (layout.name not in UNSURE)
    assert skipped <= {"DUPLICATE", "DUPLICATE_PHONE"}
