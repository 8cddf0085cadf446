"""Decides which files are never read as a list, template or suppression file, because they may contain secrets.

People who may not see this computer's passwords can write a campaign file, and its list and texts are shown to
everyone who checks it. The rule is applied twice: when a campaign file is read, and when a file is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os.path import normcase, normpath
from pathlib import Path

#: They contain accounts, environments of processes and secrets of services. A campaign inside one of them may read
#: the files next to it.
_SYSTEM_FOLDERS = tuple(
    map(Path, ("/etc", "/private/etc", "/proc", "/sys", "/run/secrets", "/run/credentials"))
)
_KEY_ENDINGS = frozenset({"pem", "key", "p12", "pfx", "ppk", "jks", "keystore", "kdbx"})
_NAMES = frozenset(
    {
        "_netrc",
        "netrc",
        "pgpass",
        "pgpass.conf",
        "htpasswd",
        "passwd",
        "shadow",
        "gshadow",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
    }
)
_STEMS = ("credential", "secret", "client_secret", "service-account", "service_account")
#: Why a file that `read_only_in` excludes may not be read.
OUTSIDE = (
    "it lies outside the folder that these pages are for; put it there, or ask the person who runs the server to "
    "allow its folder"
)
_SETTINGS_ENDINGS = frozenset({"", "json", "toml", "yaml", "yml", "ini", "conf", "cfg"})

#: Beside the folder of a campaign, these folders have what campaigns share.
_SHARED_FOLDERS = ("templates", "sample_data", "lists")

_only_in: Sequence[Path] | None = None


def read_only_in(folders: Iterable[Path | str] | None) -> None:
    """Makes this process refuse files outside of these folders; `None` removes the limit."""
    global _only_in  # noqa: PLW0603 - a property of the process, like its current folder
    _only_in = None if folders is None else tuple(map(Path, folders))


def folders_of_campaign(directory: Path) -> tuple[Path, ...]:
    """Returns the folders whose files a campaign file in `directory` may name, besides those that a setting names."""
    return (directory, *(directory.parent / name for name in _SHARED_FOLDERS))


def is_in(path: Path, folders: Iterable[Path]) -> bool:
    """Is the file that a path leads to in one of these folders?"""
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def refusal(path: Path, folder: Path | None = None) -> str | None:
    """Why a campaign in `folder` must not read this file, as a clause after "because"; `None` if it may.

    The path and the file that its links lead to are both checked. A hidden folder counts unless the campaign is in it
    too. Without `folder`, the path's folder is used, for a path that was checked before.
    """
    given = Path(normpath(path.absolute()))
    try:
        real = path.resolve()
        home = (folder if folder is not None else given.parent).resolve()
    except (OSError, RuntimeError):
        return "its links cannot be followed"
    if _only_in is not None and not is_in(real, _only_in):
        return OUTSIDE
    if any(_is_hidden(file, home) for file in (given, real)):
        return "it is hidden, and hidden files hold settings and passwords"
    if _is_of_the_system(real, home):
        return "it belongs to the operating system"
    if any(_holds_credentials(file.name) for file in (given, real)):
        return "files of such names hold passwords or keys"
    return None


def _is_hidden(file: Path, home: Path) -> bool:
    return any(part.startswith(".") for part in (file.name, *file.parts[_shared(file, home) :]))


def _holds_credentials(name: str) -> bool:
    # Windows opens `prod.env.` and `prod.env::$DATA` as `prod.env`, in any letter case.
    plain = name.casefold().partition(":")[0].rstrip(". ")
    stem, *endings = plain.split(".")
    ending = endings[-1] if endings else ""
    return (
        "env" in (stem, *endings)
        or plain in _NAMES
        or ending in _KEY_ENDINGS
        or (stem.startswith(_STEMS) and ending in _SETTINGS_ENDINGS)
    )


def _is_of_the_system(real: Path, home: Path) -> bool:
    return any(
        real.is_relative_to(folder) and _shared(real, home) <= len(folder.parts) for folder in _SYSTEM_FOLDERS
    )


def _shared(file: Path, home: Path) -> int:
    """How many leading parts both paths share."""
    pairs = zip(file.parent.parts, home.parts, strict=False)
    return next(
        (index for index, (one, other) in enumerate(pairs) if normcase(one) != normcase(other)),
        min(len(file.parent.parts), len(home.parts)),
    )
