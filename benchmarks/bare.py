"""Programs to compare batchsend with: the same work by libraries alone, without its guarantees.

`python benchmarks/bare.py PROGRAM FILE` prints the seconds of the work, without start and imports. For the programs
`aiohttp` and `requests`, each line of FILE is a JSON object with `url` and `body`.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from workload import CONNECTIONS, HEADERS, TEMPLATE

ACCOUNT = ("benchmark", "benchmark")


def _posts(path: str) -> list[tuple[str, Any]]:
    with Path(path).open(encoding="utf-8") as lines:
        return [(post["url"], post["body"]) for post in map(json.loads, lines)]


def by_aiohttp(path: str) -> float:
    """The leanest loop that aiohttp's session allows: no cookies, and every URL, header and body made beforehand."""
    import aiohttp
    import orjson
    from yarl import URL

    async def all_posts() -> float:
        posts = iter([(URL(url, encoded=True), orjson.dumps(body)) for url, body in _posts(path)])
        headers = {
            "Authorization": aiohttp.encode_basic_auth(*ACCOUNT),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "lean",
        }
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        ) as session:

            async def worker() -> None:
                for url, body in posts:
                    async with session.post(url, data=body) as response:
                        answer = orjson.loads(await response.read())
                        assert answer["status"] == "SUCCESS"

            began = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
            return time.perf_counter() - began

    return asyncio.run(all_posts())


def by_requests(path: str) -> float:
    """64 threads, each with its own session."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import requests

    thread = threading.local()

    def post(item: tuple[str, Any]) -> None:
        if not hasattr(thread, "session"):
            thread.session = requests.Session()
            thread.session.auth = ACCOUNT
        answer = thread.session.post(item[0], json=item[1], timeout=30)
        assert answer.json()["status"] == "SUCCESS"

    posts = _posts(path)
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(post, posts):
            pass
    return time.perf_counter() - began


def preview_of_csv(path: str) -> float:
    """csv + phonenumbers + Jinja + XlsxWriter in constant memory, with the columns of the preview."""
    return _preview(path, _csv_rows)


def preview_of_xlsx(path: str) -> float:
    """The same with python-calamine instead of csv."""
    return _preview(path, _xlsx_rows)


def _csv_rows(path: str) -> Iterator[Sequence[str]]:
    with Path(path).open(encoding="utf-8", newline="") as text:
        yield from csv.reader(text)


def _xlsx_rows(path: str) -> Iterator[Sequence[str]]:
    from python_calamine import load_workbook

    yield from load_workbook(path).get_sheet_by_index(0).iter_rows()


def _preview(path: str, read: Callable[[str], Iterable[Sequence[str]]]) -> float:
    import jinja2
    import phonenumbers
    import xlsxwriter

    from batchsend.reports.table import COLUMNS, LEADING_COLUMNS, column_headers

    names = [header.lower().replace(" ", "_") for header in HEADERS]
    leading = len(LEADING_COLUMNS)
    unknown = len(COLUMNS) - leading - 8
    out = Path(path).with_suffix(".bare.xlsx")
    began = time.perf_counter()
    template = jinja2.Environment().from_string(TEMPLATE)
    with xlsxwriter.Workbook(str(out), {"constant_memory": True}) as book:
        sheet = book.add_worksheet("Results")
        sheet.write_row(0, 0, column_headers(HEADERS))
        rows = iter(read(path))
        next(rows)
        for row, cells in enumerate(rows, start=1):
            number = phonenumbers.parse(cells[3], "US")
            assert phonenumbers.is_valid_number(number)
            phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            message = template.render(dict(zip(names, cells, strict=True)))
            sheet.write_row(row, 0, [row + 1, "ready", None, "", "", phone, message])
            sheet.write_row(row, leading, cells)
            sheet.write_row(
                row, leading + len(cells), [cells[0], 1, "GSM-7", *[None] * 4, 0, *[None] * unknown]
            )
    seconds = time.perf_counter() - began
    out.unlink()
    return seconds


PROGRAMS = {
    "aiohttp": by_aiohttp,
    "requests": by_requests,
    "preview-csv": preview_of_csv,
    "preview-xlsx": preview_of_xlsx,
}

if __name__ == "__main__":
    print(PROGRAMS[sys.argv[1]](sys.argv[2]))
