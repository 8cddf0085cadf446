"""How far a long step has come, for the faces that show it.

Steps report to the listener of their context, so that no function passes it on. Without a listener nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

#: Takes the part that is done, from 0 to 1.
Listener = Callable[[float], None]

T = TypeVar("T")
#: Items between two reports.
_EVERY = 500
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(done: int, total: int) -> None:
    """Says that `done` of `total` rows or bytes of the present step are done."""
    listener = _listener.get()
    if listener is not None and total > 0:
        listener(min(done / total, 1.0))


def counted(items: Iterator[T], total: int) -> Iterator[T]:
    """Reports how many of `total` items were taken."""
    return items if _listener.get() is None else _counted(items, total)


def _counted(items: Iterator[T], total: int) -> Iterator[T]:
    for number, item in enumerate(items):
        if number % _EVERY == 0:
            report(number, total)
        yield item


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Gives `listener` the progress of what happens in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def step(begin: float, end: float) -> Iterator[None]:
    """Makes the block a step from `begin` to `end` of the step around it, both from 0 to 1."""
    outer = _listener.get()
    if outer is None:
        yield
        return
    outer(begin)
    with listening(lambda part: outer(begin + part * (end - begin))):
        yield
    outer(end)
