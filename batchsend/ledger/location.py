"""Where the ledger is: by default in a file next to the campaign."""

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
#: Patterns for the whole names of synchronization services' folders.
_SYNCHRONIZED = {
    "OneDrive": r"OneDrive( ?- ?.*)?",
    "Dropbox": r"Dropbox( \(.*\))?",
    "Google Drive": r"Google ?Drive(-.*)?|My Drive|DriveFS",
    "iCloud": r"iCloud ?Drive|Mobile Documents|com~apple~CloudDocs",
    "a cloud service": r"CloudStorage|Box( Sync)?|pCloud ?Drive|MEGA(sync)?|Nextcloud|ownCloud|Syncthing|Seafile",
}
_patterns = {service: re.compile(pattern, re.IGNORECASE) for service, pattern in _SYNCHRONIZED.items()}
#: Names of file systems that are on another computer.
_NETWORK_FILE_SYSTEMS = re.compile(
    r"(fuse\.)?(nfs\d?|cifs|smb\d?|smbfs|afpfs|afs|webdav|davfs2?|sshfs|rclone|glusterfs|ceph|lustre|beegfs|ncpfs"
    r"|vboxsf|vmhgfs(-fuse)?|prl_fs|macfuse|osxfuse)",
    re.IGNORECASE,
)


def resolve_ledger_url(option: str | None, settings: Settings, base_dir: Path) -> str:
    """The SQLAlchemy URL of the ledger: `--ledger`, else `BATCHSEND_LEDGER`, else `base_dir/.batchsend/ledger.db`.

    A relative path starts at the current directory in the option, and at the folder of the `.env` file in that file.
    The result can contain a password: do not show or store it. Raises `SettingsError`.
    """
    if option is not None:
        if _is_relative_file(_parse(option.strip(), "--ledger", None)):
            Path.cwd()  # raises if the folder was deleted: the path would mean another ledger
        url = _parse(option.strip(), "--ledger", settings.cwd)
        if url.password is not None or "password" in url.query:
            raise SettingsError(
                "--ledger holds a password, and other users of this computer can see a command's options. "
                f"Set {LEDGER} in the environment or in .env, or keep the password in ~/.pgpass."
            )
    elif settings.ledger_url is not None:
        source = settings.sources.get(LEDGER)
        url = _parse(settings.ledger_url, settings.name_of(LEDGER), source.parent if source else None)
        if source is None and url.database and _is_relative_file(url):
            raise SettingsError(
                f"{LEDGER} is {url.database}, which would be a different file in every folder that a command is "
                f"started in, and a different ledger does not know who was texted. "
                f"Write the full path: {normpath(settings.cwd / url.database)}"
            )
    else:
        url = _sqlite(base_dir.absolute() / ".batchsend" / "ledger.db")
    return url.render_as_string(hide_password=False)


def _parse(text: str, name: str, directory: Path | None) -> URL:
    """`text` as a URL; a relative path is made absolute if a `directory` is given."""
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
        raise SettingsError(
            f"{name} is {text}, and the home folder for ~ is unknown. Write the full path."
        ) from error
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

    from batchsend.ledger.postgres import CONNECTIONS, FEWEST_CONNECTIONS, connection_limit

    wrong = f"{name} is not a PostgreSQL address. Write it like postgresql://user@host/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingsError(wrong) from None  # the cause quotes the address with its password
    if not url.database:
        raise SettingsError(f"{name} names no database. Write it like postgresql://user@host/database")
    try:
        connection_limit(url)
    except ValueError as error:
        raise SettingsError(
            f"{name} has {CONNECTIONS}={error}. This limits the connections of a process to the database. Write a "
            f"whole number, at least {FEWEST_CONNECTIONS}: postgresql://user@host/database?{CONNECTIONS}=12"
        ) from error
    return url.set(drivername="postgresql+psycopg")


def _is_relative_file(url: URL) -> bool:
    return url.drivername == "sqlite" and not Path(url.database or "").is_absolute()


def whole_option(option: str, cwd: Path) -> str:
    """`--ledger` with the whole path of a file, so that it is the same ledger whatever becomes of the current folder.

    Raises `SettingsError`.
    """
    url = _parse(option.strip(), "--ledger", None)
    return normpath(cwd / (url.database or "")) if _is_relative_file(url) else option


@dataclass(frozen=True)
class Mount:
    """A mounted file system: its folder, kind and options."""

    folder: PurePath
    kind: str
    options: str = ""


def synchronized_by(file: PurePath) -> str | None:
    """The service that synchronizes this file's folder, according to the folders' names."""
    for part in file.parent.parts:
        for service, pattern in _patterns.items():
            if pattern.fullmatch(part):
                return service
    return None


def is_on_network(file: PurePath, mounts: Iterable[Mount]) -> bool:
    """Whether this absolute path leads to another computer."""
    if file.drive.startswith("\\\\"):
        return True
    containing = [mount for mount in mounts if mount.folder == file or mount.folder in file.parents]
    innermost = max(containing, key=lambda mount: len(mount.folder.parts), default=None)
    if innermost is None:
        return False
    return bool(_NETWORK_FILE_SYSTEMS.fullmatch(innermost.kind)) or "remote" in innermost.options.split(",")


def check_place(file: Path) -> None:
    """Raises `LedgerError`, which says what to do, if a ledger file is not safe in this place."""
    whole = file.resolve()
    service = synchronized_by(whole)
    if service is not None:
        reason = f"is in a folder that {service} synchronizes"
    elif is_on_network(whole, _mounts()):
        reason = "is on a network drive"
    else:
        return
    local = Path.home() / "batchsend" / "ledger.db"
    raise LedgerError(
        f"{file}: this ledger {reason}. Two computers cannot share it safely, and people could be texted twice. "
        f"Nothing was sent. Keep the ledger on this computer: write BATCHSEND_LEDGER={local} in the file .env "
        f"next to the campaign (the campaign itself can stay where it is), or use a PostgreSQL ledger."
    )


def _mounts() -> list[Mount]:
    try:
        # Linux. Importing psutil, which reads this file too, would take longer than the rest of the check.
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return _mounts_elsewhere()
    return [
        Mount(Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), folder)), kind, options)
        for _, folder, kind, options, *_ in map(str.split, lines)
    ]


#: In the list of mounts, blanks and backslashes are written like `\040`.
_OCTAL = re.compile(r"\\([0-7]{3})")


def _mounts_elsewhere() -> list[Mount]:
    import psutil

    return [Mount(Path(p.mountpoint), p.fstype, p.opts) for p in psutil.disk_partitions(all=True)]
