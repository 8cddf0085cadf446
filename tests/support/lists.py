"""Helpers that read lists in tests."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from batchsend.errors import ListError
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list
from batchsend.lists.source import NO_OPTIONS


def rows_of(customers: CustomerList, used: Collection[int] | None = None) -> dict[int, list[str]]:
    """All rows by row number."""
    return {number: cells for chunk in customers.chunks(used) for number, *cells in chunk.frame.itertuples()}


def malformed_of(customers: CustomerList, used: Collection[int] | None = None) -> dict[int, str]:
    """The problems of malformed rows by row number."""
    return {
        number: problem for chunk in customers.chunks(used) for number, problem in chunk.malformed.items()
    }


def problems_of(path: Path, options: ListOptions = NO_OPTIONS) -> tuple[str, ...]:
    """The problems for which a list is refused."""
    with pytest.raises(ListError) as caught:
        open_list(path, options)
    assert caught.value.path == path
    return caught.value.problems
