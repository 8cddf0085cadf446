"""How far a long step has come, for the faces that show it.

Steps report to the listener of their context, so that no function passes it on. Without a listener nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Takes the part that is done, from 0 to 1.
Listener = Callable[[float], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(done: int, total: int) -> None:
    """Says that `done` of `total` rows or bytes of the present step are done."""
    listener = _listener.get()
    if listener is not None and total > 0:
        listener(min(done / total, 1.0))


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
