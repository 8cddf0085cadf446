"""Jinja's sandbox for messages: without HTML or random filters, with limits, and never printing blanks.

Jinja's own sandbox keeps templates from using Python. It does not limit them: `{{ "a" * 10**9 }}`, or two nested
loops over `range(99999)`, would overload the machine. This environment uses the bounded operations of `limits`
instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, NoReturn

from jinja2 import BaseLoader, Undefined, UndefinedError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from batchsend.messages import limits, numbers
from batchsend.messages.name_case import name_case
from batchsend.messages.package_filters import filter_of
from batchsend.messages.phones import phone
from batchsend.utils.extensions import Point, find


class BlankCellError(UndefinedError):
    """A template prints a blank cell, which the message names."""


class BlankCell(Undefined):
    """A blank cell or a name without a value. It is false, empty and equal to '', and `default` replaces it.

    Printing it, or a value made from it, raises `BlankCellError`.
    """

    __slots__ = ()

    def _refuse(self, *_: object) -> NoReturn:
        self._fail_with_undefined_error()

    __str__ = __repr__ = __format__ = __iter__ = _refuse

    def __contains__(self, _: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Undefined) or other == ""

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash("")


def blank_cell(message: str) -> BlankCell:
    """The value of a blank cell. `message` is the message of the error for printing it."""
    return BlankCell(hint=message, exc=BlankCellError)


def _text_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a filter of texts to return blanks unchanged, so that a later `or` or `default` applies."""

    @wraps(function)
    def wrapper(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Undefined):
            return value
        return function(limits.text_of(value), *args, **kwargs)

    return wrapper


def _of_babel(name: str) -> Callable[..., str]:
    """One of our filters that print with Babel, which is imported at its first use because that takes time."""

    def wrapper(*args: Any, **kwargs: Any) -> str:
        from batchsend.messages import filters

        text: str = getattr(filters, name)(*args, **kwargs)
        return text

    return wrapper


def _sequence_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps one of Jinja's filters of sequences to return a blank unchanged instead of treating it as empty."""
    value_at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return args[value_at] if isinstance(args[value_at], Undefined) else function(*args, **kwargs)

    return wrapper


