"""Settings of this computer: credentials, base URL and ledger.

Each setting comes from the environment, else from `.env` next to the campaign file, else from `.env` in the current
directory. No message shows a password or a URL that may contain one.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from batchsend.errors import CredentialError, SettingsError
from batchsend.utils.env_files import Entry, read_env_file, write_env_file
from batchsend.utils.net import is_this_machine, web_address

BASE_URL = "MYKAARMA_BASE_URL"
USERNAME = "MYKAARMA_USERNAME"
PASSWORD = "MYKAARMA_PASSWORD"  # noqa: S105 - the variable's name
LEDGER = "BATCHSEND_LEDGER"
LIST_DATABASE = "BATCHSEND_LIST_DATABASE"
CALLBACK_SECRET = "BATCHSEND_CALLBACK_SECRET"  # noqa: S105 - the variable's name
CALLBACK_SIGNING_KEY = "BATCHSEND_CALLBACK_SIGNING_KEY"
FOLDERS = "BATCHSEND_FOLDERS"
SMTP_URL = "BATCHSEND_SMTP_URL"
VARIABLES = (
    BASE_URL,
    USERNAME,
    PASSWORD,
    LEDGER,
    LIST_DATABASE,
    FOLDERS,
    SMTP_URL,
    CALLBACK_SECRET,
    CALLBACK_SIGNING_KEY,
)

DEFAULT_BASE_URL = "https://api.mykaarma.com"


@dataclass(frozen=True)
class Settings:
    """The settings of one command.

    `sources`: for each variable that is set, the path of its `.env` file, or `None` for the environment.
    `places`: for each variable, every place that sets it, in words; the first one counts. `misspelled`: for a
    variable that is not set, the place of a name that was probably meant to be this one. `file_folders`: more folders
    whose files campaigns may name.
    """

    base_url: str
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    ledger_url: str | None = field(repr=False)
    sources: Mapping[str, Path | None]
    campaign_dir: Path
    cwd: Path
    callback_secret: str | None = field(default=None, repr=False)
    callback_signing_key: str | None = field(default=None, repr=False)
    list_database: str | None = field(default=None, repr=False)
    smtp_url: str | None = field(default=None, repr=False)
    file_folders: tuple[Path, ...] = ()
    places: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)
    misspelled: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that may have a `.env` file, in this order."""
        return tuple(dict.fromkeys((self.campaign_dir, self.cwd)))

    def name_of(self, variable: str) -> str:
        """The variable and the file that sets it, for the beginning of a sentence."""
        return _name_of(variable, self.sources)

    def misspellings(self, variables: Iterable[str]) -> list[str]:
        """Which names were probably meant to be these variables, and where they are, a sentence each."""
        return [
            f"{self.misspelled[variable]}: {_MISSPELLED} {variable}"
            for variable in variables
            if variable in self.misspelled
        ]


