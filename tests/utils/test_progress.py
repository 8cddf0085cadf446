"""How far a long step has come: nested steps report to one listener, and never backwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbooks import new_workbook

from batchsend.lists.customer_list import open_list
from batchsend.utils.progress import counted, listening, report, step

parts = st.floats(0, 1)


def test_without_a_listener_nothing_happens() -> None:
    report(1, 2)
    items = iter([1, 2])
    assert counted(items, 2) is items
    with step(0.2, 0.4):
        report(1, 2)


def test_a_step_is_a_part_of_the_step_around_it() -> None:
    heard: list[float] = []
    with listening(heard.append):
        report(1, 4)
        with step(0.5, 1.0), step(0.0, 0.5):
            report(1, 2)
        report(0, 0)  # an empty list
    assert heard == [0.25, 0.5, 0.5, 0.625, 0.75, 1.0]


@given(st.lists(st.tuples(parts, parts).map(sorted), max_size=4), st.integers(0, 20), st.integers(1, 10))
def test_a_report_stays_within_all_steps(steps: list[list[float]], done: int, total: int) -> None:
    heard: list[float] = []

    def enter(depth: int) -> None:
        if depth == len(steps):
            report(done, total)
            return
        with step(*steps[depth]):
            enter(depth + 1)

    with listening(heard.append):
        enter(0)
    assert all(0 <= part <= 1 for part in heard)
    begin, end = steps[0] if steps else (0, 1)
    assert all(begin - 1e-9 <= part <= end + 1e-9 for part in heard)


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_reading_a_list_reports_how_much_is_read(tmp_path: Path, name: str) -> None:
    rows = [["Name", "City"], *([f"customer {number}", "Chicago"] for number in range(3000))]
    if name.endswith(".csv"):
        (tmp_path / name).write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    else:
        new_workbook(rows)[0].save(tmp_path / name)
    heard: list[float] = []
    with listening(heard.append):
        open_list(tmp_path / name)
    assert heard == sorted(heard)
    assert len(set(heard)) > 5
    assert heard[-1] == 1.0
