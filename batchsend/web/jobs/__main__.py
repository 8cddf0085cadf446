"""Starts a job's process: `python -m batchsend.web.jobs FILE`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    # Collecting garbage during imports takes an eighth of their time and finds none.
    gc.disable()
    from batchsend.web.jobs.process import main

    gc.freeze()
    gc.enable()
    sys.exit(main(sys.argv[1:]))
