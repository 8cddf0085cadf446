"""Runs the command line, for `python -m batchsend` and the console script."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    from batchsend.utils.signals import exit_on_signals, interrupt_on_signals, was_interrupted
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
    if was_interrupted():
        # Nothing was sent, and nothing is left to clean up: no second interrupt can change the exit code.
        os._exit(code)
    # Spares the interpreter a search of all objects for garbage, which takes longer than the rest of its clean-up.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
