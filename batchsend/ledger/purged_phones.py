"""Recognizes phones that a purge deleted.

A purge leaves a keyed hash of each phone that was texted, because that phone still guards against a second text. The
hash is HMAC-SHA-256, shortened to 128 bits. Its key is random and stays in the ledger. Without the key, a hash says
nothing. A person who has the whole ledger can hash every possible number and compare.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from sqlalchemy import Connection, select

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.schema import meta

#: From a phone (E.164) to the text that stands for it after a purge.
PhoneHash = Callable[[str], str]

_KEY_NAME = "phone_hash_key"
_PREFIX = "purged:"
#: From the first to the last possible hash, in the order of any language.
PURGED_RANGE = (_PREFIX, f"{_PREFIX}g")


def phone_hash(connection: Connection) -> PhoneHash | None:
    """The ledger's hash of phones; `None` if it was never purged, so that it has no hashes."""
    key = connection.scalar(select(meta.c.value).where(meta.c.name == _KEY_NAME))
    return None if key is None else _hash_with(bytes.fromhex(key))


def new_phone_hash(connection: Connection) -> PhoneHash:
    """The ledger's hash of phones, with a new key if it has none yet."""
    key = {"name": _KEY_NAME, "value": secrets.token_hex(32)}
    connection.execute(insert_into(connection, meta).values(key).on_conflict_do_nothing())
    found = phone_hash(connection)
    assert found is not None  # noqa: S101 - the statement above stores a key
    return found


def spellings(connection: Connection, phone: str) -> list[str]:
    """The phone, and the hash that stands for it after a purge."""
    hash_of = phone_hash(connection)
    return [phone] if hash_of is None else [phone, hash_of(phone)]


def is_purged(phone: str) -> bool:
    """Whether this is the hash of a phone."""
    return phone.startswith(_PREFIX)


def _hash_with(key: bytes) -> PhoneHash:
    return lambda phone: _PREFIX + hmac.digest(key, phone.encode(), "sha256")[:16].hex()
