"""Lets LibreOffice open, filter and save spreadsheets. Runs in the system's Python, which has its interface `uno`.

Reads jobs from standard input, as JSON: a list of `{"open": PATH, "filter": {"column": 0, "values": [...]} or null,
"save": [{"path": PATH, "password": TEXT or null}]}`. The suffix of a path decides the format.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uno
from com.sun.star.beans import NamedValue, PropertyValue
from com.sun.star.connection import NoConnectException
from com.sun.star.sheet import TableFilterField
from com.sun.star.sheet.FilterConnection import OR
from com.sun.star.sheet.FilterOperator import EQUAL

FORMATS = {
    ".csv": ("Text - txt - csv (StarCalc)", "44,34,76,1,,0,false,true,false"),
    ".html": ("HTML (StarCalc)", ""),
    ".ods": ("calc8", ""),
    ".xls": ("MS Excel 97", ""),
    ".xlsm": ("Calc MS Excel 2007 VBA XML", ""),
    ".xlsx": ("Calc MS Excel 2007 XML", ""),
}
PIPE = "batchsend-tests"
TIMEOUT = 60  # seconds


def properties(**values: object) -> tuple[Any, ...]:
    return tuple(PropertyValue(Name=name, Value=value) for name, value in values.items())


def encryption(path: Path, password: str) -> dict[str, object]:
    """The save options that encrypt a file; .xlsx needs different ones."""
    if path.suffix != ".xlsx":
        return {"Password": password}
    data = (NamedValue("CryptoType", "Standard"), NamedValue("OOXPassword", password))
    return {"EncryptionData": uno.Any("[]com.sun.star.beans.NamedValue", data)}


def connect(office: subprocess.Popen[bytes], pipe: str) -> Any:
    """The desktop of a LibreOffice that is starting. Raises NoConnectException if it ends or takes too long."""
    context = uno.getComponentContext()
    resolver = context.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", context)
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            found = resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            if office.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return found.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", found)


def set_filter(document: Any, column: int, values: list[str]) -> None:
    """Ticks some values of one column, as a person does with the arrow in the header."""
    sheet = document.Sheets.getByIndex(0)
    cursor = sheet.createCursor()
    cursor.gotoEndOfUsedArea(True)
    document.DatabaseRanges.addNewByName("list", cursor.RangeAddress)
    area = document.DatabaseRanges.getByName("list")
    area.AutoFilter = True
    descriptor = area.getFilterDescriptor()
    descriptor.ContainsHeader = True
    fields = []
    for value in values:
        field = TableFilterField()
        field.Connection, field.Operator, field.Field, field.StringValue = OR, EQUAL, column, value
        fields.append(field)
    descriptor.setFilterFields(tuple(fields))
    area.refresh()


def run_job(desktop: Any, job: dict[str, Any]) -> None:
    """Opens the file of a job, filters it if asked for, and saves its copies."""
    document = desktop.loadComponentFromURL(Path(job["open"]).as_uri(), "_blank", 0, properties(Hidden=True))
    try:
        if job["filter"] is not None:
            set_filter(document, job["filter"]["column"], job["filter"]["values"])
        for copy in job["save"]:
            path = Path(copy["path"])
            name, format_options = FORMATS[path.suffix]
            options: dict[str, object] = {"FilterName": name, "FilterOptions": format_options}
            if copy["password"] is not None:
                options |= encryption(path, copy["password"])
            document.storeToURL(path.as_uri(), properties(**options))
    finally:
        document.close(True)


def main() -> None:
    jobs = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        # With its own profile and pipe, it does not disturb a LibreOffice that is already open.
        pipe = f"{PIPE}-{Path(folder).name}"
        office = subprocess.Popen(
            [
                "soffice",
                "--headless",
                "--norestore",
                "--nologo",
                f"-env:UserInstallation={Path(folder).as_uri()}",
                f"--accept=pipe,name={pipe};urp;",
            ]
        )
        desktop = None
        try:
            desktop = connect(office, pipe)
            for job in jobs:
                run_job(desktop, job)
        finally:
            if desktop is not None:
                desktop.terminate()
            else:
                office.terminate()
            office.wait(TIMEOUT)


if __name__ == "__main__":
    main()
