"""Layout of terminal lines: labels, widths and paths."""

from __future__ import annotations

from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill

_LABEL_WIDTH = 11
_WIDEST, _NARROWEST = 100, 60


def _width() -> int:
    """The terminal's width, within readable limits; the widest without a terminal."""
    return max(_NARROWEST, min(_WIDEST, get_terminal_size((_WIDEST, 0)).columns - 1))


def shown_path(path: Path) -> str:
    """The path, relative if it is below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        return str(path)


def labeled(label: str, text: str) -> str:
    """A labeled text; a long one is wrapped and indented."""
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
    """A labeled text with a number in front; a long one is wrapped and indented."""
    first = f"  {label:<{_LABEL_WIDTH}}  {count:>5,}  "
    return fill(
        text, _width(), initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
