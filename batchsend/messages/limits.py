"""Limits the time and size of rendering one row, with bounded versions of the operations that make values larger.

Every operation that can enlarge a value computes the new size first and fails above the limit. Every construct that
can repeat checks the time in each round. Everything else in a template runs once on small values. So no thread or
signal is needed to stop a template.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from itertools import islice
from typing import Any

from jinja2 import Undefined
from jinja2.filters import do_round

#: The maximum length of a row's text, of any value in a template, and of any list.
MAX_CHARACTERS = 100_000
#: Seconds of processor time per row, so that a busy or suspended machine does not fail a row.
MAX_SECONDS = 2.0
# The total size of all values that one row builds, to limit memory.
_MAX_BUILT = 100 * MAX_CHARACTERS
_MAX_BITS = 128
# Each has at most MAX_CHARACTERS; most texts have fewer chunks.
_CHUNKS_AT_ONCE = 32
_MAX_PLACES = 100
# The largest float has 309 digits before the decimal point.
_ENOUGH_DIGITS = Context(prec=309 + _MAX_PLACES)


class RefusedError(Exception):
    """A template exceeds a limit or does something that texts do not need. The message follows "the template"."""


class _Budget(threading.local):
    """What the current row of this thread has used."""

    ends: float | None = None
    built: int = 0


_budget = _Budget()


def reset_budget() -> None:
    """Starts a new row with a full budget."""
    _budget.ends = None
    _budget.built = 0


def check_time() -> None:
    """Raises `RefusedError` when the row's time is used up. The time starts with the first call for a row."""
    now = time.thread_time()
    if _budget.ends is None:
        _budget.ends = now + MAX_SECONDS
    elif now > _budget.ends:
        raise RefusedError(f"takes over {MAX_SECONDS:g} seconds; look for a loop that repeats too often")


def add_time(seconds: float) -> None:
    """Counts the processor time of another thread for this row. Raises `RefusedError` when the time is used up."""
    check_time()
    _budget.ends = (_budget.ends or 0.0) - seconds
    check_time()


def _reserve(length: int) -> None:
    """Adds a value of `length` characters or items to the budget before it is built. Raises `RefusedError`."""
    _budget.built += max(length, 0)
    if length > MAX_CHARACTERS or _budget.built > _MAX_BUILT:
        raise RefusedError(f"makes a value of over {MAX_CHARACTERS:,} characters")


def joined(chunks: Iterable[str]) -> str:
    """Joins the chunks of a text. Raises `RefusedError` once they are too long."""
    chunks = iter(chunks)
    text, count = "", _CHUNKS_AT_ONCE
    while count == _CHUNKS_AT_ONCE:
        some = list(islice(chunks, _CHUNKS_AT_ONCE))
        count = len(some)
        text += "".join(some)
        if len(text) > MAX_CHARACTERS:
            raise RefusedError(f"makes a text of over {MAX_CHARACTERS:,} characters")
    return text


_plain_float = re.compile(r"-?[0-9]+\.[0-9]+")


def printable(value: Any) -> str | int | float:
    """`value`, if it may be printed. Raises `RefusedError` for lists, methods, `none` and the like."""
    # Nearly all printed values are cells.
    if value.__class__ is str:
        return value
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        if value.__class__ is float and not _plain_float.fullmatch(repr(value)):
            raise RefusedError("prints a number that has no plain digits, such as 1e-07")
        return value
    if isinstance(value, Undefined):
        return str(value)
    raise RefusedError(f"prints {_KINDS.get(type(value), 'something that is not text')}")


_KINDS: Mapping[type, str] = {
    bool: "true or false, which is not text",
    type(None): "`none`, which is not text",
    list: "a list; use `join`",
    tuple: "a list; use `join`",
    dict: "a table, which is not text",
    type("".upper): "a method; add parentheses ()",
    partial: "a method; add parentheses ()",
}


def text_of(value: Any) -> str:
    """`value` as printed. Raises `RefusedError` as `printable` does."""
    return str(printable(value))


# Operators


def add(left: Any, right: Any) -> Any:
    """`left + right`"""
    if isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        _reserve(len(left) + len(right))
    return left + right


