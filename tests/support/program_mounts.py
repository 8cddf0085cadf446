"""The tested command as /opt/batchsend, for users who may not read the folders that it is in."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def program_mounts(programs: Path) -> list[tuple[Path, str]]:
    """Writes programs into a new folder; returns the folders to mount and where.

    `/opt/batchsend/bin` then has `batchsend` and `python`.
    """
    prefix = Path(sys.base_prefix)
    paths = [Path(path) for path in sys.path if Path(path).is_dir() and not Path(path).is_relative_to(prefix)]
    seen = [(path, f"/opt/path{number}") for number, path in enumerate([ROOT, *paths])]
    settings = f"export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH={':'.join(there for _, there in seen)}"
    programs.mkdir(mode=0o755)
    for name, options in (("batchsend", " -P -m batchsend"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\n{settings}\nexec /opt/python/bin/python3{options} "$@"\n')
        program.chmod(0o755)
    return [(prefix, "/opt/python"), (programs, "/opt/batchsend/bin"), *seen]
