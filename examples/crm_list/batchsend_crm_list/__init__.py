"""A list source for batchsend: texts the customers of a segment of a CRM.

The campaign file has `list = "spring.crm"`, and the file `spring.crm` has a line such as `segment = "Spring 2026"`.
The CRM's address and token come from the environment, because list files can be seen by everyone who plans campaigns.
"""

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from batchsend.errors import BatchsendError

#: The columns of the list, and the CRM's names for them.
COLUMNS = {"Customer UUID": "uuid", "First Name": "firstName", "Phone": "mobile"}


def customers(path: Path) -> Iterator[list[object]]:
    """The header, then a row for each customer of the segment."""
    segment = tomllib.loads(path.read_text(encoding="utf-8")).get("segment")
    if not segment:
        raise BatchsendError('The file names no segment. Write segment = "Spring 2026" in it.')
    yield list(COLUMNS)
    for customer in fetch(segment):
        yield [customer.get(name) for name in COLUMNS.values()]


def fetch(segment: str) -> list[dict[str, object]]:
    """Asks the CRM."""
    address, token = os.environ.get("CRM_URL"), os.environ.get("CRM_TOKEN", "")
    if address is None:
        raise BatchsendError("CRM_URL is not set. Set it to the address of the CRM.")
    query = urlencode({"segment": segment})
    request = Request(f"{address}/customers?{query}", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=60) as answer:
        found: list[dict[str, object]] = json.load(answer)
    return found
