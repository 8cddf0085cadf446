"""The process that reads lists and tries templates for the pages. If it breaks, another one takes its place."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import ParamSpec, TypeVar

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.utils.protected_files import read_only_below

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds for one call; a list of a million rows takes half of that.
_LONGEST = 60.0


class ListReader:
    """Runs functions in a separate process, which is started when it is first needed.

    The process reads no list and no template outside the folder `only_below`, if there is one.
    """

    def __init__(self, only_below: Path | None = None) -> None:
        self._only_below = only_below
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Returns what the function returns. Raises `BatchsendError`, also if the process crashes or is too slow."""
        if named:
            raise TypeError("only positional arguments can be sent to the process")
        pool = self._started()
        future = asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
        try:
            return await asyncio.wait_for(asyncio.shield(future), _LONGEST)
        except BrokenProcessPool as error:
            self._end(pool)
            raise BatchsendError(
                "The list could not be read: it made the program that reads lists crash. Open the list in a "
                "spreadsheet, save it again as .xlsx or .csv, and choose that file."
            ) from error
        except TimeoutError as error:
            self._end(pool)
            raise BatchsendError(
                f"The list could not be read within {_LONGEST:.0f} seconds. Save it as .csv, which is read faster, "
                f"or use the command line."
            ) from error

    def close(self) -> None:
        if self._pool is not None:
            self._end(self._pool)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), read_only_below, (self._only_below,)
            )
        return self._pool

    def _end(self, pool: ProcessPoolExecutor) -> None:
        if self._pool is pool:
            self._pool = None
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - a process that hangs must be killed
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)


LIST_READER = web.AppKey("list_reader", ListReader)
