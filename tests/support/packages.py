"""Packages with entry points for batchsend, as an installer leaves them in a folder of `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from batchsend.utils import extensions


def write_package(folder: Path, name: str, source: str, **entries: str) -> None:
    """Writes a package with the module `name`.

    `entries`: the end of a group's name -> its entry points, such as `filters="shout = loud:shout"`.
    """
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    groups = "".join(f"[batchsend.{group}]\n{lines}\n" for group, lines in entries.items())
    (about / "entry_points.txt").write_text(groups, encoding="utf-8")
    (folder / f"{name}.py").write_text(dedent(source), encoding="utf-8")


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Has the packages of a folder installed in this process."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    extensions.forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        extensions.forget()
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]
