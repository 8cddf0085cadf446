"""`python -m batchsend`, and the console script: the only place where an error becomes an exit code."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line. Whatever a user can put right is said in a sentence, without a traceback."""
    from batchsend.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
