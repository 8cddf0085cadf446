"""Finds the newest file that matches a pattern."""

from __future__ import annotations

from pathlib import Path

from batchsend.errors import ListError
from batchsend.utils.protected_files import refusal


def newest_match(pattern: Path) -> Path:
    """The most recently saved file that matches; of files saved at the same time, the last by name.

    `pattern` is an absolute path whose parts may have `*` and `?`. Folders, files that must not be read and Office's
    `~$` lock files never match. Raises `ListError` if no file matches.
    """
    root = Path(pattern.anchor)
    # Only `*` and `?` are wildcards: a folder may be called [March].
    parts = str(pattern.relative_to(root)).replace("[", "[[]")
    # The folders without wildcards were checked with the campaign.
    fixed = next(folder for folder in pattern.parents if not any(sign in str(folder) for sign in "*?"))
    try:
        found = [
            (path.stat().st_mtime_ns, path.name, path)
            for path in root.glob(parts)
            if not path.name.startswith("~$") and refusal(path, fixed) is None and path.is_file()
        ]
    except OSError as error:
        raise ListError(
            pattern, f"the folder cannot be searched ({error.strerror}). Check that it exists"
        ) from error
    if not found:
        raise ListError(
            pattern,
            "no file matches this pattern. Export the list, correct `list` in the campaign file, or name the file "
            "with --list",
        )
    return max(found)[2]
