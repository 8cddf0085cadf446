"""Settings of this computer: credentials, base URL and ledger.

Each setting comes from the environment, else from `.env` next to the campaign file, else from `.env` in the current
directory. No message shows a password or a URL that may contain one.
"""

from __future__ import annotations

import codecs
import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from batchsend.errors import SettingsError
from batchsend.utils.net import is_this_machine, web_address

BASE_URL = "MYKAARMA_BASE_URL"
USERNAME = "MYKAARMA_USERNAME"
PASSWORD = "MYKAARMA_PASSWORD"  # noqa: S105 - the variable's name
LEDGER = "BATCHSEND_LEDGER"
CALLBACK_SECRET = "BATCHSEND_CALLBACK_SECRET"  # noqa: S105 - the variable's name
CALLBACK_SIGNING_KEY = "BATCHSEND_CALLBACK_SIGNING_KEY"
VARIABLES = (BASE_URL, USERNAME, PASSWORD, LEDGER, CALLBACK_SECRET, CALLBACK_SIGNING_KEY)

DEFAULT_BASE_URL = "https://api.mykaarma.com"


@dataclass(frozen=True)
class Settings:
    """The settings of one command.

    `sources`: for each variable that is set, the path of its `.env` file, or `None` for the environment.
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

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that may have a `.env` file, in this order."""
        return tuple(dict.fromkeys((self.campaign_dir, self.cwd)))

    def name_of(self, variable: str) -> str:
        """The variable and the file that sets it, for the beginning of a sentence."""
        return _name_of(variable, self.sources)


@dataclass(frozen=True)
class Credentials:
    """The username and password of a service subscriber, for HTTP Basic."""

    username: str = field(repr=False)
    password: str = field(repr=False)


def load_settings(campaign_dir: Path, cwd: Path, environ: Mapping[str, str]) -> Settings:
    """Reads the settings. Raises `SettingsError` if a value is not valid."""
    campaign_dir, cwd = campaign_dir.absolute(), cwd.absolute()
    env_files = dict.fromkeys((campaign_dir / ".env", cwd / ".env"))
    places: list[tuple[Path | None, Mapping[str, str]]] = [(None, environ)]
    places += [(path, _read_env_file(path)) for path in env_files]
    found: dict[str, str] = {}
    sources: dict[str, Path | None] = {}
    for variable in VARIABLES:
        for source, values in places:
            # A blank value in a .env file counts as not set.
            if value := values.get(variable, "").strip():
                found[variable] = values[variable] if variable == PASSWORD else value
                sources[variable] = source
                break
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
    )


def _name_of(variable: str, sources: Mapping[str, Path | None]) -> str:
    source = sources.get(variable)
    return f"{variable} in {source}" if source else variable


# --- .env files


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        if path.is_dir() or not path.exists():  # some virtual environments are folders of this name
            return {}
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: it cannot be read: {error.strerror or error}.") from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        # `from None`, because the cause contains the content of the file, including passwords.
        raise SettingsError(
            f"{path}: line {line} has a character that is not UTF-8. "
            "Save the file again with the encoding UTF-8."
        ) from None
    values = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error and any(variable in binding.original.string for variable in VARIABLES):
            raise SettingsError(
                f"{path}: line {binding.original.line} cannot be read. Write NAME=value; a value that begins with"
                " a quote must end with the same one."
            )
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


# --- credentials


def require_credentials(settings: Settings) -> Credentials:
    """Returns the credentials. Raises `SettingsError`, which says what is missing and how to set it."""
    username, password = settings.username, settings.password
    if not username or not password:
        raise SettingsError(_how_to_set(settings))
    if ":" in username:
        raise SettingsError(
            f"{settings.name_of(USERNAME)} contains a colon, which a username cannot have. "
            "Write the username alone, and the password in MYKAARMA_PASSWORD."
        )
    for variable, value in ((USERNAME, username), (PASSWORD, password)):
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise SettingsError(
                f"{settings.name_of(variable)} contains a line break or another control character. "
                "Set it again without it. A line break at the end of a file is often copied by mistake."
            )
    return Credentials(username, password)


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
    lines += [
        f"There is a file {folder / '.env.txt'}: rename it to .env (its .txt may be hidden)."
        for folder in settings.folders
        if (folder / ".env.txt").exists()
    ]
    return "\n".join(lines)


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
    except (OSError, KeyError):
        return "unknown"
