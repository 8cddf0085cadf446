"""Which rows hold a value? Kept in 8 octets for each row once they are many, so that a list may be long.

Forty bits of a value's hash and the row's number in one: what is found may by chance hold another value, and whoever
asks looks at the row itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Values that are kept as they are before they are packed; a list with fewer rows does not load numpy.
RECENT = 50_000
#: Bits of a row's number, which is at most `readers.source.MAX_ROWS`.
_ROW_BITS = 24
_ROW = (1 << _ROW_BITS) - 1
_HASH = ((1 << 64) - 1) ^ _ROW


class RowsByValue:
    """Rows by the text that one of their columns holds."""

    def __init__(self) -> None:
        self._recent: dict[str, tuple[int, ...]] = {}
        #: Sorted.
        self._packed: NDArray[np.uint64] | None = None

    def add(self, value: str, row: int) -> None:
        """`row` (below 16,777,216) holds `value`."""
        recent = self._recent
        recent[value] = (*recent[value], row) if value in recent else (row,)
        if len(recent) >= RECENT:
            self._pack()

    def candidates(self, values: Collection[str]) -> dict[str, list[int]]:
        """For each of `values` that may have been added all rows that may hold it, those that do among them."""
        recent = self._recent
        found = {value: list(recent[value]) for value in values if value in recent}
        if self._packed is not None:
            for value, rows in self._packed_candidates(values):
                found[value] = [*rows, *found.get(value, ())]
        return found

    def _packed_candidates(self, values: Collection[str]) -> list[tuple[str, list[int]]]:
        import numpy as np

        packed = self._packed
        assert packed is not None  # noqa: S101 - asked before
        values = list(values)
        hashes = np.fromiter((hash(value) & _HASH for value in values), np.uint64, len(values))
        begins = np.searchsorted(packed, hashes)
        ends = np.searchsorted(packed, hashes | np.uint64(_ROW), side="right")
        return [
            (values[index], (packed[begins[index] : ends[index]] & np.uint64(_ROW)).tolist())
            for index in np.flatnonzero(ends > begins).tolist()
        ]

    def _pack(self) -> None:
        import numpy as np

        entries = [(hash(value) & _HASH) | row for value, rows in self._recent.items() for row in rows]
        new = np.array(entries, np.uint64)
        self._recent = {}
        self._packed = new if self._packed is None else np.concatenate([self._packed, new])
        self._packed.sort()