def multiply(left: Any, right: Any) -> Any:
    """`left * right`"""
    if isinstance(left, int) and isinstance(right, (str, list, tuple)):
        left, right = right, left
    if isinstance(left, (str, list, tuple)) and isinstance(right, int):
        _reserve(len(left) * right)
    if (
        isinstance(left, int)
        and isinstance(right, int)
        and left.bit_length() + right.bit_length() > _MAX_BITS
    ):
        raise RefusedError("computes too large a number")
    return left * right


def power(left: Any, right: Any) -> Any:
    """`left ** right`"""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_BITS:
        raise RefusedError("computes too large a number")
    return left**right


def modulo(left: Any, right: Any) -> Any:
    """`left % right`: the remainder, or the text `left` with `right` in its placeholders."""
    if not isinstance(left, str):
        return left % right
    values = right if isinstance(right, tuple) else right.values() if isinstance(right, Mapping) else (right,)
    _reserve_formatted(left, _percent_placeholders.findall(left), values)
    return left % right


# Filters and methods of texts

_percent_placeholders = re.compile(r"%(?:\([^()]*\))?([^a-zA-Z%]*)")
_brace_placeholders = re.compile(r"\{([^{}]*\{?)")


def _reserve_formatted(template: str, placeholders: list[str], values: Iterable[Any]) -> None:
    """Adds the maximum size of a formatted text to the budget. Raises `RefusedError` if it cannot be computed."""
    if any(mark in placeholder for placeholder in placeholders for mark in "*{"):
        raise RefusedError("formats to a width that is itself computed")
    widths = (
        int(digits[:9]) for placeholder in placeholders for digits in re.findall(r"[0-9]+", placeholder)
    )
    lengths = (len(text_of(value)) for value in values)
    _reserve(len(template) + len(placeholders) * max(20, *widths, *lengths))


def format_percent(template: Any, *args: Any, **kwargs: Any) -> str:
    """`"%s and %s"|format(one, other)`"""
    return str(modulo(text_of(template), kwargs or args))


def format_braces(template: str, *args: Any, **kwargs: Any) -> str:
    """`"{} and {}".format(one, other)`, without attributes of values."""
    placeholders = _brace_placeholders.findall(template)
    if any(mark in placeholder.partition(":")[0] for placeholder in placeholders for mark in ".["):
        raise RefusedError("formats an attribute of a value")
    _reserve_formatted(template, placeholders, [*args, *kwargs.values()])
    return template.format(*args, **kwargs)


def center(text: Any, width: int = 80) -> str:
    """`text` in the middle of `width` characters."""
    _reserve(width)
    return text_of(text).center(width)


def padded(method: Callable[..., str], text: str, width: int, *fill: str) -> str:
    """`text` padded to `width` characters by `method`, such as `str.ljust`."""
    _reserve(width)
    return method(text, width, *fill)


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """The text `value` with `new` for every `old`, or for the first `count` of them."""
    text, before, after = text_of(value), text_of(old), text_of(new)
    _reserve(len(text) + text.count(before) * len(after))
    return text.replace(before, after, -1 if count is None else count)


def join(separator: Any, items: Iterable[Any]) -> str:
    """The items as one text, with `separator` between them."""
    between = text_of(separator)
    texts = [text_of(item) for item in islice(items, MAX_CHARACTERS + 1)]
    _reserve(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def indent(value: Any, width: int = 4) -> str:
    """The text `value` with every line except the first indented by `width` blanks."""
    text = text_of(value)
    _reserve(len(text) + (text.count("\n") + 1) * width)
    return text.replace("\n", "\n" + " " * width)


def rounded(value: float, precision: int = 0, method: str = "common") -> float:
    """As Jinja's `round` (`common`, `ceil` or `floor`), but half is rounded up, as in spreadsheets."""
    if abs(precision) > _MAX_PLACES:
        raise RefusedError(f"rounds to over {_MAX_PLACES} places")
    if method == "common" and isinstance(value, (int, float)):
        place = Decimal(1).scaleb(-precision)
        return type(value)(Decimal(repr(value)).quantize(place, ROUND_HALF_UP, _ENOUGH_DIGITS))
    return do_round(value, precision, method)  # type: ignore[arg-type]


def summed(items: Iterable[Any]) -> float:
    """The sum of numbers. It always starts at 0, because lists would grow."""
    total: float = sum(items)
    return total
