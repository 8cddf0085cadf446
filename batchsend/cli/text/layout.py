"""Lines of the terminal: labels, widths and paths."""

from __future__ import annotations

from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill

_LABEL_WIDTH = 11
_WIDEST, _NARROWEST = 100, 60


def _width() -> int:
    """As wide as the terminal, within what can be read well; the widest where there is none."""
    return max(_NARROWEST, min(_WIDEST, get_terminal_size((_WIDEST, 0)).columns - 1))


def shown_path(path: Path) -> str:
    """A path as people like it: relative where it is below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def labeled(label: str, text: str) -> str:
    """A labelled line, or several: what is long goes on below its beginning."""
    first = f"  {label:<{_LABEL_WIDTH}}  "
    return fill(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def counted_line(label: str, count: int, text: str) -> str:
    """A labelled line that begins with a number; what is long goes on below the text."""
    first = f"  {label:<{_LABEL_WIDTH}}  {count:>5,}  "
    return fill(
        text, _width(), initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
