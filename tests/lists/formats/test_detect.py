"""Files that are not lists are recognized by their content."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from batchsend.errors import ListError
from batchsend.lists.customer_list import open_list

SAVE_AS = "Open it in the program that made it and save it as .xlsx or .csv."
# Sectors of 512 bytes; the first one is the directory.
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(22) + b"\x09" + bytes(481)


def zip_of(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            # The default time is fixed, so that every pytest process has the same cases.
            archive.writestr(zipfile.ZipInfo(name), "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        # A screenshot of the list.
        (
            "list.xlsx",
            b"\x89PNG\r\n\x1a\n\0\0",
            "It is a picture (PNG), not a list. Export the list as .xlsx or .csv.",
        ),
        # A printed list.
        (
            "list.csv",
            b"%PDF-1.7\n",
            "It is a PDF document, not a list. Export the list as .xlsx or .csv.",
        ),
        # From an overnight job.
        (
            "list.csv",
            gzip.compress(b"a,b\n1,2\n", mtime=0),
            "It is a compressed file (gzip), not a list. Export the list as .xlsx or .csv.",
        ),
        # The list, zipped for an email.
        (
            "list.xlsx",
            zip_of("list.csv"),
            "It is a zip archive, not a list. Unpack it and name the list inside.",
        ),
        (
            "list.xlsb",
            zip_of("xl/workbook.bin"),
            f"It is a binary workbook (.xlsb), which cannot be read. {SAVE_AS}",
        ),
        ("list.docx", zip_of("word/document.xml"), f"It is a Word document, which cannot be read. {SAVE_AS}"),
        (
            "list.numbers",
            zip_of("Index/Document.iwa"),
            "It is a Numbers document, which cannot be read. Open it in Numbers and export it as Excel or CSV.",
        ),
        # An incomplete download: the zip's directory at the end is missing.
        (
            "list.xlsx",
            zip_of("xl/workbook.xml")[:60],
            "It is a workbook that was cut short or damaged. Copy, download or export it again.",
        ),
        # Excel puts encrypted workbooks into an OLE container.
        (
            "list.xlsx",
            OLE + "EncryptedPackage".encode("utf-16-le"),
            "It is protected by a password. Open it in Excel, save it without a password, and try again.",
        ),
        (
            "list.doc",
            OLE + "WordDocument".encode("utf-16-le") + bytes(512),
            "It is an Office document, but not a workbook. Export the list as .xlsx or .csv.",
        ),
    ],
)
def test_files_that_are_not_lists(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ListError) as caught:
        open_list(path)
    assert str(caught.value) == f"{path}: {sentence}"


def test_a_csv_file_named_xlsx_is_read_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    path.write_bytes(b"Name\nAnn\n")
    assert open_list(path).headers == ("Name",)
