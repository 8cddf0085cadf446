"""Checks that updates come from myKaarma.

The secret is in the URL, because a URL is all that a campaign can give to myKaarma. A proxy can send it in a header
instead. Where a signing key is set, each update must be signed, and needs no secret.
"""

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

#: The path before the secret. A proxy can pass on everything below it.
PREFIX = "/batchsend/"
#: Paths without the secret.
_BARE = frozenset({PREFIX, PREFIX.rstrip("/")})
SIGNATURE_HEADER = "mykaarma-signature-token"
SECRET_FILE = "callback-secret"  # noqa: S105 - the file's name

_SECRET = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)
_SIGNATURE = re.compile(rb"sha256=([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True)
class CallbackAuth:
    """`secret`: see above; `signing_key` is `None` where signatures are not checked; `place`: where the secret is."""

    secret: str = field(repr=False)
    signing_key: str | None = field(default=None, repr=False)
    place: str = ""

    @property
    def path(self) -> str:
        """The path that updates are posted to. It holds the secret: never log it."""
        return PREFIX + self.secret

    def admits(self, path: str, authorization: str | None) -> bool:
        """Whether a request may go on to the check of its signature: it has the secret, or needs none.

        `authorization`: the header, `Bearer` and the secret. Takes the same time for every path and header.
        """
        if path in _BARE:
            return self.signing_key is not None or _same(authorization or "", f"Bearer {self.secret}")
        return _same(path, self.path)

    def is_signed(self, body: bytes, header: str | None) -> bool:
        """Whether a body has the right signature, or needs none."""
        if self.signing_key is None:
            return True
        given = _SIGNATURE.fullmatch((header or "").strip().encode("utf-8", "replace"))
        expected = hmac.new(self.signing_key.encode(), body, hashlib.sha256).hexdigest()
        return given is not None and hmac.compare_digest(given[1].lower(), expected.encode())


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def load_callback_auth(settings: Settings, folder: Path) -> CallbackAuth:
    """The secret and the key of the settings. Without a secret there, one is made and kept in `folder`.

    Raises `SettingsError`.
    """
    secret = settings.callback_secret
    place = settings.name_of(CALLBACK_SECRET)
    if secret is None:
        secret, place = _stored_secret(folder / SECRET_FILE), str(folder / SECRET_FILE)
    elif not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"{settings.name_of(CALLBACK_SECRET)} cannot be used: a secret has 16 to 128 letters, digits, hyphens "
            f"and underscores. Delete the setting, and one is made for you."
        )
    return CallbackAuth(secret, settings.callback_signing_key, place)


def _write_new_secret(file: Path) -> None:
    file.write_text(secrets.token_urlsafe(32), encoding="ascii")


def _stored_secret(path: Path) -> str:
    try:
        if not path.exists():
            write_private(path, _write_new_secret)
        path.chmod(0o600)  # copying a folder loses the mode
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path}: the secret for the callback URL cannot be stored there ({error}). Make the folder writable, or "
            f"set {CALLBACK_SECRET}."
        ) from error
    if not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"{path}: this is not a secret that batchsend has made. Delete the file to have a new one made; then "
            f"change `callback_url` too."
        )
    return secret
