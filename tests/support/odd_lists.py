"""Unusual lists from practice, each with its expected rows or the sentences that refuse it.

LibreOffice saved the files in `tests/lists/formats/odd_lists/` (see `make_files.py` there). All others are made here.
"""

from __future__ import annotations

import io
import zipfile

from list_cases import Refused
from odd_markup import OPENDOCUMENT, WEB_PAGES, XML_SPREADSHEETS
from odd_text_files import TEXT_FILES
from odd_workbooks import WORKBOOKS

NOT_A_LIST = "not a list. Export the list as .xlsx or .csv."


def zip_with(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "x")
    return content.getvalue()


NO_LISTS = [
    # A photo of the list, taken with a phone.
    Refused("list.jpg", b"\xff\xd8\xff\xe0", (f"It is a picture (JPEG), {NOT_A_LIST}",)),
    # The same with a newer phone.
    Refused("list.heic", b"\0\0\0\x18ftypheic", (f"It is a picture (HEIC), {NOT_A_LIST}",)),
    # A scan.
    Refused("list.tif", b"II*\0", (f"It is a picture (TIFF), {NOT_A_LIST}",)),
    # Contacts from a phone.
    Refused("list.vcf", b"BEGIN:VCARD\r\n", (f"It is a file of contacts (vCard), {NOT_A_LIST}",)),
    # The response of a web service, saved under the wrong name.
    Refused("list.csv", b'[{"name": "Ann"}]', (f"It is a JSON document, {NOT_A_LIST}",)),
    # A synchronized folder has only a link to a Google sheet.
    Refused(
        "list.gsheet",
        b'{"":"WARNING!","doc_id":"1x","email":"ann@example.com"}',
        (
            (
                "It is only a link to a Google sheet. Open the sheet, choose File > Download > Microsoft Excel, "
                "and name the downloaded file."
            ),
        ),
    ),
    # The lock file that Excel creates while a workbook is open.
    Refused(
        "~$list.xlsx",
        b"\x03Ann",
        ("It is a lock file, which exists while list.xlsx is open. Name list.xlsx instead.",),
    ),
    # LibreOffice's.
    Refused(
        ".~lock.list.ods#",
        b",ann,office,27.11.2026 09:30,file:///home/ann/.config/libreoffice/4;",
        ("It is a lock file, which exists while list.ods is open. Name list.ods instead.",),
    ),
    # Excel's "Single File Web Page".
    Refused(
        "list.xls",
        b"MIME-Version: 1.0\r\n",
        ("It is a web archive (.mht), which cannot be read. Open it in Excel and save it as .xlsx.",),
    ),
    # A zip archive without files.
    Refused("empty.zip", b"PK\x05\x06" + bytes(18), (f"It is an empty zip archive, {NOT_A_LIST}",)),
    # The dealership's database instead of an export.
    Refused("list.mdb", b"\0\1\0\0Standard Jet DB", (f"It is a database (Access), {NOT_A_LIST}",)),
    # A spreadsheet of Apple Numbers, which is a zip.
    Refused(
        "list.numbers",
        zip_with("Index/Document.iwa", "preview.jpg"),
        (
            "It is a Numbers document, which cannot be read. Open it in Numbers and export it as Excel or CSV.",
        ),
    ),
    # Excel's binary workbook, which some people save because it is small.
    Refused(
        "list.xlsb",
        zip_with("xl/workbook.bin"),
        (
            (
                "It is a binary workbook (.xlsb), which cannot be read. "
                "Open it in the program that made it and save it as .xlsx or .csv."
            ),
        ),
    ),
]

ODD_LISTS = [*TEXT_FILES, *WORKBOOKS, *OPENDOCUMENT, *WEB_PAGES, *XML_SPREADSHEETS, *NO_LISTS]
