"""Measures the web console's pages while another user works with 100,000 rows: `make bench-web`.

One user loads all pages again and again, first alone, then while the other one reads, checks and uploads a list of
that size and looks at its run. No page may take over a second, and none twice its usual time.
"""

from __future__ import annotations

import argparse
import csv
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from web_client import Clicker, Served, serving
from world import World, customers, running_sandbox

_PASSWORD = "four words are good"
_SMALL, _LARGE = "/campaign/here/campaign", "/campaign/here/large"
_STEPS = ("", "/list", "/columns", "/text", "/sender", "/when", "/file")
_OF_LARGE_RUN = ("/run/2", "/run/2?status=taken", "/run/2?find=customer-99999", "/run/2?after=99000")
_TRY = {"text": "Hi {{ first_name }}", "number": "0", "row": ""}
_LIMIT, _RATIO = 1.0, 2.0


def write_rows(path: Path, count: int) -> None:
    """Writes a list of `count` rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Customer UUID", "First Name", "Phone", "Model", "City", "Advisor"])
        for number in range(count):
            phone = f"(312) {200 + number // 10000:03}-{number % 10000:04}"
            writer.writerow([f"customer-{number}", "DANA", phone, "Civic", "Chicago", "Lee"])


def signed_in(served: Served, name: str) -> Clicker:
    """Returns the browser of a user."""
    clicker = served.clicker()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"name={name}&password={_PASSWORD.replace(' ', '+')}".encode()
    assert clicker.raw("POST", "/login", body, form).status == 303
    return clicker


def measured(clicker: Clicker, seconds: float) -> dict[str, list[float]]:
    """Returns the seconds that each page took, loaded in turn for so many seconds."""
    clicker.token()
    pages = ["/", *(_SMALL + step for step in _STEPS), f"{_SMALL}/run/1", "/history?q=customer-1"]
    found: dict[str, list[float]] = {page: [] for page in [*pages, "text/try"]}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for page in pages:
            began = time.perf_counter()
            assert clicker.raw("GET", page).status == 200, page
            found[page].append(time.perf_counter() - began)
        began = time.perf_counter()
        assert clicker.submit(f"{_SMALL}/text/try", _TRY).status == 200
        found["text/try"].append(time.perf_counter() - began)
    return found


@contextmanager
def working(clicker: Clicker, content: bytes, times: list[float]) -> Iterator[None]:
    """Lets a user upload, read and check the large list again and again. `times`: of that user's requests."""
    ended = threading.Event()

    def timed(path: str, **form: str) -> None:
        began = time.perf_counter()
        _ = clicker.submit(path, form) if form else clicker.raw("GET", path)
        times.append(time.perf_counter() - began)

    def work() -> None:
        round_number = 0
        clicker.token()
        while not ended.is_set():
            round_number += 1
            clicker.send_file(f"{_LARGE}/list", f"list-{round_number}.csv", content + b"\n" * round_number)
            for _ in range(10):
                timed(f"{_LARGE}/check", again="yes")
                for step in (*_STEPS, *_OF_LARGE_RUN):
                    timed(_LARGE + step)
                if ended.wait(0.5):
                    return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main() -> int:
    """Prints the slowest and the usual time of each page, alone and meanwhile. Returns 1 if a limit was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    with (
        TemporaryDirectory(prefix="batchsend-bench-") as name,
        running_sandbox(Path(name)) as sandbox,
    ):
        folder = Path(name) / "dealership"
        folder.mkdir()
        world = World(folder, sandbox.base_url).write(customers(200))
        text = (world.folder / "campaign.toml").read_text(encoding="utf-8")
        large = text.replace("customers.csv", "large.csv").replace('"Spring"', '"Large"')
        (world.folder / "large.toml").write_text(large, encoding="utf-8")
        write_rows(world.folder / "large.csv", given.rows)
        for campaign in ("campaign.toml", "large.toml"):
            assert world.run("send", campaign, "--yes", "--limit", "50", "--quiet").code == 0
        for user in ("ann", "bob"):
            world.run("web-users", "add", user, "--password-stdin", answer=_PASSWORD + "\n")
        with serving(world) as served:
            ann, bob = signed_in(served, "ann"), signed_in(served, "bob")
            bob.check(_SMALL)
            measured(bob, 2.0)
            alone = measured(bob, given.seconds)
            of_ann: list[float] = []
            with working(ann, (world.folder / "large.csv").read_bytes(), of_ann):
                time.sleep(1.0)
                meanwhile = measured(bob, given.seconds)
    return report(alone, meanwhile, of_ann)


def report(alone: dict[str, list[float]], meanwhile: dict[str, list[float]], of_other: list[float]) -> int:
    """Prints the table; returns 1 if a limit was broken."""
    print(f"{'page':32} {'alone':>9} {'meanwhile':>10} {'ratio':>6} {'slowest':>9}")
    broken = max(of_other) > _LIMIT
    for page, before in alone.items():
        usual, now, slowest = median(before), median(meanwhile[page]), max(meanwhile[page])
        broken |= slowest > _LIMIT or now > _RATIO * usual
        print(
            f"{page:32} {usual * 1000:6.0f} ms {now * 1000:7.0f} ms {now / usual:6.2f} {slowest * 1000:6.0f} ms"
        )
    print(
        f"The other user's own pages: {median(of_other) * 1000:.0f} ms, slowest {max(of_other) * 1000:.0f} ms"
    )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
