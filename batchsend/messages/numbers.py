"""Numbers in cells: reads them, and refuses arithmetic and comparisons that would treat them as text.

A cell is text. Python joins `10` and `20` to `1020`, puts `9` after `10`, and never finds `2020` equal to a number.
In a message each of these would be a wrong text to a customer, so they are problems of the row.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Undefined

from batchsend.errors import FilterProblem
from batchsend.messages import limits

# More digits than this do not fit into a floating-point number, and such a value is an id rather than an amount.
_MAX_DIGITS = 15
_number = re.compile(
    r"(?P<sign>-?)\$? ?(?P<inner_sign>-?)(?P<whole>\d{1,3}(?:,\d{3})+|\d+|(?=\.))(?P<decimals>\.\d+)?",
    re.ASCII,
)
_iso_date = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}:\d{2})?", re.ASCII)
_digit = re.compile(r"\d")
_NOT_GIVEN = object()


def number(value: Any, default: Any = _NOT_GIVEN) -> Any:
    """`45,000` -> 45000, `$1,234.50` -> 1234.5. Numbers and blanks are returned unchanged.

    Other values, percentages among them, become `default`. Raises `FilterProblem` if there is none.
    """
    return _read("number", value, default)


def whole_number(value: Any, default: Any = _NOT_GIVEN) -> Any:
    """As `number`, without the decimals."""
    found = _read("int", value, default)
    return int(found) if isinstance(found, float) else found


def float_number(value: Any, default: Any = _NOT_GIVEN) -> Any:
    """As `number`, always as a floating-point number."""
    found = _read("float", value, default)
    return float(found) if isinstance(found, int) else found


def _read(name: str, value: Any, default: Any) -> Any:
    if isinstance(value, Undefined):
        return value if default is _NOT_GIVEN else default
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    found = _parsed(limits.text_of(value).strip())
    if found is not None:
        return found
    if default is not _NOT_GIVEN:
        return default
    hint = '; write `replace("%", "")` before it' if str(value).endswith("%") else ""
    raise FilterProblem(
        f"`{name}` cannot read the value: it is not a number such as 45,000 or $1,234.50{hint}"
    )


def _parsed(text: str) -> int | float | None:
    match = _number.fullmatch(text)
    if match is None or (match["sign"] and match["inner_sign"]) or len(_digit.findall(text)) > _MAX_DIGITS:
        return None
    digits = match["whole"].replace(",", "")
    value = float(f"{digits}{match['decimals']}") if match["decimals"] else int(digits)
    return -value if match["sign"] or match["inner_sign"] else value


# Comparisons. Each function is used for the operator and for Jinja's test of the same name.

_EQUALITY = frozenset({"eq", "ne"})
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda item, items: item in items,
    "notin": lambda item, items: item not in items,
}


def compare(name: str, left: Any, right: Any) -> bool:
    """Compares as Jinja's operator `name` (`eq`, `lt`, `in` ...).

    Raises `RefusedError` where Python's answer would mislead: for text and a number, which are never equal, and for
    the order of texts with digits in them. Raises `BlankCellError` for a blank and a number.
    """
    if name in _EQUALITY:
        _check_equality(left, right)
    elif name in {"in", "notin"}:
        _check_membership(left, right)
    elif isinstance(left, str) and isinstance(right, str):
        check_order((left, right))
        left, right = left.casefold(), right.casefold()
    return _OPERATORS[name](left, right)


def _check_equality(left: Any, right: Any) -> None:
    kinds = {_kind(left), _kind(right)}
    if len(kinds) == 1:
        return
    if "a number" in kinds:
        for value in (left, right):
            if isinstance(value, Undefined):
                str(value)  # raises: whether a blank equals a number is unknown
    if kinds <= _MIX_UPS.keys():
        raise limits.RefusedError(_MIX_UPS[min(kinds - {"text"})])


def _check_membership(item: Any, items: Any) -> None:
    if isinstance(items, str) and isinstance(item, Undefined):
        str(item)  # raises: Python finds the empty text in every text
    if isinstance(items, range):
        items = items[:1]
    if isinstance(items, (list, tuple, range)):
        for other in items:
            _check_equality(item, other)


def check_order(values: Sequence[Any]) -> None:
    """Raises `RefusedError` if the values cannot be put in order: texts with digits, unless all are ISO dates."""
    texts = [value for value in values if isinstance(value, str)]
    if any(map(_digit.search, texts)) and not all(map(_iso_date.fullmatch, texts)):
        raise limits.RefusedError(
            "puts texts with digits in order; write `mileage | number` for numbers, and "
            '`next_service | date("yyyy-MM-dd")` for dates'
        )


def _kind(value: Any) -> str:
    if isinstance(value, (str, Undefined)):
        return "text"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "`none`" if value is None else "a list"


_MIX_UPS = {
    "text": "",
    "a number": 'compares text with a number; write `year | number == 2026` or `year == "2026"`',
    "true or false": 'compares a value with true or false; write the text of the cell, as in `vip == "TRUE"`',
    "`none`": "compares a value with `none`; write `not advisor` for a blank cell",
}


def tested(value: Any) -> Any:
    """`value`, which a condition tests alone. Raises `RefusedError` for the text FALSE, which is true to Python."""
    if value.__class__ is str and len(value) == len("FALSE") and value.upper() == "FALSE":
        raise limits.RefusedError(
            'tests a cell that says FALSE, and every cell that is not blank counts as true; write `vip == "TRUE"`'
        )
    return value


# Arithmetic of values that are not written out in the template


def added(values: Sequence[Any]) -> Any:
    """The sum of two values. Raises `RefusedError` for texts with digits, which Python would join."""
    left, right = values
    if isinstance(left, str) and isinstance(right, str) and _digit.search(left + right):
        raise limits.RefusedError(
            "adds texts; write `parts | number + labor | number` for the sum, or `parts ~ labor` to join them"
        )
    return limits.add(left, right)


def multiplied(values: Sequence[Any]) -> Any:
    """The product of two values. Raises `RefusedError` for a text, which Python would repeat."""
    if any(isinstance(value, str) for value in values):
        raise limits.RefusedError("multiplies text; convert it to a number first, as in `price | number * 2`")
    return limits.multiply(*values)
