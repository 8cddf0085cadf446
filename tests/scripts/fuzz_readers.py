"""Reads randomly damaged lists of every format: `make fuzz MINUTES=10`.

Any bytes must be read or refused with a ListError, within limits of time and memory. A child process reads the files,
so that aborts and hangs are also found. Each file comes from a seed; `--seed N` repeats it.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import collections
import io
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from list_cases import write
from odd_lists import ODD_LISTS
from same_table import in_html, in_parquet, in_text, texts
from workbooks import ods, ods_row, spreadsheetml, spreadsheetml_row

from batchsend.errors import ListError
from batchsend.lists.customer_list import ListOptions, open_list
from batchsend.lists.formats.xlsx import reader

#: Seconds per file, and bytes for the process that reads all files.
MAX_SECONDS = 30
MAX_MEMORY = 1_500_000_000

MAX_FILLED = reader._MAX_FILLED

TOKENS = [
    b'table:number-rows-repeated="1048576"',
    b'table:number-columns-repeated="16384"',
    b'ss:Index="1048576"',
    b'rowspan="65534"',
    b'colspan="16384"',
    b"<table>",
    b"</table>",
    b"<tr>",
    b"<td>",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"<script>",
    b"<!DOCTYPE x>",
    b"&#x110000;",
    b"&lt;",
    b'"',
    b"'",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\t",
    b";",
    b",",
    b"|",
    b'<row r="1048576">',
    b'<c r="XFD1048576"><v>1</v></c>',
    b' hidden="1"',
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"P9999999DT9H",
    b"9999-12-31T23:59:59.9999999",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x3c\x00",
    b"\x0a\x00\x00\x00",
]


def samples(folder: Path) -> list[tuple[str, bytes]]:
    """Valid and unusual files of all formats, with their names."""
    found = [(odd.name, write(folder, odd).read_bytes()) for odd in ODD_LISTS]
    cells = "".join(ods_row(*(text.replace("&", "").replace("<", "") for text in row)) for row in texts())
    rows = "".join(
        spreadsheetml_row(*(text.replace("&", "").replace("<", "") for text in row)) for row in texts()
    )
    found += [
        ("list.csv", in_text(",")),
        ("list.csv", in_text("\t", "utf-16")),
        ("list.html", in_html()),
        ("list.parquet", in_parquet()),
        ("list.ods", ods(cells)),
        ("list.xml", spreadsheetml(rows)),
    ]
    return [(name, content) for name, content in found if len(content) < 1_000_000]


def damaged(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """`content` with random damage. Most zips are damaged inside a part, because checksums find other damage."""
    if content.startswith(b"PK\x03\x04") and chance.random() < 0.8:
        try:
            return _damaged_part(content, chance)
        except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, NotImplementedError, RuntimeError):
            pass
    return _damaged_bytes(content, other, chance)


def _damaged_part(content: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    likely = [name for name in parts if name.endswith((".xml", ".rels"))]
    name = chance.choice(likely or list(parts))
    parts[name] = _damaged_bytes(parts[name], chance.choice(list(parts.values())), chance)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return packed.getvalue()


def _damaged_bytes(content: bytes, other: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 3, 8, 30])):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice([1, 2, 4, 16, 200]))
        match chance.randrange(8):
            case 0:
                data[at:end] = bytes(chance.randrange(256) for _ in range(end - at))
            case 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * chance.choice([1, 2, 50])
            case 4:
                data[at:at] = chance.choice(TOKENS)
            case 5:
                token = chance.choice(TOKENS)
                data[at : at + len(token)] = token
            case 6:
                start = chance.randrange(len(other) + 1)
                data[at:at] = other[start : start + chance.choice([10, 200, 3000])]
            case 7 if chance.random() < 0.1:
                del data[at:]
    return bytes(data)


def file_of(seed: int, found: list[tuple[str, bytes]], folder: Path) -> Path:
    chance = random.Random(seed)
    name, content = chance.choice(found)
    path = folder / f"{seed}-{name.removeprefix('~$')}"
    path.write_bytes(damaged(content, chance.choice(found)[1], chance))
    return path


def read(path: Path, seed: int) -> tuple[str, str]:
    """The outcome in a word, with details if it is a failure."""
    # Reads some files in chunks, as if they were large.
    reader._MAX_FILLED = -1 if seed % 5 < 2 else MAX_FILLED
    options = ListOptions(hidden_rows="skip") if seed % 2 else ListOptions(hidden_rows="include")
    try:
        customers = open_list(path, options, rows_needed=bool(seed % 3))
        rows = sum(len(chunk.frame) for chunk in customers.chunks())
        if rows != customers.rows:
            return "rows lost", f"{rows} of {customers.rows}"
    except ListError:
        return "refused", ""
    except BaseException:  # noqa: BLE001 - also finds panics in Rust
        return "another error", traceback.format_exc()
    return "read", ""


def child(seed: int) -> None:
    """Reads one file after the other. Prints the seed before each file and the outcome after it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = samples(folder)
        while True:
            path = file_of(seed, found, folder)
            print(json.dumps({"seed": seed, "ending": path.suffix}), flush=True)
            outcome, details = read(path, seed)
            print(json.dumps({"outcome": outcome, "details": details, "memory": peak_memory()}), flush=True)
            path.unlink()
            seed += 1


