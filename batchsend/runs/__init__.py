"""One run from start to finish.

Begin with `api`, the Python API that all faces call, then `runner.send`: plan, guard, confirm, store, send,
report. `trial` sends a single test text, and `lookup` finds earlier runs. Nothing here prints or asks; the
faces pass in functions for that.
"""
