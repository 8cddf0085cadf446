"""What keeps the rendering of a row short and small: its budget, and bounded versions of all that makes values grow.

Whatever can make a value larger says beforehand how large, and is refused past the bounds. Whatever can repeat looks
at the clock each time round. All else in a template runs once, over values that are small, and takes no time to speak
of. So neither a thread nor a signal is needed to stop it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any

from jinja2 import Undefined
from jinja2.filters import do_round

#: The longest text that one row, or one value on the way to it, may have; and the longest list.
MAX_CHARACTERS = 100_000
#: What one row may compute, in seconds of processor time: a busy or sleeping machine spoils no row.
MAX_SECONDS = 2.0
# All values together that one row builds, so that many of them cannot fill the memory.
_MAX_BUILT = 100 * MAX_CHARACTERS
_MAX_BITS = 128
# Each is at most MAX_CHARACTERS long; most texts have fewer.
_CHUNKS_AT_ONCE = 32
_MAX_PLACES = 100


class RefusedError(Exception):
    """A template does what no text needs. The message is the end of "the template ..."."""


class _Budget(threading.local):
    """What the row that this thread renders has used so far."""

    ends: float | None = None
    built: int = 0


_budget = _Budget()


def reset_budget() -> None:
    """A new row has all its time and size before it."""
    _budget.ends = None
    _budget.built = 0


def check_time() -> None:
    """Refuses to go on once the row's time is used up. Counts from its first call for a row."""
    now = time.thread_time()
    if _budget.ends is None:
        _budget.ends = now + MAX_SECONDS
    elif now > _budget.ends:
        raise RefusedError(f"takes over {MAX_SECONDS:g} seconds; look for a loop that goes round too often")


def _reserve(length: int) -> None:
    """Refuses a value of `length` characters or items before it is built."""
    _budget.built += max(length, 0)
    if length > MAX_CHARACTERS or _budget.built > _MAX_BUILT:
        raise RefusedError(f"makes a value of over {MAX_CHARACTERS:,} characters")


def joined(chunks: Iterable[str]) -> str:
    """The chunks as one text, refused soon after they are too long together."""
    chunks = iter(chunks)
    text = ""
    while some := list(islice(chunks, _CHUNKS_AT_ONCE)):
        text += "".join(some)
        if len(text) > MAX_CHARACTERS:
            raise RefusedError(f"makes a text of over {MAX_CHARACTERS:,} characters")
    return text


def printable(value: Any) -> str | int | float:
    """`value` if it has a place in a text; lists, functions, `none` and the like are slips of whoever wrote it."""
    # Nearly all that is printed is a cell.
    if value.__class__ is str or (isinstance(value, (str, int, float)) and not isinstance(value, bool)):
        return value
    if isinstance(value, Undefined):
        return str(value)
    raise RefusedError(f"prints {_KINDS.get(type(value), 'something that is no text')}")


_KINDS: Mapping[type, str] = {
    bool: "true or false, which is no text",
    type(None): "`none`, which is no text",
    list: "a list; use `join`",
    tuple: "a list; use `join`",
    dict: "a table, which is no text",
    type("".upper): "a method; it lacks its brackets ()",
    partial: "a method; it lacks its brackets ()",
}


def text_of(value: Any) -> str:
    """`value` as it is printed."""
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
        if isinstance(left, str) and left.strip().replace(".", "").isdigit():
            raise RefusedError("multiplies a text; make a number of it first, as in `price|float * 2`")
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
    """`left % right`: the remainder, or the text `left` with `right` in its places."""
    if not isinstance(left, str):
        return left % right
    values = right if isinstance(right, tuple) else right.values() if isinstance(right, Mapping) else (right,)
    _reserve_formatted(left, _percent_places.findall(left), values)
    return left % right


# Filters and methods of texts

_percent_places = re.compile(r"%(?:\([^()]*\))?([^a-zA-Z%]*)")
_brace_places = re.compile(r"\{([^{}]*\{?)")


def _reserve_formatted(template: str, places: list[str], values: Iterable[Any]) -> None:
    """Formatting gives at most, for each place, the width that stands there or the longest value."""
    if any(mark in place for place in places for mark in "*{"):
        raise RefusedError("formats to a width that is itself computed")
    widths = (int(digits[:9]) for place in places for digits in re.findall(r"[0-9]+", place))
    lengths = (len(text_of(value)) for value in values)
    _reserve(len(template) + len(places) * max(20, *widths, *lengths))


def format_percent(template: Any, *args: Any, **kwargs: Any) -> str:
    """`"%s and %s"|format(one, other)`"""
    return str(modulo(text_of(template), kwargs or args))


def format_braces(template: str, *args: Any, **kwargs: Any) -> str:
    """`"{} and {}".format(one, other)`, without attributes of values."""
    places = _brace_places.findall(template)
    if any(mark in place.partition(":")[0] for place in places for mark in ".["):
        raise RefusedError("formats an attribute of a value")
    _reserve_formatted(template, places, [*args, *kwargs.values()])
    return template.format(*args, **kwargs)


def center(text: Any, width: int = 80) -> str:
    """`text` in the middle of `width` characters."""
    _reserve(width)
    return text_of(text).center(width)


def padded(method: Callable[..., str], text: str, width: int, *fill: str) -> str:
    """`method` of `text`, one of those that fill it up to `width` characters."""
    _reserve(width)
    return method(text, width, *fill)


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """The text `value` with `new` for every `old`, or for the first `count` of them."""
    text, before, after = text_of(value), text_of(old), text_of(new)
    _reserve(len(text) + text.count(before) * len(after))
    return text.replace(before, after, -1 if count is None else count)


def join(separator: Any, items: Iterable[Any]) -> str:
    """The items as one text, `separator` between them."""
    between = text_of(separator)
    texts = [text_of(item) for item in islice(items, MAX_CHARACTERS + 1)]
    _reserve(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def indent(value: Any, width: int = 4) -> str:
    """The text `value`, each line but the first moved in by `width` blanks."""
    text = text_of(value)
    _reserve(len(text) + (text.count("\n") + 1) * width)
    return text.replace("\n", "\n" + " " * width)


def rounded(value: float, precision: int = 0, method: str = "common") -> float:
    """As Jinja's `round`: `common`, `ceil` or `floor`."""
    if abs(precision) > _MAX_PLACES:
        raise RefusedError(f"rounds to over {_MAX_PLACES} places")
    return do_round(value, precision, method)  # type: ignore[arg-type]


def summed(items: Iterable[Any]) -> float:
    """The sum of numbers. No other start than 0: lists would grow."""
    total: float = sum(items)
    return total
