"""Finds the encoding of a text file, from all of its bytes or from the options."""

from __future__ import annotations

import codecs
import difflib
import re
from functools import partial
from pathlib import Path

from batchsend.errors import ListError, Sentence

_BLOCK = 1024 * 1024
_SAMPLE = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Windows-1252 has a symbol or a rare capital letter where Mac Roman and DOS have an accented letter, inside a word.
_NOT_WINDOWS = re.compile(r"[a-z][ŠŒŽŸ]|[A-Z][ŠŒŽŸ][a-z]|[A-Za-z][€‚ƒ„†‡ˆ‰‹›˜¡¢£¤¥](?!\d)")
_USUAL = ("utf-8", "utf-16", "windows-1252", "mac-roman", "iso-8859-1")
_SAVE_AS_UTF8 = 'save it again as "CSV UTF-8"'


def detect_encoding(path: Path, wanted: str | None) -> tuple[str, str | None]:
    """The codec that decodes the whole file, and a note if it was assumed.

    `wanted` is the `encoding` option. Raises ListError if the file is not text or has another encoding.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    marked = next((encoding for mark, encoding in _MARKS if sample.startswith(mark)), None)
    if wanted is not None:
        named = _known(path, wanted)
        if named == "utf-8" and marked == "utf-8-sig":
            named = marked
        option = Sentence(
            f'`encoding = "{wanted}"` under [list_options] does not fit',
            f'The encoding "{wanted}" does not fit',
        )
        _check(path, named, option)
        return named, None
    if found := marked or _utf16_without_mark(sample):
        _check(path, found, f"It looks like {found.removesuffix('-sig').upper()} text, but is not")
        return found, None
    bad_line = _first_undecodable(path, "utf-8")
    return ("utf-8", None) if bad_line is None else _windows_1252(path, bad_line)


def is_utf8(path: Path) -> bool:
    """Whether the text is UTF-8 and not plain ASCII. Text in another encoding hardly ever is."""
    return _first_undecodable(path, "utf-8") is None and _has_utf8_characters(path)


#: Where the console has the encoding.
_ON_PAGE = "under When, How the list is read"


def _known(path: Path, name: str) -> str:
    try:
        # Fails for codecs that are not for text, such as base64.
        " ".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        near = difflib.get_close_matches(name.lower(), _USUAL, 1)
        hint = f' Did you mean "{near[0]}"?' if near else f" Usual ones are {', '.join(_USUAL)}."
        raise ListError(
            path,
            Sentence(
                f'`encoding = "{name}"` under [list_options] is not a known encoding.{hint}',
                f'The encoding "{name}" is not known.{hint} Change it {_ON_PAGE}.',
            ),
        ) from None


def _utf16_without_mark(sample: bytes) -> str | None:
    """Recognizes UTF-16 by its NULs: every other byte in Western languages. Other text has none."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if (even + odd) * 5 < len(sample):
        return None
    if odd > 9 * even:
        return "utf-16-le"
    if even > 9 * odd:
        return "utf-16-be"
    return None


def _windows_1252(path: Path, bad_line: int) -> tuple[str, str]:
    if _has_utf8_characters(path):
        problem = (
            f"It is UTF-8 text, but line {bad_line} has a byte that is not UTF-8. Fix that line, or {_SAVE_AS_UTF8}. "
            f"If the whole file has another encoding,"
        )
        raise ListError(
            path,
            Sentence(
                f'{problem} name it: encoding = "windows-1252" under [list_options].',
                f"{problem} name it {_ON_PAGE}.",
            ),
        )
    line = _first_undecodable(path, "cp1252")
    if line is not None:
        problem = (
            f"It is neither UTF-8 nor Windows-1252 text (see line {line}). Open it in the program that made it and "
            f"{_SAVE_AS_UTF8}, or name its encoding"
        )
        raise ListError(
            path,
            Sentence(f"{problem} under [list_options].", f"{problem} {_ON_PAGE}."),
        )
    if (line := _first_doubtful(path)) is not None:
        raise ListError(
            path,
            Sentence(
                f"Line {line} has letters that could be in several encodings. Choose one under [list_options]: "
                'encoding = "mac-roman" for a list from an old Mac program, "cp850" from a DOS program, '
                f'"windows-1252" from Windows. Or {_SAVE_AS_UTF8}.',
                f"Line {line} has letters that could be in several encodings. Write one {_ON_PAGE}: mac-roman for a "
                f"list from an old Mac program, cp850 from a DOS program, windows-1252 from Windows. Or "
                f"{_SAVE_AS_UTF8}.",
            ),
        )
    return "cp1252", "read as Windows-1252"


def _first_doubtful(path: Path) -> int | None:
    """The number of the first line that is not likely to be Windows-1252; None if there is none."""
    first = None
    with path.open(encoding="cp1252") as file:
        for number, line in enumerate(iter(partial(file.readline, _BLOCK), ""), 1):
            if line.isascii():
                continue
            if _NOT_WINDOWS.search(line):
                return number
            first = first or number
    # Excel on a Mac wrote Mac Roman with these line ends.
    return first if file.newlines == "\r" else None


def _check(path: Path, encoding: str, problem: str) -> None:
    line = _first_undecodable(path, encoding)
    if line is not None:
        rest = f"line {line} cannot be decoded. Open it in a spreadsheet and {_SAVE_AS_UTF8}."
        on_page = problem.on_page if isinstance(problem, Sentence) else problem
        raise ListError(path, Sentence(f"{problem}: {rest}", f"{on_page}: {rest}"))


def _first_undecodable(path: Path, encoding: str) -> int | None:
    """The number of the first line that cannot be decoded; None if all can."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return lines + error.object[: error.start].count(b"\n")
            if "\0" in text:
                raise ListError(path, _nuls(lines + text[: text.index("\0")].count("\n")))
            lines += text.count("\n")
            if not block:
                return None


def _has_utf8_characters(path: Path) -> bool:
    """Whether any non-ASCII character is valid UTF-8, which is very rare by chance in Windows-1252 text."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            text = decoder.decode(block)
            if not text.isascii() and not text.replace("\ufffd", "").isascii():
                return True
    return False


def _nuls(line: int) -> str:
    return (
        f"It has NUL bytes (the first in line {line}), which text never has: it is damaged or not a list. "
        "Export it again."
    )
