"""From a campaign file's bytes to its data, with plain sentences for what trips people up in TOML."""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any

#: Far more than any campaign needs; keeps a list that was named by mistake out of the parser.
MAX_BYTES = 1_000_000

_CURLY = re.compile("[“”„‟‘’‚‛«»]")
_STRAIGHT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_BACKSLASH = re.compile(r'"([^"]*\\[^"]*)"')

#: What tomllib says -> what that means to somebody who does not know TOML.
_PLAIN = (
    (
        "Invalid value",
        "there is no valid value here; text stands in straight quotes, and true and false in small letters",
    ),
    ("Invalid statement", "every line is `key = value`, a [section] or a # comment"),
    ("Expected '=' after a key", "every line is `key = value`, a [section] or a # comment"),
    (
        "Expected newline or end of document",
        "something is left over behind the value; text stands in straight quotes",
    ),
    ("Cannot overwrite a value", "this key is there twice; keep one of them"),
    ("Cannot declare", "this [section] is there twice; put its keys together under one"),
    ("Cannot mutate", "this [section] or key is there twice; put its keys together under one"),
    ("Duplicate inline table key", "this key is there twice; keep one of them"),
    ("Expected ']'", "a closing ] is missing"),
    ("Unclosed array", "a list has no closing ]"),
    ("Unclosed inline table", "a table in { } has no closing } on the same line"),
    ("Unterminated string", "a closing quote is missing"),
    ("Illegal character '\\n'", "a closing quote is missing at the end of the line"),
    ('Expected "\'"', "a closing quote is missing"),
    ("Expected \"'", "a closing quote is missing"),
    ("Illegal character", "there is an invisible control character here; delete it"),
)


class TomlError(ValueError):
    """One sentence, without the file's name."""


def parse(content: bytes) -> dict[str, Any]:
    """The data of a campaign file. Raises `TomlError`."""
    text = _decode(content)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(_explain(str(error), text)) from error
    except (RecursionError, ValueError) as error:
        raise TomlError("it holds a number or a list of lists that no campaign needs") from error


def _decode(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise TomlError("it is larger than 1 MB and so no campaign file; is it the list?")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _looks_utf16(content):
        raise TomlError('it is saved as UTF-16 ("Unicode"); save it again with the encoding UTF-8')
    if b"\0" in content:
        raise TomlError("it is not a text file; name the campaign file, a text file that ends in .toml")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TomlError(
            f"line {line} holds a character that is not UTF-8; save the file again with the encoding UTF-8"
        ) from error


def _looks_utf16(content: bytes) -> bool:
    """Every other byte of Latin text without a byte order mark is zero."""
    head = content[:200]
    return len(head) > 3 and (not any(head[1::2]) or not any(head[::2]))


def _explain(message: str, text: str) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    at = re.search(r"\(at line (\d+)", message)
    if at:
        number = int(at[1])
    else:  # "at end of document": the cause stands earlier, or in the last line that says anything
        curly = (index for index, line in enumerate(lines, 1) if _has_curly_quotes(line))
        filled = [index for index, line in enumerate(lines, 1) if line.strip()]
        number = next(curly, filled[-1] if filled else 1)
    line = lines[number - 1]
    backslash = _BACKSLASH.search(line)
    if (
        message.startswith(("Unescaped '\\'", "Invalid hex value"))
        and backslash
        and "pass" not in line.lower()
    ):
        path = backslash[1]
        slashes = path.replace("\\", "/")
        reason = (
            "a backslash in double quotes has a meaning of its own; "
            f"write \"{slashes}\" or use single quotes: '{path}'"
        )
    elif _has_curly_quotes(line):
        reason = 'curly quotes do not count as quotes; write straight ones (") around the text'
    else:
        said = re.sub(r" \(at .*", "", message)
        reason = next(
            (plain for start, plain in _PLAIN if message.startswith(start)), f"this is not valid TOML: {said}"
        )
    return f"line {number}: {reason}"


def _has_curly_quotes(line: str) -> bool:
    """Whether a curly quote stands where a straight one should: outside quoted text and comments."""
    return bool(_CURLY.search(_STRAIGHT.sub("", line).partition("#")[0]))
