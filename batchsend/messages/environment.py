"""Jinja's sandbox as messages need it: no HTML, no chance, blanks that are never printed, and bounds.

Jinja's own sandbox keeps templates away from Python. It does not bound them: `{{ "a" * 10**9 }}`, or two nested loops
over `range(99999)`, would take a machine down. `limits` has what is put in the place of such things here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, NoReturn

from jinja2 import BaseLoader, Undefined, UndefinedError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from batchsend.messages import filters, limits


class BlankCellError(UndefinedError):
    """A template prints a blank cell. The message says which."""


class BlankCell(Undefined):
    """A blank cell, or a name without a value: in tests false, empty and equal to ''; `default` replaces it.

    Whatever would print it, or something made of it, raises.
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


def blank_cell(said: str) -> BlankCell:
    """The value of a blank cell; `said` names it in the problem that printing it is."""
    return BlankCell(hint=said, exc=BlankCellError)


def _text_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of texts that hands a blank on, so that `or` and `default` behind it see it."""

    @wraps(function)
    def passing(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Undefined):
            return value
        return function(limits.text_of(value), *args, **kwargs)

    return passing


def _sequence_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """One of Jinja's filters of sequences, which takes a blank for an empty one: the blank would go unnoticed."""
    value_at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def passing(*args: Any, **kwargs: Any) -> Any:
        return args[value_at] if isinstance(args[value_at], Undefined) else function(*args, **kwargs)

    return passing


@pass_context
def _check_time(_context: Context, _: object) -> None:
    limits.check_time()


def _concatenated(values: Iterable[Any]) -> str:
    return limits.joined(map(limits.text_of, values))


#: Jinja's own filters that texts have a use for. Left out: HTML (`escape`, `safe`, `tojson` ...), what lays out
#: tables, debugging, and `random`, whose preview would not be what is sent.
_OF_JINJA = (
    "abs",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "groupby",
    "int",
    "items",
    "last",
    "length",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "striptags",
    "truncate",
    "unique",
    "wordcount",
)
_OF_SEQUENCES = ("groupby", "map", "reject", "rejectattr", "select", "selectattr", "unique")
_OF_TEXTS: Mapping[str, Callable[..., str]] = {
    "name_case": filters.name_case,
    "phone": filters.phone,
    "date": filters.date,
    "money": filters.money,
    "capitalize": str.capitalize,
    "lower": str.lower,
    "trim": str.strip,
    "upper": str.upper,
}
_BOUNDED_FILTERS: Mapping[str, Callable[..., Any]] = {
    "center": limits.center,
    "format": limits.format_percent,
    "indent": limits.indent,
    "replace": limits.replace,
    "round": limits.rounded,
    "string": limits.text_of,
    "sum": limits.summed,
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
    """Parses and compiles templates of texts."""

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
        of_jinja = self.filters
        self.filters = {
            **{name: of_jinja[name] for name in _OF_JINJA},
            **{name: _sequence_filter(of_jinja[name]) for name in _OF_SEQUENCES},
            **{name: _text_filter(function) for name, function in _OF_TEXTS.items()},
            "title": _text_filter(of_jinja["title"]),
            "urlencode": _text_filter(of_jinja["urlencode"]),
            **_BOUNDED_FILTERS,
            "join": self._join,
            "_concatenated": _concatenated,
            "_check_time": _check_time,
        }
        del self.globals["lipsum"]
        self.binop_table.update(
            {
                "+": limits.add,
                "*": limits.multiply,
                "**": limits.power,
                "%": limits.modulo,
            }
        )

    def _join(self, items: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            items = (self.getitem(item, attribute) for item in items)
        return limits.join(d, items)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _TimeChecks().visit(super()._parse(source, name, filename))
        tree.set_environment(self)
        return tree

    def wrap_str_format(self, value: Any) -> None:
        """Formatting is bounded by `getattr`; where Jinja looks it up otherwise, it is refused."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods of texts that cannot make them longer; none of numbers; of all else what Jinja allows."""
        if isinstance(obj, str):
            return attr in _METHODS
        return not isinstance(obj, (int, float, bytes)) and super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The attribute, or the bounded version of a method of texts."""
        if isinstance(obj, str) and attribute in _BOUNDED_METHODS:
            return partial(_BOUNDED_METHODS[attribute], obj)
        return super().getattr(obj, attribute)


class _TimeChecks(NodeTransformer):
    """Makes everything that can repeat look at the clock, and `~` look at the length of what it makes."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the visitor's names
        return self._with_time_check(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._with_time_check(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        return self._with_time_check(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802
        return self._with_time_check(node)

    def visit_Include(self, node: nodes.Include) -> list[nodes.Node]:  # noqa: N802
        return [_time_check(node.lineno), self.generic_visit(node)]

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        values = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(values, "_concatenated", [], [], None, None, lineno=node.lineno)

    def _with_time_check(self, node: nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, _time_check(node.lineno))
        return node


def _time_check(line: int) -> nodes.Node:
    nothing = nodes.Const(None, lineno=line)
    return nodes.ExprStmt(nodes.Filter(nothing, "_check_time", [], [], None, None, lineno=line), lineno=line)
