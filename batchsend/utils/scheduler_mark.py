"""Says whether a scheduler of this computer watches the campaigns of a folder.

The scheduler locks a file there as long as it runs. The system releases the lock when it ends in any way.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_NAME = "scheduler.lock"


class SchedulerMark:
    """The mark of a scheduler in a folder. `put` takes it, unless another scheduler has it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".batchsend" / _NAME
        self._lock = FileLock(self._file, timeout=0, mode=0o600)

    def put(self) -> None:
        """Takes the mark if it is free. A folder that cannot be written to gets none."""
        if self._lock.is_locked:
            return
        with suppress(OSError, Timeout):
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            self._lock.acquire()

    def remove(self) -> None:
        self._lock.release()

    def is_there(self) -> bool:
        """Whether any scheduler has it."""
        if not self._file.exists():
            return False
        try:
            with self._lock:
                return False
        except Timeout:
            return True
        except OSError:
            return False
