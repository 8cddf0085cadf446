"""Who may send updates: whoever knows the secret in the address, and signs where a key is set."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from batchsend.errors import SettingsError
from batchsend.settings import CALLBACK_SECRET, Settings
from batchsend.utils.files import write_private

#: What stands before the secret; a proxy can pass on everything below it.
PREFIX = "/batchsend/"
SIGNATURE_HEADER = "mykaarma-signature-token"
SECRET_FILE = "callback-secret"  # noqa: S105 - the file's name

_SECRET = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)
_SIGNATURE = re.compile(rb"sha256=([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True)
class CallbackAuth:
    """`secret` stands in the address; `signing_key` is `None` where signatures are not checked."""

    secret: str = field(repr=False)
    signing_key: str | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """The path that updates come to; not for logs."""
        return PREFIX + self.secret

    def knows(self, path: str) -> bool:
        """Whether a request's path holds the secret. Takes as long for a near miss as for any other."""
        return hmac.compare_digest(path.encode("utf-8", "replace"), self.path.encode())

    def signed(self, body: bytes, header: str | None) -> bool:
        """Whether a body is signed as it has to be."""
        if self.signing_key is None:
            return True
        given = _SIGNATURE.fullmatch((header or "").strip().encode("utf-8", "replace"))
        expected = hmac.new(self.signing_key.encode(), body, hashlib.sha256).hexdigest()
        return given is not None and hmac.compare_digest(given[1].lower(), expected.encode())


def open_gate(settings: Settings, folder: Path) -> CallbackAuth:
    """The gate that the settings describe; without a secret in them, one that is kept in `folder`.

    Raises `SettingsError`.
    """
    secret = settings.callback_secret
    if secret is None:
        secret = _kept_secret(folder / SECRET_FILE)
    elif not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"{settings.said(CALLBACK_SECRET)} cannot be used: a secret has 16 to 128 letters, digits, hyphens and "
            f"underscores. Leave it out, and one is made for you."
        )
    return CallbackAuth(secret, settings.callback_signing_key)


def _write_new_secret(file: Path) -> None:
    file.write_text(secrets.token_urlsafe(32), encoding="ascii")


def _kept_secret(path: Path) -> str:
    try:
        if not path.exists():
            write_private(path, _write_new_secret)
        path.chmod(0o600)  # a copied folder loses it
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path}: the secret of the address cannot be kept there ({error}). Make the folder writable, or set "
            f"{CALLBACK_SECRET}."
        ) from error
    if not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"{path}: this is not a secret that batchsend has made. Delete the file to have a new one made; then "
            f"`callback_url` has to be changed too."
        )
    return secret
