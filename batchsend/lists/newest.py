"""A list named by a pattern: the newest file that matches it."""

from __future__ import annotations

from pathlib import Path

from batchsend.errors import ListError
from batchsend.utils.protected_files import refusal


def newest_match(pattern: Path) -> Path:
    """The file saved last among those that match; of several saved at once, the last by name.

    `pattern` is absolute; `*` and `?` stand in its parts. Folders, files that must not be read and the `~$` files
    that Office leaves beside open workbooks never match. Raises `ListError` where no file does.
    """
    root = Path(pattern.anchor)
    # The part without wildcards was judged with the campaign.
    fixed = next(folder for folder in pattern.parents if not any(sign in str(folder) for sign in "*?"))
    try:
        found = [
            (path.stat().st_mtime_ns, path.name, path)
            for path in root.glob(str(pattern.relative_to(root)))
            if not path.name.startswith("~$") and refusal(path, fixed) is None and path.is_file()
        ]
    except OSError as error:
        raise ListError(pattern, f"cannot be looked for ({error.strerror}). Is the folder there?") from error
    if not found:
        raise ListError(
            pattern,
            "no file matches this pattern. Has the list been exported? Else correct `list` in the campaign file, "
            "or name the file with --list",
        )
    return max(found)[2]
