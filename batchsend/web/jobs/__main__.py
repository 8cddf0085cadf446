"""Starts a job's process, `python -m batchsend.web.jobs FILE`, or a reader, with `--reader FOLDER`.

With `--wait`, the process of a job is told what to do by a line on its standard input.
"""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    # Collecting garbage during imports takes an eighth of their time and finds none.
    gc.disable()
    if sys.argv[1] == "--reader":
        from batchsend.web.jobs import list_preview  # noqa: F401 - imported before the first list is waited for
        from batchsend.web.jobs.reader_process import main as read

        gc.freeze()
        gc.enable()
        sys.exit(read(sys.argv[2]))
    from batchsend.web.jobs.process import main, wait

    gc.freeze()
    gc.enable()
    code = wait() if sys.argv[1] == "--wait" else main(sys.argv[1:])
    # Spares the interpreter a search of all objects for garbage, which takes longer than the rest of its clean-up.
    gc.freeze()
    sys.exit(code)
