"""Reading lists in tests."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from batchsend.errors import ListError
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list


def rows_of(customers: CustomerList, used: Collection[int] | None = None) -> dict[int, list[str]]:
    """All rows under their numbers."""
    return {
        number: list(cells)
        for chunk in customers.chunks(used)
        for number, cells in zip(chunk.numbers, chunk.rows, strict=True)
    }


def malformed_of(customers: CustomerList, used: Collection[int] | None = None) -> dict[int, str]:
    return {number: what for chunk in customers.chunks(used) for number, what in chunk.malformed.items()}


def problems_of(path: Path, options: ListOptions = ListOptions()) -> tuple[str, ...]:  # noqa: B008
    """What is wrong with a list as a whole."""
    with pytest.raises(ListError) as caught:
        open_list(path, options)
    assert caught.value.path == path
    return caught.value.problems
