"""The departments, users and recipients of tests that were saved once in this folder, to be picked by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from batchsend.errors import BatchsendError
from batchsend.utils.files import write_private

DEPARTMENT, USER, TESTER = "department_uuid", "user_uuid", "test_customer"


class Senders:
    """Those that were saved. They are kept in a file that only its owner can read."""

    def __init__(self, state: Path) -> None:
        self._file = state / "senders.json"

    def known(self) -> dict[str, dict[str, str]]:
        """Returns those that were saved: kind -> id -> name. A file that cannot be read has none."""
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stored = {}
        return {
            kind: _sorted(stored.get(kind) if isinstance(stored, dict) else None)
            for kind in (DEPARTMENT, USER, TESTER)
        }

    def keep(self, kind: str, id_: str, name: str) -> None:
        """Saves one under a name, or renames it. Raises `BatchsendError`."""
        known = self.known()
        known[kind][id_] = name
        self._write(known)

    def remove(self, kind: str, id_: str) -> None:
        """Forgets one. Campaigns that use it keep it. Raises `BatchsendError`."""
        known = self.known()
        known[kind].pop(id_, None)
        self._write(known)

    def _write(self, known: Mapping[str, Mapping[str, str]]) -> None:
        content = json.dumps(known, ensure_ascii=False, indent=1)
        try:
            write_private(self._file, lambda file: file.write_text(content, encoding="utf-8"))
        except OSError as error:
            raise BatchsendError(
                f"{self._file}: cannot be written ({error.strerror or error}), so nothing was saved. Fix the "
                f"permissions of its folder."
            ) from error


def _sorted(stored: object) -> dict[str, str]:
    if not isinstance(stored, Mapping):
        return {}
    pairs = ((str(id_), str(name)) for id_, name in stored.items())
    return dict(sorted(pairs, key=lambda pair: pair[1].casefold()))
