"""Filters of installed packages in templates: they get and give text, within the limits of templates."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any, Protocol

from jinja2 import Undefined

from batchsend.errors import ExtensionError, FilterProblem, RowProblem
from batchsend.messages import limits
from batchsend.utils.extensions import Call, Extension, GivenUpError

#: Seconds that a filter may take for one value. Far more than it needs, so that a busy machine stops no plan.
FILTER_TIMEOUT = 10.0


class TextFilter(Protocol):
    """Turns the text of a cell into the text to print. Packages add one by an entry point of `Point.FILTER`.

    It must be pure: the same arguments give the same text, whenever and wherever. It is not called for blank cells.
    "" counts as a blank. Raises `FilterProblem` with a sentence, without the cell, for a value that it cannot read.
    """

    def __call__(self, text: str, /, *args: Any, **kwargs: Any) -> str: ...


#: A thread for each filter that is used in this process.
_calls: dict[Extension, Call] = {}


def filter_of(extension: Extension, blank: Undefined) -> Callable[..., str | Undefined]:
    """The filter, for non-blank text. `blank`: what it gives in place of "".

    Raises `ExtensionError` if it cannot be loaded.

    What it returns raises a `FilterProblem` if the filter fails for a value, and `ExtensionError` if it hangs or is
    not pure.
    """
    if not _asked(extension, callable):
        raise extension.error("is not a function. Update the package, or ask its author.")

    def wrapper(text: str, *args: Any, **kwargs: Any) -> str | Undefined:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Undefined):
                limits.text_of(value)  # which raises the error for printing a blank
        (made, again), seconds = _made(extension, text, args, kwargs)
        limits.add_time(seconds)
        if not isinstance(made, str):
            raise FilterProblem(f"{extension.words} gave {type(made).__name__}, which is not text")
        if made != again:
            raise extension.error(
                "gave two different texts for one value. It must not use chance or the time."
            )
        return limits.text_of(limits.add("", made)) or blank

    return wrapper


def _made(
    extension: Extension, text: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, Any], float]:
    """What the filter gives in two calls, and their seconds of processor time."""

    def twice(function: TextFilter) -> tuple[tuple[Any, Any], float]:
        begin = thread_time()
        return (function(text, *args, **kwargs), function(text, *args, **kwargs)), thread_time() - begin

    try:
        made: tuple[tuple[Any, Any], float] = _asked(extension, twice)
    except GivenUpError:
        raise
    except ExtensionError as error:
        if isinstance(error.__cause__, RowProblem):
            raise error.__cause__ from None
        raise FilterProblem(str(error)) from error
    return made


def _asked(extension: Extension, function: Callable[[Any], Any]) -> Any:
    call = _calls.get(extension) or _calls.setdefault(extension, Call(extension, FILTER_TIMEOUT))
    call.restart()
    try:
        return call(function)
    except GivenUpError:
        # Its thread hangs.
        _calls.pop(extension, None)
        raise
