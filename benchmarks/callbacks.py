"""Compares the updates per second of `batchsend callbacks` with a bare aiohttp handler that records nothing.

`python benchmarks/callbacks.py` (`make bench-callbacks`). Client, listener and bare handler are processes on this
computer. The two get updates in turns, so that other load on the computer affects both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from ledgers import planned, send_all, store_plan
from raw_posts import post_all

from batchsend.ledger.opening import open_ledger

BARE = """
import asyncio
from aiohttp import web

async def receive(request):
    await request.read()
    return web.Response()

async def main():
    app = web.Application()
    app.router.add_post("/receive", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/receive", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def start(command: list[str], folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Starts a server. Returns it and the URL in its first line."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None
    return process, found[0]


def post(url: str, bodies: list[bytes], connections: int) -> tuple[float, list[float]]:
    """The answers per second, and the milliseconds of each; all of them must be 200."""
    began = time.monotonic()
    answers = asyncio.run(post_all(url, bodies, connections))
    seconds = time.monotonic() - began
    assert {status for status, _ in answers} == {200}
    return len(bodies) / seconds, sorted(latency * 1000 for _, latency in answers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=50)
    given = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        file = folder / "ledger.db"
        ledger = open_ledger(f"sqlite:///{file}")
        stored_plan = store_plan(ledger, [planned(row) for row in range(2, given.rows * given.rounds + 2)])
        for _ in range(0, given.rows * given.rounds, 1000):
            send_all(ledger, stored_plan)
        listener, url = start(
            [sys.executable, "-m", "batchsend", "callbacks", "--port", "0", "--ledger", str(file)], folder
        )
        bare, bare_url = start([sys.executable, "-c", BARE], folder)
        rates: dict[str, list[float]] = {"batchsend callbacks": [], "bare handler": []}
        latencies: dict[str, list[float]] = {"batchsend callbacks": [], "bare handler": []}
        try:
            for number in range(given.rounds):
                first = number * given.rows + 2
                bodies = [
                    json.dumps({"messageUUID": f"message-{row}", "status": status, "errors": None}).encode()
                    for row in range(first, first + given.rows)
                    for status in ("SENT", "DELIVERED")
                ]
                for name, address in (("bare handler", bare_url), ("batchsend callbacks", url)):
                    rate, milliseconds = post(address, bodies, given.connections)
                    rates[name].append(rate)
                    latencies[name] += milliseconds
        finally:
            for process in (listener, bare):
                process.terminate()
                process.communicate()
        counts = ledger.counts(stored_plan.run_id)
        ledger.close()

    for name, found in rates.items():
        times = sorted(latencies[name])
        print(
            f"{name:20} {statistics.median(found):>7,.0f} per second ({min(found):,.0f} to {max(found):,.0f}); "
            f"answered in {statistics.median(times):.0f} ms, 99% in {times[len(times) * 99 // 100]:.0f} ms, "
            f"all in {times[-1]:.0f} ms"
        )
    share = statistics.median(rates["batchsend callbacks"]) / statistics.median(rates["bare handler"])
    print(
        f"{given.rounds * given.rows * 2:,} updates over {given.connections} connections, each recorded before its "
        f"answer: {share:.0%} of the bare handler; statuses in the ledger: {counts}"
    )
    return 0 if counts == {"delivered": given.rows * given.rounds} else 1


if __name__ == "__main__":
    sys.exit(main())
