"""Where a ledger file cannot be safe: network shares and folders that a service synchronises.

SQLite needs locks that hold between processes and a journal that stays with its file. Network file systems promise
the first too seldom, and synchronisation services copy the file without its journal, to computers that then each
remember something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from batchsend.errors import LedgerError

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