def peak_memory() -> int:
    """The peak memory of this process in bytes; 0 if the operating system does not report it (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Watch:
    """A child process and its output."""

    def __init__(self, seed: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--child", str(seed)], stdout=subprocess.PIPE, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read_lines, daemon=True).start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def next(self, seconds: float) -> dict[str, object] | None:
        """The next report of the child; None if it ended. Raises queue.Empty after `seconds`."""
        line = self.lines.get(timeout=seconds)
        found: dict[str, object] | None = json.loads(line) if line else None
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def fuzz(minutes: float, seed: int) -> int:
    """Reads damaged files until the time is up and prints the counts. Returns 1 if anything failed."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    failures: list[str] = []
    slowest, memory, files = (0.0, 0), 0, 0
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        watch = Watch(seed)
        ending = ""
        try:
            while time.monotonic() < end:
                begun = watch.next(MAX_SECONDS * 4)
                if begun is None:
                    failures.append(f"seed {seed}: the process ended between two files")
                    break
                seed, ending = int(str(begun["seed"])), str(begun["ending"])
                start = time.monotonic()
                done = watch.next(MAX_SECONDS)
                slowest = max(slowest, (time.monotonic() - start, seed))
                outcome = "aborted" if done is None else str(done["outcome"])
                files += 1
                counts[ending, outcome] += 1
                if done is None or outcome not in {"read", "refused"}:
                    failures.append(f"seed {seed} ({ending}): {outcome} {done and done['details']}")
                if done is None:
                    break
                if int(str(done["memory"])) > MAX_MEMORY >= memory:
                    failures.append(f"seed {seed} ({ending}): {done['memory']:,} bytes of memory")
                memory = max(memory, int(str(done["memory"])))
        except queue.Empty:
            failures.append(f"seed {seed} ({ending}): not finished in {MAX_SECONDS} seconds")
            counts[ending, "too slow"] += 1
        finally:
            watch.end()
        seed += 1
    print(f"{files:,} files; slowest {slowest[0]:.1f} s (seed {slowest[1]})")
    print(f"most memory {memory / 1e6:,.0f} MB; next seed {seed}")
    for (ending, outcome), count in sorted(counts.items()):
        print(f"  {ending or '(none)':10} {outcome:14} {count:8,}")
    print(f"{len(failures)} failures")
    for problem in failures:
        print(f"- {problem}")
    return 1 if failures else 0


def repeat(seed: int) -> None:
    """Makes the file of one seed in the current folder and reads it."""
    with tempfile.TemporaryDirectory() as folder:
        found = samples(Path(folder))
    path = file_of(seed, found, Path.cwd())
    print(path, *read(path, seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, and keep its file")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child)
    elif arguments.seed is not None:
        repeat(arguments.seed)
    else:
        sys.exit(fuzz(arguments.minutes, arguments.start))


if __name__ == "__main__":
    main()
