"""What `make demo-cluster` shows: the sample campaign by a PostgreSQL and three workers, one of them killed half-way.

Everything runs on this computer, and the API is the sandbox: no text is sent.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from clusters import Shared
from postgres_server import running_postgres
from world import BATCHSEND, World, read_results, running_sandbox

REPOSITORY = Path(__file__).parents[2]
CAMPAIGN = REPOSITORY / "campaigns" / "spring_service.toml"
RESULTS = CAMPAIGN.parent / "results" / "spring_service-cluster.xlsx"


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="demo-") as name,
        running_postgres() as server,
        running_sandbox(Path(name), "--latency", "0.3") as sandbox,
    ):
        shared = Shared(World(Path(name), sandbox.base_url), server.url("postgres"))
        print(f"PostgreSQL and the sandbox are running: {sandbox.base_url}/ shows the texts.", flush=True)
        with shared.workers(3, "--concurrency", "1") as workers:
            print("Three workers wait for runs. Sending 500 rows ...\n", flush=True)
            sending = subprocess.Popen(
                [*BATCHSEND, "send", str(CAMPAIGN), "--yes", "--rate", "20", "--results", str(RESULTS)],
                cwd=name,
                env=shared.world.env(),
                stdin=subprocess.DEVNULL,
            )
            killed = False
            while sending.poll() is None:
                arrived = len(sandbox.requests())
                sharing = ", ".join(row[0] for row in shared.ask(_SHARING))
                print(f"  {arrived:>3} requests have arrived; sending now: {sharing or 'none'}", flush=True)
                if arrived > 200 and not killed:
                    workers[1].kill()
                    killed = True
                    print("  kill -9 of worker w1", flush=True)
                time.sleep(2)
            code = sending.returncode
        rows = read_results(RESULTS)
        texts = sandbox.texts()
    print(f"\n{len(rows)} rows in the workbook, each once:")
    for (status, codes), count in Counter(
        (row["status"], row["errorCodes"] or "") for row in rows.values()
    ).most_common():
        print(f"  {count:>4} {status} {codes}")
    twice = sum(count > 1 for count in texts.values())
    print(f"{twice} customers got a text twice. {RESULTS.relative_to(REPOSITORY)}")
    return 0 if code in (0, 1) and twice == 0 else 1


_SHARING = "SELECT holder FROM leases WHERE run_id IS NOT NULL ORDER BY holder"

if __name__ == "__main__":
    sys.exit(main())
