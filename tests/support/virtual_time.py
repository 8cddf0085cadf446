"""An event loop in which waiting takes no time: its clock jumps to the next event."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_TURN_SECONDS = 1e-6


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting, moves the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "all tasks wait, and no event would ever end that"
            # Time passes in every turn of a real loop; without that, rounding could keep one turning for ever.
            self.wait(max(timeout, _TURN_SECONDS))
        return ready

    def wait(self, seconds: float) -> None:
        self.now += seconds


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual; `stall` makes it pass while nothing can run, as a busy computer does."""

    def __init__(self, selector: JumpingSelector | None = None) -> None:
        self._jumping = selector or JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Runs `func` immediately: a thread's real time does not exist on this clock."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - as an executor does
            self.call_soon(future.set_exception, error)
        else:
            self.call_soon(_resolve, future, result)
        return future

    def stall(self, seconds: float) -> None:
        self._jumping.now += seconds


def skip(seconds: float) -> None:
    """Sets the clock of the running, usual loop forward, as if nothing had run in it for so long."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)
