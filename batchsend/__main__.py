"""Runs the command line, for `python -m batchsend` and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    from batchsend.utils.streams import make_streams_safe

    make_streams_safe()
    from batchsend.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
