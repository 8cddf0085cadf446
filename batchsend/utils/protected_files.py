"""Says which files are never read as a list, a template or a suppression file, because they hold secrets.

A campaign file can be written by people who may not see this computer's passwords, and its list and its texts are
shown to everybody who checks it. The rule is applied twice: when a campaign file is read, and when a file is opened.
"""

from __future__ import annotations

from os.path import normcase, normpath
from pathlib import Path

#: They hold accounts, the environment of processes and secrets of services. A campaign that lies below one may read
#: its neighbors there.
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
_SETTINGS_ENDINGS = frozenset({"", "json", "toml", "yaml", "yml", "ini", "conf", "cfg"})

_only_below: Path | None = None


def read_only_below(folder: Path | str | None) -> None:
    """From now on this process refuses files outside that folder; `None`: no such bound."""
    global _only_below  # noqa: PLW0603 - a bound of the process, like its current folder
    _only_below = None if folder is None else Path(folder).resolve()


def refusal(path: Path, folder: Path | None = None) -> str | None:
    """Why a campaign in `folder` must not read this file, to be read after "because"; `None` where it may.

    Both the path as given and the file that its links lead to are judged. Hidden folders count only where the
    campaign does not lie in them too. `folder` left out: the path's own folder, for a path that was judged before.
    """
    given = Path(normpath(Path.cwd() / path))
    try:
        real = path.resolve()
        home = (folder if folder is not None else given.parent).resolve()
    except (OSError, RuntimeError):
        return "its links cannot be followed"
    if _only_below is not None and (why := outside(real, _only_below)) is not None:
        return why
    if any(_is_hidden(file, home) for file in (given, real)):
        return "it is hidden, and hidden files hold settings and passwords"
    if _is_of_the_system(real, home):
        return "it belongs to the operating system"
    if any(_holds_credentials(file.name) for file in (given, real)):
        return "files of such names hold passwords or keys"
    return None


def outside(path: Path, root: Path) -> str | None:
    """Why a file may not be read where only those below `root` may; `None` where it lies there."""
    if path.resolve().is_relative_to(root.resolve()):
        return None
    return (
        f"it lies outside the folder that these pages are for ({root}); put it there, or use the command line on "
        f"the server"
    )


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
    """How many parts, from the root on, both have alike."""
    pairs = zip(file.parent.parts, home.parts, strict=False)
    return next(
        (index for index, (one, other) in enumerate(pairs) if normcase(one) != normcase(other)),
        min(len(file.parent.parts), len(home.parts)),
    )
