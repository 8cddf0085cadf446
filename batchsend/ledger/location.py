"""Where the ledger is: a file beside the campaign unless the user says otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from batchsend.errors import LedgerError, SettingsError
from batchsend.settings import LEDGER, Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_POSSIBLE = (
    "A ledger is a file (a path, or sqlite:///path/to/ledger.db) or a PostgreSQL database"
    " (postgresql://user@host/database)."
)
#: How the folders of synchronisation services are called, as whole names.
_SYNCHRONISED = {
    "OneDrive": r"OneDrive( ?- ?.*)?",
    "Dropbox": r"Dropbox( \(.*\))?",
    "Google Drive": r"Google ?Drive(-.*)?|My Drive|DriveFS",
    "iCloud": r"iCloud ?Drive|Mobile Documents|com~apple~CloudDocs",
    "a cloud service": r"CloudStorage|Box( Sync)?|pCloud ?Drive|MEGA(sync)?|Nextcloud|ownCloud|Syncthing|Seafile",
}
_patterns = {service: re.compile(pattern, re.IGNORECASE) for service, pattern in _SYNCHRONISED.items()}
#: File systems that live on another computer, as operating systems call them.
_NETWORK_FILE_SYSTEMS = re.compile(
    r"(fuse\.)?(nfs\d?|cifs|smb\d?|smbfs|afpfs|afs|webdav|davfs2?|sshfs|rclone|glusterfs|ceph|lustre|beegfs|ncpfs"
    r"|vboxsf|vmhgfs(-fuse)?|prl_fs|macfuse|osxfuse)",
    re.IGNORECASE,
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


@dataclass(frozen=True)
class Mount:
    """A mounted file system: where, of which kind, and with which options."""

    folder: PurePath
    kind: str
    options: str = ""


def synchronised_by(file: PurePath) -> str | None:
    """The service that synchronises this file's folder, judged by the folders' names."""
    for part in file.parent.parts:
        for service, pattern in _patterns.items():
            if pattern.fullmatch(part):
                return service
    return None


def is_on_network(file: PurePath, mounts: Iterable[Mount]) -> bool:
    """Does this absolute path lead to another computer?"""
    if file.drive.startswith("\\\\"):
        return True
    holding = [mount for mount in mounts if mount.folder == file or mount.folder in file.parents]
    innermost = max(holding, key=lambda mount: len(mount.folder.parts), default=None)
    if innermost is None:
        return False
    return bool(_NETWORK_FILE_SYSTEMS.fullmatch(innermost.kind)) or "remote" in innermost.options.split(",")


def check_place(file: Path) -> None:
    """Raises `LedgerError`, with the way out, where a ledger file cannot be kept safely."""
    whole = file.resolve()
    service = synchronised_by(whole)
    if service is not None:
        reason = f"lies in a folder that {service} synchronises"
    elif is_on_network(whole, _mounts()):
        reason = "lies on a network drive"
    else:
        return
    local = Path.home() / "batchsend" / "ledger.db"
    raise LedgerError(
        f"{file}: this ledger {reason}. Two computers cannot share it safely, and people could be texted twice. "
        f"Nothing was sent. Keep the ledger on this computer: write BATCHSEND_LEDGER={local} into the file .env "
        f"beside the campaign (the campaign itself may stay where it is), or use a PostgreSQL ledger."
    )


def _mounts() -> list[Mount]:
    import psutil

    return [Mount(Path(p.mountpoint), p.fstype, p.opts) for p in psutil.disk_partitions(all=True)]
