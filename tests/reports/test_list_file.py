"""Rows of a run as a list again."""

from __future__ import annotations

from pathlib import Path

import pytest
from held_files import open_in_excel
from hypothesis import given, settings
from hypothesis import strategies as st
from lists import rows_of

from batchsend.errors import ResultsError
from batchsend.lists.cells import clean
from batchsend.lists.customer_list import open_list
from batchsend.reports import list_file as results_list

CELLS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=10) | st.sampled_from(
    ["=1+1", "+1 312 555 0142", "-x", "@x", "007", "1.5E+10", "'", '"', "a\nb", "a,b;c"]
)


@pytest.mark.parametrize("ending", [".xlsx", ".csv"])
@settings(max_examples=40)
@given(table=st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_cells_come_back_as_they_were_read(tmp_path: Path, ending: str, table: list[tuple[str, str]]) -> None:
    rows = [["first", "x"], *([clean(cell) for cell in row] for row in table)]
    path = results_list.write_list(tmp_path / f"list{ending}", ("Name, first", "Note"), iter(rows))
    found = open_list(path)
    assert found.headers == ("Name, first", "Note")
    assert rows_of(found) == {number: row for number, row in enumerate(rows, 2) if any(row)}


def test_more_rows_than_a_sheet_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_list, "MAX_SHEET_ROWS", 3)
    rows = [["a"], ["b"], ["c"]]
    with pytest.raises(ResultsError, match=r"more than 3 rows, which only a .csv can hold"):
        results_list.write_list(tmp_path / "list.xlsx", ["A"], iter(rows))
    assert not list(tmp_path.iterdir())
    assert rows_of(open_list(results_list.write_list(tmp_path / "list.csv", ["A"], iter(rows)))) == {
        2: ["a"],
        3: ["b"],
        4: ["c"],
    }


def test_exported_opt_outs_that_are_open_in_excel_are_not_taken_for_another_file(tmp_path: Path) -> None:
    path = results_list.write_opt_outs(tmp_path / "opt-outs.xlsx", [])
    with open_in_excel(path), pytest.raises(ResultsError, match="Close other programs that have it open"):
        results_list.write_opt_outs(path, [])
    assert results_list.write_opt_outs(path, []) == path
