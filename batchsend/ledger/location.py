"""Where the ledger is: a file beside the campaign unless the user says otherwise."""

from __future__ import annotations

import re
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from batchsend.errors import SettingsError
from batchsend.settings import LEDGER, Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_POSSIBLE = (
    "A ledger is a file (a path, or sqlite:///path/to/ledger.db) or a PostgreSQL database"
    " (postgresql://user@host/database)."
)


def resolve_ledger_url(option: str | None, settings: Settings, base_dir: Path) -> str:
    """The SQLAlchemy URL of the ledger: `--ledger`, else `BATCHSEND_LEDGER`, else `base_dir/.batchsend/ledger.db`.

    A relative path counts from the current directory in the option, and from the `.env` file's folder there.
    The result may hold a password: never show or store it. Raises `SettingsError`.
    """
    if option is not None:
        url = _parse(option.strip(), "--ledger", settings.cwd)
        if url.password is not None or "password" in url.query:
            raise SettingsError(
                "--ledger holds a password, and others on this computer can see a command's options. "
                f"Set {LEDGER} in the environment or in .env, or keep the password in ~/.pgpass."
            )
    elif settings.ledger_url is not None:
        source = settings.sources.get(LEDGER)
        url = _parse(settings.ledger_url, settings.said(LEDGER), source.parent if source else None)
        if source is None and url.database and _is_relative_file(url):
            raise SettingsError(
                f"{LEDGER} is {url.database}, which would be another file in every folder that a command is "
                f"started in, and another ledger does not know who was texted. "
                f"Write the whole path: {normpath(settings.cwd / url.database)}"
            )
    else:
        url = _sqlite(base_dir.absolute() / ".batchsend" / "ledger.db")
    return url.render_as_string(hide_password=False)


def _parse(text: str, name: str, directory: Path | None) -> URL:
    """`text` as a URL; a relative path is made absolute where there is a `directory` that it counts from."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)  # one letter is a drive: C:\ledger.db
    if scheme is None:
        return _file(text, name, directory)
    kind = scheme[1].lower()
    if kind in ("sqlite", "sqlite+pysqlite"):
        path = re.fullmatch(r"sqlite(?:\+pysqlite)?:///(?!:memory:)([^?]+)", text, re.IGNORECASE)
        if not path:
            raise SettingsError(f"{name} names no file. Write it like sqlite:///path/to/ledger.db")
        return _file(unquote(path[1]), name, directory)
    if kind in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgresql(text, name)
    raise SettingsError(f"{name} begins with {kind}:, which cannot hold a ledger. {_POSSIBLE}")


def _file(text: str, name: str, directory: Path | None) -> URL:
    if not text or not text.isprintable():
        raise SettingsError(f"{name} is not a path. {_POSSIBLE}")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{name} is {text}, and whose home folder ~ means is not known.") from error
    whole = Path(normpath(directory / path)) if directory else path
    if whole.is_dir():
        raise SettingsError(f"{name} is {whole}, which is a folder. Name a file in it: {whole / 'ledger.db'}")
    return _sqlite(whole)


def _sqlite(path: Path) -> URL:
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(path))


def _postgresql(text: str, name: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    wrong = f"{name} is not a PostgreSQL address. Write it like postgresql://user@host/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingsError(wrong) from None  # the cause quotes the address, password and all
    if not url.database:
        raise SettingsError(f"{name} names no database. Write it like postgresql://user@host/database")
    return url.set(drivername="postgresql+psycopg")


def _is_relative_file(url: URL) -> bool:
    return url.drivername == "sqlite" and not Path(url.database or "").is_absolute()
