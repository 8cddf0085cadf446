"""Files that another program has open, as Excel does on Windows: nothing can open them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def open_in_excel(path: Path) -> Iterator[None]:
    """Keeps this process from opening the file."""
    really_open = io.open

    def refuse(file: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(file, str | os.PathLike) and Path(file) == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(file, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", refuse)
        yield
