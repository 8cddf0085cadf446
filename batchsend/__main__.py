"""Runs the command line, for `python -m batchsend` and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    from batchsend.utils.signals import exit_on_signals, interrupt_on_signals
    from batchsend.utils.streams import make_streams_safe

    code = 130
    try:
        interrupt_on_signals()
        make_streams_safe()
        from batchsend.cli.main import run

        code = run(sys.argv[1:])
        exit_on_signals(code)
    except KeyboardInterrupt:
        pass
    sys.exit(code)


if __name__ == "__main__":
    main()
