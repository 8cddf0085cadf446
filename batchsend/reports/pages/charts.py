"""The sending rate as bars: pure functions from moments to the numbers that the page draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from batchsend.utils.timestamps import from_text

#: The most bars in a chart, and the spans in seconds that one may have.
_MOST_BARS = 60
_SPANS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
#: The axis ends in one of these numbers, times a power of ten.
_ROUND = (1, 2, 5, 10)
#: The least width of a share that can be seen, in hundredths of the bar.
_LEAST = 1.2


@dataclass(frozen=True)
class Bar:
    """Requests in one span. `rate` is per second; `height` is in hundredths of the chart."""

    begins: str
    requests: int
    rate: float
    height: float


@dataclass(frozen=True)
class Chart:
    """The requests of one start over time. `span`: seconds per bar; `top`: the end of the axis, per second."""

    start: int
    requests: int
    seconds: float
    begins: str
    ends: str
    span: int
    top: float
    average: float
    bars: list[Bar]


class Moments:
    """Counts requests by start and tenth of a second."""

    def __init__(self) -> None:
        self._tenths: dict[int, dict[str, int]] = {}
        self._ends: dict[int, tuple[str, str]] = {}

    def add(self, start: int, first: str, last: str, requests: int) -> None:
        """Counts requests of one tenth of a second, from the first to the last of them; moments are UTC text."""
        tenths = self._tenths.setdefault(start, {})
        tenths[first[:21]] = tenths.get(first[:21], 0) + requests
        earliest, latest = self._ends.get(start, (first, last))
        self._ends[start] = (min(earliest, first), max(latest, last))

    def charts(self, zone: ZoneInfo) -> list[Chart]:
        """Returns a chart for each start that sent something, in order."""
        return [self._chart(start, zone) for start in sorted(self._tenths)]

    def _chart(self, start: int, zone: ZoneInfo) -> Chart:
        first, last = (from_text(moment) for moment in self._ends[start])
        begin = first.replace(microsecond=first.microsecond // 100_000 * 100_000)
        whole = int((last - begin).total_seconds()) + 1
        span = next((span for span in _SPANS if whole <= span * _MOST_BARS), -(-whole // _MOST_BARS))
        counts = [0] * -(-whole // span)
        for tenth, count in self._tenths[start].items():
            counts[(from_text(f"{tenth}+00:00") - begin) // timedelta(seconds=span)] += count
        rates = [count / span for count in counts]
        top = _round_up(max(rates))
        seconds = (last - first).total_seconds()
        requests = sum(counts)
        return Chart(
            start=start,
            requests=requests,
            seconds=seconds,
            begins=f"{first.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            ends=f"{last.astimezone(zone):%H:%M:%S}",
            span=span,
            top=top,
            average=(requests - 1) / seconds if seconds >= 1 else requests,
            bars=[
                Bar(
                    f"{(begin + timedelta(seconds=number * span)).astimezone(zone):%H:%M:%S}",
                    count,
                    rate,
                    round(100 * rate / top, 2),
                )
                for number, (count, rate) in enumerate(zip(counts, rates, strict=True))
            ],
        )


def charts(departures: Iterable[tuple[int, str, str, int]], zone: ZoneInfo) -> list[Chart]:
    """The charts of (start, first moment, last moment, requests) of each tenth of a second; moments as UTC text."""
    moments = Moments()
    for tenth in departures:
        moments.add(*tenth)
    return moments.charts(zone)


def _round_up(value: float) -> float:
    power = 0.01
    while power * _ROUND[-1] < value:
        power *= 10
    return round(next(power * step for step in _ROUND if power * step >= value), 4)


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


def shares_of_all(*parts: tuple[str, str, int]) -> list[Share]:
    """The parts (kind, label, rows) that are not empty, each as a bar of its own; the whole would be 100 long."""
    present = [part for part in parts if part[2]]
    total = sum(count for _, _, count in present)
    return [
        Share(kind, label, count, 0.0, round(max(_LEAST, 100 * count / total), 3))
        for kind, label, count in present
    ]
