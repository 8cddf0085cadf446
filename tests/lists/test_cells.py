"""The text of stored values."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.lists.cells import CellValue, clean, cleaner, text_of
from batchsend.lists.damage import is_damaged


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Ann \t\r\n", "Ann"),
        ("\u00a0Ann\u00a0Lee\u00a0", "Ann Lee"),  # NBSP is removed at the ends, and becomes a space inside
        ("\u200bAnn\u200d\ufeff", "Ann"),  # zero-width characters from web pages
        # Direction marks around phones from contact programs.
        ("\u202a+1 312 555 0142\u202c", "+1 312 555 0142"),
        ("\u200b \u00a0\u200b", ""),  # nothing visible
        ("a\u200bb", "a\u200bb"),  # inside a text they may have a meaning
        ("🧑\u200d🔧", "🧑\u200d🔧"),
        ("NA", "NA"),
        ("007", "007"),
        ("'007", "'007"),
        (' ="02134" ', "02134"),  # text that an export protects from Excel
        ('=""', ""),
        ('="say ""hi"""', 'say "hi"'),
        ('="\u00a0Zoë"', "Zoë"),
        ('="a"&"b"', '="a"&"b"'),  # real formulas stay as they are
        ('=HYPERLINK("x")', '=HYPERLINK("x")'),
        ("O&#39;Brien &amp; Sons", "O'Brien & Sons"),  # HTML codes
        ("O&amp;#39;Brien", "O'Brien"),  # written twice
        ("Jos&eacute; &#x4e2d;", "José 中"),
        ("&nbsp;Ann&nbsp;", "Ann"),
        ("AT&T; Q&A", "AT&T; Q&A"),  # no codes
        ("https://x.com/?a=1&copy=2", "https://x.com/?a=1&copy=2"),
        ("&#1114112;", "\ufffd"),  # no character
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert text_of(text) == cleaned


@given(
    cells=st.lists(
        st.lists(st.sampled_from([*' ="&;#39aé\u00a0\t', "&amp;", "&#39;", '="', "nbsp"]), max_size=6).map(
            "".join
        ),
        max_size=4,
    )
)
def test_the_faster_function_cleans_cells_in_the_same_way(cells: list[str]) -> None:
    assert list(map(cleaner(",".join(cells)), cells)) == list(map(clean, cells))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  007 ", "007"),  # text stays text
        (2125550123.0, "2125550123"),  # a phone number typed into Excel
        (2125550123, "2125550123"),
        (-5.0, "-5"),
        (0.0, "0"),
        (999999999999999.0, "999999999999999"),  # fifteen digits are what Excel keeps
        (1e15, "1E+15"),  # larger numbers lost digits, and show it
        (123456789012345680.0, "1.23456789012346E+17"),
        (0.1 + 0.2, "0.3"),  # as short as fifteen digits allow
        (19.99, "19.99"),
        (1e-07, "0.0000001"),  # a small number is not damaged
        (float("inf"), "#NUM!"),
        (float("nan"), "#NUM!"),
        (True, "TRUE"),
        (False, "FALSE"),
        (dt.date(2026, 3, 1), "2026-03-01"),
        (dt.datetime(2026, 3, 1, 9, 30), "2026-03-01 09:30:00"),  # noqa: DTZ001
        (dt.datetime(2026, 3, 1, 9, 29, 59, 999_600), "2026-03-01 09:30:00"),  # noqa: DTZ001 fractions of a day
        (dt.datetime(2026, 3, 1, 23, 59, 59, 999_600), "2026-03-02"),  # noqa: DTZ001
        (dt.time(9, 30), "09:30:00"),
        (dt.timedelta(hours=30), "30:00:00"),
        (dt.timedelta(minutes=-5), "-00:05:00"),
    ],
)
def test_text_of(value: CellValue, text: str) -> None:
    assert text_of(value) == text


def test_numbers_that_lost_digits_are_damaged_and_others_are_not() -> None:
    assert is_damaged(text_of(1.5551e17))
    assert not is_damaged(text_of(1e-9))


def test_a_nul_is_a_lost_character() -> None:
    assert [clean("a\0b"), cleaner("a\0b")("a\0b")] == ["a\ufffdb"] * 2
