"""The users who may sign in, with their passwords as salted scrypt hashes (RFC 7914)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from batchsend.errors import BatchsendError, SettingsError
from batchsend.utils.files import write_private

SHORTEST_PASSWORD = 10
_LONGEST_PASSWORD = 1024
_NAME = re.compile(r"[\w][\w.@-]{0,63}")
#: scrypt's cost, block size and parallelism: 32 MiB and about a tenth of a second for each guess.
_N, _R, _P = 2**15, 8, 1
_MEMORY = 64 * 1024 * 1024
#: Checked if there is no such user, so that a wrong name takes as long as a wrong password.
_NO_USER = {"salt": base64.b64encode(bytes(16)).decode(), "hash": base64.b64encode(bytes(32)).decode()}


class Users:
    """The users of one folder's web console, in a file that only its owner can read. Raises `SettingsError`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> list[str]:
        return sorted(self._read())

    def put(self, name: str, password: str) -> bool:
        """Adds a user or changes their password; returns whether they are new. Raises `BatchsendError`."""
        check_name(name)
        check_password(password)
        users = dict(self._read())
        same = [known for known in users if known.casefold() == name.casefold() and known != name]
        if same:
            raise BatchsendError(
                f'There is already a user "{same[0]}". Use that spelling, or remove that user first.'
            )
        new = name not in users
        salt = secrets.token_bytes(16)
        users[name] = {
            "salt": base64.b64encode(salt).decode(),
            "hash": base64.b64encode(_hash(password, salt)).decode(),
        }
        self._write(users)
        return new

    def remove(self, name: str) -> None:
        """Removes a user. Raises `BatchsendError` if there is no such user."""
        users = dict(self._read())
        if name not in users:
            raise BatchsendError(
                f'There is no user "{name}". There are: {", ".join(sorted(users)) or "none"}.'
            )
        del users[name]
        self._write(users)

    def verify(self, name: str, password: str) -> bool:
        """Is this the user's password? Takes a tenth of a second, so call it from a thread."""
        kept = self._read().get(name)
        found = kept or _NO_USER
        given = _hash(password[:_LONGEST_PASSWORD], base64.b64decode(found["salt"]))
        return hmac.compare_digest(given, base64.b64decode(found["hash"])) and kept is not None

    def password_version(self, name: str) -> str | None:
        """Returns a value that changes with the user's password; `None` if there is no such user."""
        kept = self._read().get(name)
        return None if kept is None else hashlib.sha256(kept["hash"].encode()).hexdigest()

    def _read(self) -> Mapping[str, Mapping[str, str]]:
        try:
            users = json.loads(self._file.read_text(encoding="utf-8"))["users"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{self._file}: the users cannot be read. Fix the file's permissions, or delete the file and add the "
                f"users again: batchsend web-users add NAME"
            ) from error
        return users if isinstance(users, dict) else {}

    def _write(self, users: Mapping[str, Mapping[str, str]]) -> None:
        text = json.dumps({"users": dict(users)}, ensure_ascii=False, indent=1)
        try:
            write_private(self._file, lambda path: _write_text(path, text))
        except OSError as error:
            raise SettingsError(
                f"{self._file}: the users cannot be saved ({error.strerror or error}). Make the folder writable."
            ) from error


def check_name(name: str) -> None:
    """Raises `BatchsendError` if this cannot be a user's name."""
    if not _NAME.fullmatch(name):
        raise BatchsendError(
            f'"{name[:64]}" cannot be a user\'s name. Use up to 64 letters, digits, ".", "-", "_" and "@".'
        )


def check_password(password: str) -> None:
    """Raises `BatchsendError` if the password is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise BatchsendError(
            f"A password needs {SHORTEST_PASSWORD} characters or more, up to {_LONGEST_PASSWORD:,}. Four words make "
            f"a good one that is easy to remember."
        )


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY, dklen=32
    )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