@dataclass(frozen=True)
class Credentials:
    """The username and password of a service subscriber, for HTTP Basic. `origin`: where they are set, a sentence."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    origin: str = field(default="", repr=False)


def load_settings(campaign_dir: Path, cwd: Path, environ: Mapping[str, str]) -> Settings:
    """Reads the settings. Raises `SettingsError` if a value or a name is not valid."""
    campaign_dir, cwd = campaign_dir.absolute(), cwd.absolute()
    entries: list[tuple[Path | None, Entry]] = [
        (None, Entry(name, value, f"the environment variable {name}")) for name, value in environ.items()
    ]
    for path in dict.fromkeys((campaign_dir / ".env", cwd / ".env")):
        # In a file, the last line with a name counts. A blank value counts as not set.
        entries += [(path, entry) for entry in reversed(read_env_file(path, VARIABLES))]
    found: dict[str, str] = {}
    sources: dict[str, Path | None] = {}
    places: dict[str, list[str]] = {}
    for source, (variable, value, place) in entries:
        if variable in VARIABLES and value.strip():
            found.setdefault(variable, value if variable == PASSWORD else value.strip())
            sources.setdefault(variable, source)
            places.setdefault(variable, []).append(place)
    for variable, value in found.items():
        _refuse_curly_quotes(variable, value, places[variable][0])
    return Settings(
        base_url=normalize_base_url(found.get(BASE_URL, DEFAULT_BASE_URL), _name_of(BASE_URL, sources)),
        username=found.get(USERNAME),
        password=found.get(PASSWORD),
        ledger_url=found.get(LEDGER),
        sources=sources,
        campaign_dir=campaign_dir,
        cwd=cwd,
        callback_secret=found.get(CALLBACK_SECRET),
        callback_signing_key=found.get(CALLBACK_SIGNING_KEY),
        list_database=found.get(LIST_DATABASE),
        smtp_url=found.get(SMTP_URL),
        file_folders=_folders(found.get(FOLDERS, ""), _name_of(FOLDERS, sources)),
        places=places,
        misspelled=_misspelled(entries, found),
    )


def _folders(value: str, name: str) -> tuple[Path, ...]:
    """The folders of a list as in PATH. Raises `SettingsError`."""
    folders = [Path(text.strip()) for text in value.split(os.pathsep) if text.strip()]
    for folder in folders:
        if not folder.is_absolute() or folder == folder.parent:
            raise SettingsError(
                f'{name}: "{folder}" cannot be used. Write whole paths of folders, with "{os.pathsep}" between them.'
            )
    return tuple(folders)


def _name_of(variable: str, sources: Mapping[str, Path | None]) -> str:
    source = sources.get(variable)
    return f"{variable} in {source}" if source else variable


# --- what is probably a mistake


def _is_in_curly_quotes(value: str) -> bool:
    text = value.strip()
    if len(text) < 2:
        return False
    ends = {text[0], text[-1]}
    return bool(ends & _CURLY) and ends <= _CURLY | {'"', "'"}


def _refuse_curly_quotes(variable: str, value: str, place: str) -> None:
    if _is_in_curly_quotes(value):
        raise SettingsError(
            f"{place}: the value of {variable} is in curly quotes, which a word processor makes. Write straight "
            f'quotes (") or none.'
        )


_CURLY = frozenset("“”„‟‘’‚‛«»")
#: How alike two names must be, from 0 to 1, for one to be a misspelling of the other.
_ALIKE = 0.8
#: The same for the names of credentials in a `.env` file, where `PASSWORD` and `API_USER` are for them too.
_SOMEWHAT_ALIKE = 0.6
_FOR_CREDENTIALS = (USERNAME, PASSWORD)


def _misspelled(entries: Iterable[tuple[Path | None, Entry]], found: Mapping[str, str]) -> dict[str, str]:
    """For variables that are not set: the place of a name that was probably meant to be this one."""
    places: dict[str, str] = {}
    for source, (name, _, place) in entries:
        # Most names in the environment are other programs', and comparing them all would be slow.
        if source is None and not name.upper().startswith(("MY", "BA")):
            continue
        near = _nearest(name, VARIABLES, _ALIKE)
        if near is None and source is not None:
            near = _nearest(name, _FOR_CREDENTIALS, _SOMEWHAT_ALIKE)
        if near is not None and near not in (*found, name):
            places.setdefault(near, place)
    for variable in places.keys() - {
        *_FOR_CREDENTIALS,
        LIST_DATABASE,
    }:  # these are missed when they are needed
        # Another ledger or API would not know who was texted.
        raise SettingsError(f"{places[variable]}: {_MISSPELLED} {variable}")
    return places


_MISSPELLED = "this name is not known. You probably meant"


def _nearest(name: str, variables: Sequence[str], cutoff: float) -> str | None:
    by_letters = {variable.replace("_", ""): variable for variable in variables}
    letters = re.sub(r"[\W_]", "", name).upper()
    near = get_close_matches(letters, by_letters, 1, cutoff)
    return by_letters[near[0]] if near else None


# --- credentials

_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\.{2,}|…|x{3,}|\*{3,}|(put[-_ ])?your[-_ ].*|change[-_ ]?(me|this)",
    re.IGNORECASE,
)


def require_credentials(settings: Settings) -> Credentials:
    """Returns the credentials. Raises `SettingsError`, which says what is missing and how to set it."""
    username, password = settings.username, settings.password
    if not username or not password:
        raise SettingsError(_how_to_set(settings), on_page=_NO_CREDENTIALS)
    on_this_machine = is_this_machine(urlsplit(settings.base_url).hostname or "")
    for variable, value in ((USERNAME, username), (PASSWORD, password)):
        problem = _problem(variable, value, placeholders=on_this_machine)
        if problem is not None:
            raise SettingsError(
                f"{settings.places[variable][0]}: the value of {variable} {problem}",
                on_page=f"The {_WORDS[variable]} for myKaarma {problem}",
            )
    return Credentials(username, password, " ".join(_origin(settings, username, password)))


def _problem(variable: str, value: str, *, placeholders: bool = False) -> str | None:
    """Why a name or a password cannot be right, for the end of a sentence. `placeholders`: they are allowed."""
    if variable == USERNAME and ":" in value:
        return "contains a colon, which a name cannot have. Write the name alone, without the password."
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        return (
            "contains a line break or another control character. Set it again without it. A line break at the end "
            "of a file is often copied by mistake."
        )
    if not placeholders and _PLACEHOLDER.fullmatch(value.strip()):
        return "is a placeholder. Write your own, from myKaarma, in its place."
    return None


def store_credentials(campaign_dir: Path, cwd: Path, username: str, password: str) -> None:
    """Writes the credentials into `.env` in `campaign_dir`, which only its owner can read. Other lines stay.

    Raises `CredentialError` if one cannot be right, `SettingsError` if they cannot be written; then the file is
    unchanged.
    """
    given = {USERNAME: username, PASSWORD: password}
    base_url = load_settings(campaign_dir, cwd, {**given, **dict.fromkeys(given, "x")}).base_url
    on_this_machine = is_this_machine(urlsplit(base_url).hostname or "")
    for variable, value in given.items():
        if not value.strip():
            raise CredentialError(variable, f"Enter the {_WORDS[variable]}.")
        if _is_in_curly_quotes(value):
            raise CredentialError(
                variable, f"The {_WORDS[variable]} is in curly quotes. Enter it without quotes."
            )
        if problem := _problem(variable, value, placeholders=on_this_machine):
            raise CredentialError(variable, f"The {_WORDS[variable]} {problem}")
    write_env_file(campaign_dir / ".env", given)


_NO_CREDENTIALS = "This computer has no name and password for myKaarma yet. Set them on the page Sender."
_WORDS = {USERNAME: "name", PASSWORD: "password"}


def _origin(settings: Settings, username: str, password: str) -> Iterator[str]:
    """Where the credentials are set, and what may be wrong with them, in sentences."""
    user, word = (
        "the environment" if settings.sources[variable] is None else settings.places[variable][0]
        for variable in _FOR_CREDENTIALS
    )
    yield f"{USERNAME} comes from {user}, {PASSWORD} from {word}."
    for variable, value in ((USERNAME, username), (PASSWORD, password)):
        if others := settings.places[variable][1:]:
            yield f"{variable} is set in {' and '.join(others)} too, which does not count."
        if value.strip("\"' ") != value:
            yield f"The value of {variable} begins or ends with a quotation mark or a space."


def _how_to_set(settings: Settings) -> str:
    missing = [
        variable
        for variable, value in ((USERNAME, settings.username), (PASSWORD, settings.password))
        if not value
    ]
    names = " and ".join(missing)
    lines = [
        f"{names} {'are' if len(missing) > 1 else 'is'} not set. Sending needs myKaarma's credentials:",
        f"  - either set {names} in the environment,",
        f"  - or write into the file {settings.folders[0] / '.env'}:",
        *(f"      {variable}=..." for variable in missing),
    ]
    lines += settings.misspellings(missing)
    lines += [
        f"There is a file {file}: rename it to .env{' (its .txt may be hidden)' if file.suffix else ''}."
        for folder in settings.folders
        for file in _misnamed_env_files(folder)
    ]
    return "\n".join(lines)


_MISNAMED = re.compile(r"[._]?(dot)?env(\.txt|\.env)*", re.IGNORECASE)


def _misnamed_env_files(folder: Path) -> list[Path]:
    try:
        names = [path for path in sorted(folder.iterdir()) if _MISNAMED.fullmatch(path.name)]
    except OSError:
        return []
    return [path for path in names if path.name != ".env" and path.is_file()]


# --- base URL


def normalize_base_url(url: str, name: str = BASE_URL) -> str:
    """Converts `url` to the spelling that the ledger compares, such as `https://api.mykaarma.com`.

    Raises `SettingsError`, whose message begins with `name`, if `url` is not valid.
    """
    text = url.strip()
    if "@" in text:  # not shown, because it may contain a password
        raise SettingsError(
            f"{name} contains a username or password. Write only the address, "
            "and the credentials in MYKAARMA_USERNAME and MYKAARMA_PASSWORD."
        )
    try:
        parts = web_address(text)
    except ValueError as error:
        raise SettingsError(f"{name} is not a web address. Write it like {DEFAULT_BASE_URL}") from error
    host, port = (parts.hostname or "").rstrip("."), parts.port
    if "?" in text or "#" in text:
        raise SettingsError(f"{name} contains a ? or #. Write only the address: {re.split('[?#]', text)[0]}")
    if "/communications/" in f"{parts.path}/":
        before = text[: text.index("/communications")]
        raise SettingsError(f"{name} is {text}. Write only the part before /communications: {before}")
    if parts.scheme == "http" and not is_this_machine(host):
        raise SettingsError(
            f"{name} is {text}. Plain http:// would send the password unencrypted and is allowed only for this "
            f"computer. Write https://{text[len('http://') :]}"
        )
    bracketed = f"[{host}]" if ":" in host else host
    default_port = 443 if parts.scheme == "https" else 80
    shown_port = "" if port in (None, default_port) else f":{port}"
    return f"{parts.scheme}://{bracketed}{shown_port}{parts.path.rstrip('/')}"


def os_user() -> str:
    """The user of this process, by the name in the operating system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # Windows without a name in the environment
        return "unknown"
