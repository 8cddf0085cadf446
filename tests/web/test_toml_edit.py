"""A form changes single keys of a campaign file; everything else stays, with its comments and its order."""

from __future__ import annotations

import tomllib
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.errors import BatchsendError
from batchsend.web.toml_edit import edited

SECTIONS = ("recipients", "message", "sending", "guards", "schedule")
KEYS = ("one", "two", "three")
values = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.sampled_from(["", "10:00", 'say "hi"', "# no comment", "é"]),
    st.lists(st.sampled_from(["a", "b, c"]), max_size=2),
    st.just(datetime(2026, 12, 1, 10, 0)),  # noqa: DTZ001 - as a campaign file has it
)


def written(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat()
        case list():
            return f"[{', '.join(written(one) for one in value)}]"
        case str():
            return '"' + value.replace('"', '\\"') + '"'
    return str(value)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A campaign file with comments above, beside and below its keys and sections, each with a number of its own."""
    numbers = iter(range(1000))

    def comments() -> list[str]:
        return [
            f"# comment {next(numbers)}" if draw(st.booleans()) else ""
            for _ in range(draw(st.integers(0, 2)))
        ]

    def keys() -> list[str]:
        found: list[str] = []
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
            beside = f"  # beside {next(numbers)}" if draw(st.booleans()) else ""
            found += [*comments(), f"{key} = {written(draw(values))}{beside}"]
        return found

    lines = ['name = "Spring"', *keys()]
    for section in draw(st.lists(st.sampled_from(SECTIONS), unique=True)):
        lines += [*comments(), f"# above {section}", f"[{section}]", *keys()]
    return "\n".join([*lines, *comments()]) + draw(st.sampled_from(["", "\n"]))


places = st.one_of(
    st.tuples(st.sampled_from(KEYS)), st.tuples(st.sampled_from(SECTIONS), st.sampled_from(KEYS))
)
changes_of_keys = st.dictionaries(places, st.one_of(st.none(), values), min_size=1, max_size=4)


def lines_of(text: str, mark: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith(mark)]


@given(files(), changes_of_keys)
def test_a_change_keeps_every_other_key_and_every_comment_line(
    text: str, changes: dict[tuple[str, ...], Any]
) -> None:
    changed = edited(text.encode(), changes).decode()
    expected = tomllib.loads(text)
    for (*sections, last), value in changes.items():
        table = expected
        for section in sections:
            table = table.setdefault(section, {}) if value is not None else table.get(section, {})
        if value is None:
            table.pop(last, None)
        else:
            table[last] = value
    assert tomllib.loads(changed) == expected
    assert lines_of(changed, "#") == lines_of(text, "#")
    # A comment above a section is still directly above it.
    for section in SECTIONS:
        if f"[{section}]" in text:
            assert f"# above {section}\n[{section}]" in changed
    # A comment next to a key goes only with its key.
    for line in text.splitlines():
        key, beside, _ = line.partition("  # beside ")
        if beside and not any(key.startswith(f"{place[-1]} ") for place in changes):
            assert line in changed.splitlines()


@given(files(), st.sampled_from(SECTIONS))
def test_a_removed_section_takes_no_comment_of_another_one_with_it(text: str, section: str) -> None:
    changed = edited(text.encode(), {(section,): None}).decode()
    expected = tomllib.loads(text)
    expected.pop(section, None)
    assert tomllib.loads(changed) == expected
    for other in SECTIONS:
        if f"[{other}]" in text and other != section:
            assert f"# above {other}\n[{other}]" in changed


@given(files())
def test_what_is_the_same_changes_no_byte(text: str) -> None:
    present = tomllib.loads(text)
    same = {(key,): value for key, value in present.items() if not isinstance(value, dict)}
    same |= {
        (key, inner): value
        for key, table in present.items()
        if isinstance(table, dict)
        for inner, value in table.items()
    }
    assert edited(text.encode(), same) == text.encode()


def test_a_file_that_is_no_toml_is_left_alone() -> None:
    with pytest.raises(BatchsendError, match="the file is unchanged"):
        edited(b"name = ", {("name",): "Spring"})