def _ordering_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps one of Jinja's filters that put items in order to refuse numbers that are text."""

    @wraps(function)
    def wrapper(environment: Any, items: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(items, Undefined):
            return items
        listed = list(items)
        numbers.check_order(listed)
        return function(environment, listed, *args, **kwargs)

    return wrapper


def _compared(values: tuple[Any, Any], name: str) -> bool:
    return numbers.compare(name, *values)


@pass_context
def _check_time(_context: Context, _: object) -> None:
    limits.check_time()


def _concatenated(values: Iterable[Any]) -> str:
    return limits.joined(map(limits.text_of, values))


#: Jinja's own filters that are useful in texts. Left out: filters for HTML (`escape`, `safe`, `tojson` ...), tables
#: and debugging, and `random`, because the preview would differ from the sent text.
_JINJA_FILTERS = (
    "abs",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "groupby",
    "items",
    "last",
    "length",
    "list",
    "map",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "striptags",
    "truncate",
    "unique",
    "wordcount",
)
_SEQUENCE_FILTERS = ("groupby", "map", "reject", "rejectattr", "select", "selectattr", "unique")
_ORDERING_FILTERS = ("max", "min", "sort")
_TEXT_FILTERS: Mapping[str, Callable[..., str]] = {
    "name_case": name_case,
    "phone": phone,
    "date": _of_babel("date"),
    "money": _of_babel("money"),
    "capitalize": str.capitalize,
    "lower": str.lower,
    "trim": str.strip,
    "upper": str.upper,
}
#: The filters that return a blank cell unchanged and always print something for any other.
PASS_ON_BLANKS = frozenset({*_TEXT_FILTERS, "title", "urlencode"})
_BOUNDED_FILTERS: Mapping[str, Callable[..., Any]] = {
    "center": limits.center,
    "format": limits.format_percent,
    "indent": limits.indent,
    "replace": limits.replace,
    "round": limits.rounded,
    "string": limits.text_of,
    "sum": limits.summed,
    "number": numbers.number,
    "int": numbers.whole_number,
    "float": numbers.float_number,
}
#: Jinja's tests for its comparison operators.
_COMPARISONS: Mapping[str, str] = {
    **dict.fromkeys(("eq", "==", "equalto"), "eq"),
    **dict.fromkeys(("ne", "!="), "ne"),
    **dict.fromkeys(("lt", "<", "lessthan"), "lt"),
    **dict.fromkeys(("le", "<="), "lteq"),
    **dict.fromkeys(("gt", ">", "greaterthan"), "gt"),
    **dict.fromkeys(("ge", ">="), "gteq"),
    "in": "in",
}
_METHODS = frozenset(
    {
        "capitalize",
        "casefold",
        "count",
        "endswith",
        "find",
        "index",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "islower",
        "isnumeric",
        "isspace",
        "istitle",
        "isupper",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rfind",
        "rindex",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
    }
)
_BOUNDED_METHODS: Mapping[str, Callable[..., str]] = {
    "center": partial(limits.padded, str.center),
    "ljust": partial(limits.padded, str.ljust),
    "rjust": partial(limits.padded, str.rjust),
    "zfill": partial(limits.padded, str.zfill),
    "replace": limits.replace,
    "join": limits.join,
    "format": limits.format_braces,
}


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Parses and compiles message templates."""

    concat = staticmethod(limits.joined)
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            autoescape=False,
            auto_reload=False,
            cache_size=-1,
            undefined=BlankCell,
            finalize=limits.printable,
        )
        jinja_filters = self.filters
        self.filters = {
            **{name: jinja_filters[name] for name in _JINJA_FILTERS},
            **{name: _sequence_filter(jinja_filters[name]) for name in _SEQUENCE_FILTERS},
            **{name: _ordering_filter(jinja_filters[name]) for name in _ORDERING_FILTERS},
            **{name: _text_filter(function) for name, function in _TEXT_FILTERS.items()},
            "title": _text_filter(jinja_filters["title"]),
            "urlencode": _text_filter(jinja_filters["urlencode"]),
            **_BOUNDED_FILTERS,
            "join": self._join,
            "_added": numbers.added,
            "_compared": _compared,
            "_concatenated": _concatenated,
            "_multiplied": numbers.multiplied,
            "_tested": numbers.tested,
            "_check_time": _check_time,
        }
        self._own_filters = frozenset(self.filters)
        comparisons: dict[str, Any] = {
            test: partial(numbers.compare, _COMPARISONS[test]) for test in _COMPARISONS
        }
        self.tests.update(comparisons)
        del self.globals["lipsum"]
        self.binop_table.update(
            {
                "+": limits.add,
                "*": limits.multiply,
                "**": limits.power,
                "%": limits.modulo,
            }
        )

    def add_filter_of_package(self, name: str) -> str | None:
        """Adds the filter of an installed package, if there is one of this name. Returns the package.

        Raises `ExtensionError` if it cannot be used.
        """
        found = find(Point.FILTER, name)
        if found is None:
            return None
        if name in self._own_filters:
            raise found.error("has the name of a filter of batchsend. Uninstall the package.")
        if name not in self.filters:
            blank = blank_cell(f"What `{name}` gives for this row is blank")
            self.filters[name] = _text_filter(filter_of(found, blank))
        return found.package

    def _join(self, items: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            items = (self.getitem(item, attribute) for item in items)
        return limits.join(d, items)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Checks().visit(super()._parse(source, name, filename))
        tree.set_environment(self)
        return tree

    def wrap_str_format(self, value: Any) -> None:
        """Disables Jinja's wrapper: `getattr` returns the bounded version, and any other access is refused."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allows text methods that cannot lengthen the text, none of numbers, and else what Jinja allows."""
        if isinstance(obj, str):
            return attr in _METHODS
        return not isinstance(obj, (int, float, bytes)) and super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The attribute, or the bounded version of a text's method."""
        if isinstance(obj, str) and attribute in _BOUNDED_METHODS:
            return partial(_BOUNDED_METHODS[attribute], obj)
        return super().getattr(obj, attribute)


class _Checks(NodeTransformer):
    """Adds a time check to everything that can repeat, and the checks of `limits` and `numbers` to operators."""

    def get_visitor(self, node: nodes.Node) -> Callable[..., Any] | None:
        """The method that transforms `node`; None for all others."""
        match node:
            case nodes.For() | nodes.Macro() | nodes.CallBlock() | nodes.Block():
                return self._with_time_check
            case nodes.Include():
                return self._after_time_check
            case nodes.Concat():
                return self._with_length_check
            case nodes.Compare():
                return self._with_comparison_checks
            case nodes.If() | nodes.CondExpr():
                return self._with_test_checks
            case nodes.Add() | nodes.Mul() if not _has_literal_text(node):
                return self._with_number_check
        return None

    def _with_time_check(self, node: nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, _time_check(node.lineno))
        return node

    def _after_time_check(self, node: nodes.Include) -> list[nodes.Node]:
        return [_time_check(node.lineno), self.generic_visit(node)]

    def _with_length_check(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call("_concatenated", node.nodes, node.lineno)

    def _with_comparison_checks(self, node: nodes.Compare) -> nodes.Expr:
        """`a < b < c` becomes the checked `a < b` and `b < c`."""
        self.generic_visit(node)
        checked: nodes.Expr | None = None
        left = node.expr
        for operand in node.ops:
            comparison = _call("_compared", [left, operand.expr], node.lineno, operand.op)
            checked = nodes.And(checked, comparison, lineno=node.lineno) if checked else comparison
            left = operand.expr
        return checked or node

    def _with_test_checks(self, node: nodes.If | nodes.CondExpr) -> nodes.Node:
        self.generic_visit(node)
        node.test = _tested(node.test)
        return node

    def _with_number_check(self, node: nodes.Add | nodes.Mul) -> nodes.Node:
        self.generic_visit(node)
        name = "_added" if isinstance(node, nodes.Add) else "_multiplied"
        return _call(name, [node.left, node.right], node.lineno)


def _tested(node: Any) -> Any:
    """The condition with a check of every cell that is tested alone, as in `vip and not sold`."""
    match node:
        case nodes.And() | nodes.Or():
            node.left, node.right = _tested(node.left), _tested(node.right)
        case nodes.Not():
            node.node = _tested(node.node)
        case nodes.Name() | nodes.Getattr() | nodes.Getitem():
            return nodes.Filter(node, "_tested", [], [], None, None, lineno=node.lineno)
    return node


def _has_literal_text(node: nodes.Expr) -> bool:
    """Whether the sum or product has a text that is written out: `"$" + price` joins and `"-" * 10` repeats."""
    if isinstance(node, (nodes.Add, nodes.Mul)):
        return _has_literal_text(node.left) or _has_literal_text(node.right)
    return isinstance(node, nodes.Const) and isinstance(node.value, str)


def _call(name: str, values: list[nodes.Expr], line: int, *args: str) -> nodes.Filter:
    constants: list[nodes.Expr] = [nodes.Const(arg, lineno=line) for arg in args]
    return nodes.Filter(nodes.List(values, lineno=line), name, constants, [], None, None, lineno=line)


def _time_check(line: int) -> nodes.Node:
    nothing = nodes.Const(None, lineno=line)
    return nodes.ExprStmt(nodes.Filter(nothing, "_check_time", [], [], None, None, lineno=line), lineno=line)
