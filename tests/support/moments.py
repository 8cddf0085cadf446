"""Signals at chosen moments of a real process: at the n-th call or return of one of the product's functions.

A module that Python loads at its start counts the calls and sends the signal to its own process. The product knows
nothing of it.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from world import Finished, Sandbox, World

import batchsend

_SITE = """
import atexit, collections, inspect, json, os, sys, threading

product = os.environ["MOMENTS_PRODUCT"]
moment = json.loads(os.environ.get("MOMENTS_SIGNAL", "null"))
record = os.environ.get("MOMENTS_RECORD")
calls = collections.Counter()
countdown = None

def notice(frame, event, _):
    global countdown
    if event not in ("call", "return") or not frame.f_code.co_filename.startswith(product):
        return
    code = frame.f_code
    in_function = code.co_flags & inspect.CO_OPTIMIZED
    name = f"{code.co_filename[len(product):]} {code.co_qualname} {event}" if in_function else "an import"
    calls[name] += 1
    if moment is None:
        return
    if countdown is not None:
        countdown -= 1
    elif (name, calls[name]) == (moment["name"], moment["occurrence"]):
        countdown = moment["again_after"]
        os.kill(os.getpid(), moment["number"])
    if countdown == 0:
        os.kill(os.getpid(), moment["number"])

if record:
    atexit.register(lambda: open(record, "w").write(json.dumps(calls)))
threading.setprofile(notice)
sys.setprofile(notice)
"""


@dataclass(frozen=True)
class Moment:
    """Where the signal comes: at this call or return. `again_after`: a second one after so many more of them."""

    name: str
    occurrence: int
    number: int = signal.SIGTERM
    again_after: int | None = None


class Moments:
    """The functions of the product that a command calls, and how often: the moments to choose from."""

    def __init__(self, calls: dict[str, int]) -> None:
        self._calls = calls

    def choose(self, seed: int, *, twice: bool = False) -> Moment:
        """A function at random, and one of its calls or returns."""
        chance = random.Random(seed)
        name = chance.choice(sorted(self._calls))
        return Moment(
            name,
            chance.randint(1, self._calls[name]),
            chance.choice([signal.SIGTERM, signal.SIGHUP]),
            chance.choice([1, 10, 100, 1000]) if twice else None,
        )


def recorded(world: World, *arguments: str) -> Moments:
    """Runs a command and records its moments."""
    record = world.folder / "calls.json"
    with _watched(world, MOMENTS_RECORD=str(record)):
        done = world.run_cold(*arguments)
    assert done.code == 0, done
    return Moments(json.loads(record.read_text(encoding="utf-8")))


def run_with_signal(world: World, moment: Moment, *arguments: str) -> Finished:
    """Runs a command to its end, with a signal at this moment."""
    with _watched(world, MOMENTS_SIGNAL=json.dumps(asdict(moment))):
        return world.run_cold(*arguments)


@contextmanager
def _watched(world: World, **environment: str) -> Iterator[None]:
    site = world.folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    before = dict(world.environment)
    product = str(Path(batchsend.__file__).parent)
    world.environment |= {"PYTHONPATH": str(site), "MOMENTS_PRODUCT": product, **environment}
    try:
        yield
    finally:
        world.environment = before


def statuses(world: World) -> dict[int, str]:
    """Row -> status in the only run of the ledger; empty if nothing was stored."""
    file = world.folder / ".batchsend" / "ledger.db"
    if not file.exists():
        return {}
    with closing(sqlite3.connect(file)) as ledger:
        if ledger.execute("SELECT count(*) FROM sqlite_master WHERE name = 'messages'").fetchone() == (0,):
            return {}
        return dict(ledger.execute("SELECT row, status FROM messages ORDER BY row"))


def untruths(
    world: World, sandbox: Sandbox, done: Finished, *, before: int = 0, signals: int = 1
) -> list[str]:
    """What a start that got signals said that is not true, compared with the server and the ledger.

    `before`: requests that the server had received before this start.
    """
    found = statuses(world)
    sent, rows = sandbox.texts(), Counter(found.values())
    requests = len(sandbox.requests()) - before
    output = done.out + done.err
    wrong = [f"says {word!r}" for word in ("Traceback", "bug in", "Exception ignored") if word in output]
    if done.code not in (0, 1, 130, -signal.SIGTERM, -signal.SIGHUP):
        wrong.append(f"ends with {done.code}")
    if (done.code < 0 or "before the first text" in output) and requests:
        wrong.append(f"ends with {done.code} as if nothing was sent, after {requests} requests")
    if done.code in (0, 1) and set(rows) - {"accepted", "failed"}:
        wrong.append(f"ends with {done.code} and has {rows}")
    if any(count > 1 for count in sent.values()):
        wrong.append(f"sent twice: {sent}")
    if signals == 1:
        wrong += _unfinished(world, done, found, requests)
    return wrong


def _unfinished(world: World, done: Finished, found: dict[int, str], requests: int) -> Iterator[str]:
    """What a start that was allowed to finish has left undone."""
    if "in_flight" in found.values():
        yield f"left rows in flight: {found}"
    told = "before the first text" in done.out + done.err or done.code in (0, 1)
    silent = not requests and not done.out + done.err.strip()
    if (
        not told
        and not silent
        and "texts in flight were finished" not in done.out
        and '"exit": 130' not in done.out
    ):
        yield "does not say what was sent"
    workbook = world.folder / "results" / "campaign-1.xlsx"
    if not requests and not workbook.exists():
        return
    if not workbook.exists():
        yield f"no results after {requests} requests"
        return
    written = {row: values["status"] for row, values in world.workbook().items()}
    if written != found:
        yield f"the results have {written}, the ledger {found}"
