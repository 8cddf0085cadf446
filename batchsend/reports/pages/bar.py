"""A bar that shows how rows divide: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

#: What is there must be seen: the least width of a share, in hundredths of the bar.
_LEAST = 1.2


@dataclass(frozen=True)
class Share:
    """One part of the bar. `x` and `width` are in hundredths of its length."""

    kind: str
    label: str
    count: int
    x: float
    width: float


def shares(*parts: tuple[str, str, int]) -> list[Share]:
    """The parts (kind, label, rows) that are not empty, side by side; together they fill the bar."""
    present = [part for part in parts if part[2]]
    total = sum(count for _, _, count in present)
    widths = [max(_LEAST, 100 * count / total) for _, _, count in present]
    scale = 100 / sum(widths) if widths else 1
    found, x = [], 0.0
    for (kind, label, count), width in zip(present, widths, strict=True):
        found.append(Share(kind, label, count, round(x * scale, 3), round(width * scale, 3)))
        x += width
    return found
