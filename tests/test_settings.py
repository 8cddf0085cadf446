"""Settings from the environment and `.env` files, and every sentence about what is wrong with them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from world import CAMPAIGN, World
from yarl import URL

from batchsend.errors import SettingsError
from batchsend.ledger.location import resolve_ledger_url
from batchsend.settings import Settings, load_settings, normalize_base_url, os_user, require_credentials
from batchsend.utils.net import is_this_machine

CREDENTIALS = {"MYKAARMA_USERNAME": "me", "MYKAARMA_PASSWORD": "s3cret"}


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """The campaign's folder."""
    folder = tmp_path / "campaigns"
    folder.mkdir()
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The current directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


# --- where each setting comes from


def test_nothing_set(beside: Path, here: Path) -> None:
    found = load_settings(beside, here, {})
    assert found == Settings("https://api.mykaarma.com", None, None, None, {}, beside, here)


def test_each_setting_comes_for_itself(beside: Path, here: Path) -> None:
    (beside / ".env").write_text("MYKAARMA_USERNAME=file\nMYKAARMA_PASSWORD=beside\n", encoding="utf-8")
    (here / ".env").write_text("MYKAARMA_PASSWORD=here\nBATCHSEND_LEDGER=/x/ledger.db\n", encoding="utf-8")

    found = load_settings(beside, here, {"MYKAARMA_USERNAME": "environment"})

    assert (found.username, found.password, found.ledger_url) == ("environment", "beside", "/x/ledger.db")
    assert found.sources == {
        "MYKAARMA_USERNAME": None,
        "MYKAARMA_PASSWORD": beside / ".env",
        "BATCHSEND_LEDGER": here / ".env",
    }


def test_blank_is_not_set(beside: Path, here: Path) -> None:
    # `.env` files are handed out as forms to fill in; CI systems set variables to nothing.
    (beside / ".env").write_text("MYKAARMA_USERNAME=\nMYKAARMA_PASSWORD\n", encoding="utf-8")
    (here / ".env").write_text("MYKAARMA_USERNAME=me\nMYKAARMA_PASSWORD=s3cret\n", encoding="utf-8")

    found = load_settings(beside, here, {"MYKAARMA_USERNAME": " "})

    assert (found.username, found.password) == ("me", "s3cret")


def test_one_folder_is_both(beside: Path) -> None:
    (beside / ".env").write_text("MYKAARMA_USERNAME=me\n", encoding="utf-8")
    assert load_settings(beside, beside, {}).folders == (beside,)


def test_a_folder_called_env_is_no_file_of_settings(beside: Path, here: Path) -> None:
    (beside / ".env").mkdir()  # some virtual environments are called so
    assert load_settings(beside, here, CREDENTIALS).username == "me"


PASSWORDS = [
    # as dotenv files have them: quoted where there are blanks or quotes, bare with a # inside
    ("abc#def", "abc#def"),
    ('"with blank # and hash"', "with blank # and hash"),
    ("'it \"is\" quoted'", 'it "is" quoted'),
    ("pässwörd€", "pässwörd€"),
    # never filled in with other variables
    ("a${HOME}b$HOME", "a${HOME}b$HOME"),
    ('" leading and trailing "', " leading and trailing "),
]


@pytest.mark.parametrize(("written", "meant"), PASSWORDS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])  # the last two: Windows' Notepad
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_passwords_come_through(
    beside: Path, here: Path, written: str, meant: str, encoding: str, line_end: str
) -> None:
    text = f"MYKAARMA_PASSWORD={written}{line_end}MYKAARMA_USERNAME=me{line_end}"
    (beside / ".env").write_bytes(text.encode(encoding))

    credentials = require_credentials(load_settings(beside, here, {}))

    assert (credentials.username, credentials.password) == ("me", meant)


def test_environment_passwords_are_taken_as_they_are(beside: Path, here: Path) -> None:
    environ = {"MYKAARMA_USERNAME": "me", "MYKAARMA_PASSWORD": " 'a' #b "}
    assert require_credentials(load_settings(beside, here, environ)).password == " 'a' #b "


@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=30))
def test_env_files_mean_what_dotenv_says(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.getbasetemp() / ".env"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    path.write_text(f"MYKAARMA_PASSWORD='{quoted}'\n", encoding="utf-8", newline="")

    found = load_settings(path.parent, path.parent, {}).password

    assert found == (value if value.strip() else None)
    assert dotenv_values(path, interpolate=False, encoding="utf-8")["MYKAARMA_PASSWORD"] == value


# --- nothing shows a secret


def test_no_secret_in_what_is_printed(beside: Path, here: Path) -> None:
    found = load_settings(
        beside,
        here,
        {
            "MYKAARMA_USERNAME": "someone",
            "MYKAARMA_PASSWORD": "s3cret",
            "BATCHSEND_LEDGER": "postgresql://u:s3cret@h/d",
        },
    )
    assert "s3cret" not in repr(found)
    assert "someone" not in repr(found)
    assert repr(require_credentials(found)) == "Credentials()"


# --- sentences


def test_missing_credentials(beside: Path, here: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, {}))
    assert str(caught.value) == (
        "MYKAARMA_USERNAME and MYKAARMA_PASSWORD are not set. Sending needs myKaarma's credentials:\n"
        "  - either set MYKAARMA_USERNAME and MYKAARMA_PASSWORD in the environment,\n"
        f"  - or write into the file {beside / '.env'}:\n"
        "      MYKAARMA_USERNAME=...\n"
        "      MYKAARMA_PASSWORD=..."
    )
    assert caught.value.exit_code == 2


def test_missing_password(beside: Path, here: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, {"MYKAARMA_USERNAME": "me"}))
    assert str(caught.value) == (
        "MYKAARMA_PASSWORD is not set. Sending needs myKaarma's credentials:\n"
        "  - either set MYKAARMA_PASSWORD in the environment,\n"
        f"  - or write into the file {beside / '.env'}:\n"
        "      MYKAARMA_PASSWORD=..."
    )


@pytest.mark.parametrize("where", ["campaigns", "here"])
def test_misnamed_env_file(tmp_path: Path, beside: Path, here: Path, where: str) -> None:
    misnamed = tmp_path / where / ".env.txt"
    misnamed.write_text("MYKAARMA_PASSWORD=s3cret", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, {}))
    assert str(caught.value).splitlines()[-1] == (
        f"There is a file {misnamed}: rename it to .env (its .txt may be hidden)."
    )


def test_misnamed_env_file_does_not_matter_where_nothing_is_missing(beside: Path, here: Path) -> None:
    (beside / ".env.txt").write_text("", encoding="utf-8")
    assert require_credentials(load_settings(beside, here, CREDENTIALS)).username == "me"


@pytest.mark.parametrize(
    "name", ["env", "env.txt", ".env.txt", "_env", ".ENV", ".env.env", "Env.TXT", "dotenv"]
)
def test_env_files_under_other_names_are_named(beside: Path, here: Path, name: str) -> None:
    (beside / name).write_text("MYKAARMA_PASSWORD=s3cret", encoding="utf-8")
    assert f"There is a file {beside / name}: rename it to .env" in missing(beside, here)


def test_a_virtual_environment_is_no_misnamed_env_file(beside: Path, here: Path) -> None:
    (beside / "env").mkdir()
    (beside / "environment.txt").touch()
    assert "rename it" not in missing(beside, here)


def missing(beside: Path, here: Path, environ: Mapping[str, str] | None = None) -> str:
    """The error about credentials that are not set; it never has a value."""
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, environ or {}))
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("MYKARMA_PASSWORD=s3cret", "MYKAARMA_PASSWORD"),
        ("MYKAARMA-PASSWORD=s3cret", "MYKAARMA_PASSWORD"),
        ("MYKAARMA PASSWORD=s3cret", "MYKAARMA_PASSWORD"),
        ("mykaarma_password = s3cret", "MYKAARMA_PASSWORD"),
        ("export MYKARMA_PASSWORD=s3cret", "MYKAARMA_PASSWORD"),
        ("$env:MYKARMA_PASSWORD='s3cret'", "MYKAARMA_PASSWORD"),
        ("set MyKarma_Password=s3cret", "MYKAARMA_PASSWORD"),
        ("MYKARMA_PASSWORD: s3cret", "MYKAARMA_PASSWORD"),
        ('MYKARMA_PASSWORD="s3cret', "MYKAARMA_PASSWORD"),
        ("MYKAARMA_PASS=s3cret", "MYKAARMA_PASSWORD"),
        ("PASSWORD=s3cret", "MYKAARMA_PASSWORD"),
        ("MYKAARMA_USER=s3cret", "MYKAARMA_USERNAME"),
        ("API_USERNAME=s3cret", "MYKAARMA_USERNAME"),
    ],
)
def test_misspelled_names_of_credentials_are_named_by_their_lines(
    beside: Path, here: Path, line: str, meant: str
) -> None:
    (beside / ".env").write_text(f"# ours\n\n\n{line}\n", encoding="utf-8")
    found = missing(beside, here)
    assert found.splitlines()[-1] == (
        f"{beside / '.env'}, line 4: this name is not known. You probably meant {meant}"
    )


def test_a_line_that_may_be_a_secret_is_not_shown(beside: Path, here: Path) -> None:
    (beside / ".env").write_text("MYKARMA_PASSWORD s3cret==\n", encoding="utf-8")
    missing(beside, here)


def test_a_misspelled_variable_of_the_environment_is_named(beside: Path, here: Path) -> None:
    # Windows sets USERNAME for every user.
    found = missing(beside, here, {"MYKARMA_PASSWORD": "s3cret", "USERNAME": "s3cret"})
    assert "the environment variable MYKARMA_PASSWORD: this name is not known." in found
    assert "variable USERNAME" not in found


def test_a_misspelled_list_database_is_said_where_it_is_needed(tmp_path: Path) -> None:
    world = World(tmp_path).write(campaign=CAMPAIGN.replace("customers.csv", "due.sql"))
    (tmp_path / "due.sql").write_text("SELECT 1", encoding="utf-8")
    (tmp_path / ".env").write_text("BATCHSEND_LISTDATABASE2=postgresql://u:s3cret@host/d\n", encoding="utf-8")
    refused = world.run("preview", "campaign.toml")
    assert refused.code == 2
    assert "line 1: this name is not known. You probably meant BATCHSEND_LIST_DATABASE" in refused.err
    assert "s3cret" not in refused.err


def test_other_names_are_not_ours(beside: Path, here: Path) -> None:
    names = ("BATCHSEND_DEBUG", "BATCHSEND_PICTURES", "DATABASE_URL", "BASE_URL", "MY_USERNAME", "LEDGER")
    assert load_settings(beside, here, dict.fromkeys(names, "1")).misspelled == {}


def test_misspelled_names_do_not_matter_where_nothing_is_missing(beside: Path, here: Path) -> None:
    (beside / ".env").write_text("MYKAARMA_PASSWORD_OLD=x\nBATCHSEND_LEDGER2=y\n", encoding="utf-8")
    environ = {
        **CREDENTIALS,
        "BATCHSEND_LEDGER": "/x/ledger.db",
    }
    assert require_credentials(load_settings(beside, here, environ)).username == "me"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BATCHSEND_LEGDER", "BATCHSEND_LEDGER"),
        ("BATCHSEND-LEDGER", "BATCHSEND_LEDGER"),
        ("BATCHSEND_LEDGER_URL", "BATCHSEND_LEDGER"),
        ("MYKARMA_BASE_URL", "MYKAARMA_BASE_URL"),
        ("MYKAARMA_BASEURL", "MYKAARMA_BASE_URL"),
        ("MYKAARMA_URL", "MYKAARMA_BASE_URL"),
    ],
)
def test_another_ledger_or_api_by_a_misspelled_name_is_refused(
    beside: Path, here: Path, name: str, meant: str
) -> None:
    (beside / ".env").write_text(f"{name}=postgresql://u:s3cret@host/d\n", encoding="utf-8")
    found = missing(beside, here)
    assert found == f"{beside / '.env'}, line 1: this name is not known. You probably meant {meant}"


@pytest.mark.parametrize("value", ["“s3cret”", "‘s3cret’", '“s3cret"', "«s3cret»", "„s3cret“"])
def test_curly_quotes_around_a_value_are_refused(beside: Path, here: Path, value: str) -> None:
    (beside / ".env").write_text(f"MYKAARMA_USERNAME=me\nMYKAARMA_PASSWORD={value}\n", encoding="utf-8")
    assert missing(beside, here) == (
        f"{beside / '.env'}, line 2: the value of MYKAARMA_PASSWORD is in curly quotes, which a word processor "
        'makes. Write straight quotes (") or none.'
    )


@pytest.mark.parametrize("value", ["s3“cret”x", "it’s", "”"])
def test_curly_quotes_inside_a_password_come_through(beside: Path, here: Path, value: str) -> None:
    environ = {**CREDENTIALS, "MYKAARMA_PASSWORD": value}
    assert require_credentials(load_settings(beside, here, environ)).password == value


@pytest.mark.parametrize(
    "value",
    [
        "your-username",
        "your_password",
        "Your Password",
        "changeme",
        "<password>",
        "...",
        "xxxx",
        "put-your-key",
    ],
)
def test_placeholders_are_refused_except_by_a_stand_in(beside: Path, here: Path, value: str) -> None:
    environ = {**CREDENTIALS, "MYKAARMA_PASSWORD": value}
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, environ))
    assert str(caught.value) == (
        "the environment variable MYKAARMA_PASSWORD: the value of MYKAARMA_PASSWORD is a placeholder. Write your "
        "own, from myKaarma, in its place."
    )
    sandbox = {**environ, "MYKAARMA_BASE_URL": "http://127.0.0.1:8398"}
    assert require_credentials(load_settings(beside, here, sandbox)).password == value


@pytest.mark.parametrize("value", ["youR9secret", "x", "secret", "ab...", "<ab", "password1"])
def test_passwords_that_only_look_a_little_like_placeholders_come_through(
    beside: Path, here: Path, value: str
) -> None:
    environ = {**CREDENTIALS, "MYKAARMA_PASSWORD": value}
    assert require_credentials(load_settings(beside, here, environ)).password == value


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_said(beside: Path, here: Path, encoding: str) -> None:
    (beside / ".env").write_bytes("MYKAARMA_PASSWORD=s3cret\n".encode(encoding))
    assert missing(beside, here) == (
        f"{beside / '.env'}: it is saved as UTF-16. Save the file again with the encoding UTF-8."
    )


def test_where_refused_credentials_come_from(beside: Path, here: Path) -> None:
    (beside / ".env").write_text('\nMYKAARMA_USERNAME=me\nMYKAARMA_PASSWORD=s3cret"\n', encoding="utf-8")
    (here / ".env").write_text("MYKAARMA_USERNAME=other\n", encoding="utf-8")
    assert require_credentials(load_settings(beside, here, {})).origin == (
        f"MYKAARMA_USERNAME comes from {beside / '.env'}, line 2, MYKAARMA_PASSWORD from {beside / '.env'}, line 3. "
        f"MYKAARMA_USERNAME is set in {here / '.env'}, line 1 too, which does not count. "
        f"The value of MYKAARMA_PASSWORD begins or ends with a quotation mark or a space."
    )
    environ = {"MYKAARMA_PASSWORD": "new"}
    assert require_credentials(load_settings(beside, beside, environ)).origin == (
        f"MYKAARMA_USERNAME comes from {beside / '.env'}, line 2, MYKAARMA_PASSWORD from the environment. "
        f"MYKAARMA_PASSWORD is set in {beside / '.env'}, line 3 too, which does not count."
    )


def test_colon_in_username(beside: Path, here: Path) -> None:
    (beside / ".env").write_text("MYKAARMA_USERNAME=me:s3cret\nMYKAARMA_PASSWORD=x", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, {}))
    assert str(caught.value) == (
        f"{beside / '.env'}, line 1: the value of MYKAARMA_USERNAME contains a colon, which a name cannot have. "
        "Write the name alone, without the password."
    )


def test_line_break_in_password(beside: Path, here: Path) -> None:
    # Secrets that were stored with `echo` end in one.
    environ = {"MYKAARMA_USERNAME": "me", "MYKAARMA_PASSWORD": "s3cret\n"}
    with pytest.raises(SettingsError) as caught:
        require_credentials(load_settings(beside, here, environ))
    assert str(caught.value) == (
        "the environment variable MYKAARMA_PASSWORD: the value of MYKAARMA_PASSWORD contains a line break or "
        "another control character. "
        "Set it again without it. A line break at the end of a file is often copied by mistake."
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"# ok\nMYKAARMA_PASSWORD='s3cret\n",
            "line 2 cannot be read. Write NAME=value; a value that begins with a quote must end with the same one.",
        ),
        (
            b"MYKAARMA_USERNAME=me\nMYKAARMA_PASSWORD=s3cr\xe9t\n",
            "line 2 has a character that is not UTF-8. Save the file again with the encoding UTF-8.",
        ),
    ],
)
def test_unreadable_env_file(beside: Path, here: Path, content: bytes, sentence: str) -> None:
    (beside / ".env").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(beside, here, {})
    assert str(caught.value) == f"{beside / '.env'}: {sentence}"
    assert caught.value.__cause__ is None


def test_other_programs_lines_do_not_matter(beside: Path, here: Path) -> None:
    (beside / ".env").write_text("'x\nMYKAARMA_USERNAME=me\n", encoding="utf-8")
    assert load_settings(beside, here, {}).username == "me"


# --- base URL


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://api.mykaarma.com", "https://api.mykaarma.com"),
        # the ledger compares them: one address, one spelling
        ("HTTPS://API.myKaarma.com:443/", "https://api.mykaarma.com"),
        ("https://api.mykaarma.com./", "https://api.mykaarma.com"),
        (" https://api.mykaarma.com ", "https://api.mykaarma.com"),
        ("https://gateway.example.com:8443/MyKaarma/", "https://gateway.example.com:8443/MyKaarma"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.0.0.2:8080", "http://127.0.0.2:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ],
)
def test_base_url(beside: Path, here: Path, url: str, normal: str) -> None:
    assert load_settings(beside, here, {"MYKAARMA_BASE_URL": url}).base_url == normal
    assert normalize_base_url(normal) == normal


NO_ADDRESS = "MYKAARMA_BASE_URL is not a web address. Write it like https://api.mykaarma.com"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("api.mykaarma.com", NO_ADDRESS),
        ("ftp://api.mykaarma.com", NO_ADDRESS),
        ("https://", NO_ADDRESS),
        # no name can be looked up that has an empty part or one of more than 63 characters
        ("https://.", NO_ADDRESS),
        ("https://./x", NO_ADDRESS),
        ("https://<host>", NO_ADDRESS),
        ("https://api..mykaarma.com", NO_ADDRESS),
        ("https://api.mykaarma.com..", NO_ADDRESS),
        ("https://\N{IDEOGRAPHIC FULL STOP}", NO_ADDRESS),
        (f"https://{64 * 'a'}.com", NO_ADDRESS),
        ("https://api.mykaarma.com:99999", NO_ADDRESS),
        ("https://api.mykaarma.com:x", NO_ADDRESS),
        ("https://[::1", NO_ADDRESS),
        ("https://api.my\nkaarma.com", NO_ADDRESS),
        (
            "http://api.mykaarma.com/x",
            (
                "MYKAARMA_BASE_URL is http://api.mykaarma.com/x. Plain http:// would send the password "
                "unencrypted and is "
                "allowed only for this computer. Write https://api.mykaarma.com/x"
            ),
        ),
        # looks like this computer, but is not
        (
            "http://127.0.0.1.example.com",
            (
                "MYKAARMA_BASE_URL is http://127.0.0.1.example.com. Plain http:// would send the password "
                "unencrypted and "
                "is allowed only for this computer. Write https://127.0.0.1.example.com"
            ),
        ),
        (
            "https://me:s3cret@api.mykaarma.com",
            (
                "MYKAARMA_BASE_URL contains a username or password. Write only the address, and the credentials in "
                "MYKAARMA_USERNAME and MYKAARMA_PASSWORD."
            ),
        ),
        (
            "https://api.mykaarma.com/?key=s3cret",
            "MYKAARMA_BASE_URL contains a ? or #. Write only the address: https://api.mykaarma.com/",
        ),
        (
            "https://api.mykaarma.com#",
            "MYKAARMA_BASE_URL contains a ? or #. Write only the address: https://api.mykaarma.com",
        ),
        # the whole address of the documentation, pasted
        (
            "https://api.mykaarma.com/communications/department/x",
            (
                "MYKAARMA_BASE_URL is https://api.mykaarma.com/communications/department/x. "
                "Write only the part before /communications: https://api.mykaarma.com"
            ),
        ),
    ],
)
def test_wrong_base_url(beside: Path, here: Path, url: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(beside, here, {"MYKAARMA_BASE_URL": url})
    assert str(caught.value) == sentence


def test_wrong_base_url_names_the_file(beside: Path, here: Path) -> None:
    (here / ".env").write_text("MYKAARMA_BASE_URL=nonsense", encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(f"MYKAARMA_BASE_URL in {here / '.env'} is not a web")):
        load_settings(beside, here, {})


@given(st.text(max_size=40).map("https://".__add__) | st.text(max_size=40))
def test_a_base_url_has_one_spelling(url: str) -> None:
    try:
        normal = normalize_base_url(url)
    except SettingsError:
        return
    assert normalize_base_url(normal) == normal
    assert normal.startswith(("https://", "http://"))
    # what sends can make use of it
    URL(normal).raw_host.encode("idna")


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *(
            ("localhost", True),
            ("LOCALHOST", True),
            ("127.0.0.1", True),
            ("127.255.1.2", True),
            ("::1", True),
        ),
        *(("localhost.example.com", False), ("128.0.0.1", False), ("0.0.0.0", False), ("10.0.0.1", False)),
        *(("::", False), ("2001:db8::1", False), ("", False), ("127.1", False)),
    ],
)
def test_this_machine(host: str, ours: bool) -> None:
    assert is_this_machine(host) is ours


# --- the ledger


def ledger(beside: Path, here: Path, option: str | None, environ: dict[str, str] | None = None) -> str:
    return resolve_ledger_url(option, load_settings(beside, here, environ or {}), beside)


def file_of(url: str) -> Path:
    parsed = make_url(url)
    assert parsed.drivername == "sqlite"
    return Path(parsed.database or "")


def test_ledger_beside_the_campaign(beside: Path, here: Path) -> None:
    assert file_of(ledger(beside, here, None)) == beside / ".batchsend" / "ledger.db"


def test_ledger_from_the_environment(beside: Path, here: Path) -> None:
    environ = {"BATCHSEND_LEDGER": str(here / "x.db")}
    assert file_of(ledger(beside, here, None, environ)) == here / "x.db"
    assert file_of(ledger(beside, here, "y.db", environ)) == here / "y.db"


def test_relative_ledger_in_an_env_file_counts_from_that_file(beside: Path, here: Path) -> None:
    (beside / ".env").write_text("BATCHSEND_LEDGER=../shared/ledger.db", encoding="utf-8")
    assert file_of(ledger(beside, here, None)) == beside.parent / "shared" / "ledger.db"


@pytest.mark.parametrize("value", ["ledger.db", "sqlite:///ledger.db"])
def test_relative_ledger_in_the_environment(beside: Path, here: Path, value: str) -> None:
    # A job that is started in another folder would have another ledger, and text everybody again.
    with pytest.raises(SettingsError) as caught:
        ledger(beside, here, None, {"BATCHSEND_LEDGER": value})
    assert str(caught.value) == (
        "BATCHSEND_LEDGER is ledger.db, which would be a different file in every folder that a command is "
        f"started in, and a different ledger does not know who was texted. Write the full path: {here / 'ledger.db'}"
    )


@pytest.mark.parametrize(
    ("option", "file"),
    [
        ("x.db", "x.db"),
        ("sub/../x.db", "x.db"),
        ("sqlite:///x.db", "x.db"),
        ("SQLite:///x.db", "x.db"),
        ("sqlite:///a%20b.db", "a b.db"),
        # characters that mean something in a URL
        ("50% off? #1 é.db", "50% off? #1 é.db"),
    ],
)
def test_ledger_files(beside: Path, here: Path, option: str, file: str) -> None:
    assert file_of(ledger(beside, here, option)) == here / file


def test_whole_path_as_a_url(beside: Path, here: Path) -> None:
    path = beside / "x.db"
    assert file_of(ledger(beside, here, f"sqlite:///{path.as_posix()}")) == path


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgresql://u@h:5433/d", "postgresql+psycopg://u@h:5433/d"),
        ("postgres://u:p%40ss@h/d?sslmode=require", "postgresql+psycopg://u:p%40ss@h/d?sslmode=require"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://h/d?connections=8", "postgresql+psycopg://h/d?connections=8"),
        # through the system's own socket
        ("postgresql:///d", "postgresql+psycopg:///d"),
    ],
)
def test_postgresql_ledger(beside: Path, here: Path, given: str, url: str) -> None:
    assert ledger(beside, here, None, {"BATCHSEND_LEDGER": given}) == url


POSSIBLE = (
    "A ledger is a file (a path, or sqlite:///path/to/ledger.db) or a PostgreSQL database "
    "(postgresql://user@host/database)."
)
VISIBLE = (
    "--ledger holds a password, and other users of this computer can see a command's options. "
    "Set BATCHSEND_LEDGER in the environment or in .env, or keep the password in ~/.pgpass."
)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("postgresql://u:s3cret@h/d", VISIBLE),
        ("postgresql://u@h/d?password=s3cret", VISIBLE),
        ("mysql://h/d", f"--ledger begins with mysql:, which cannot hold a ledger. {POSSIBLE}"),
        (
            "postgresql+asyncpg://h/d",
            f"--ledger begins with postgresql+asyncpg:, which cannot hold a ledger. {POSSIBLE}",
        ),
        ("sqlite://", "--ledger names no file. Write it like sqlite:///path/to/ledger.db"),
        ("sqlite:///:memory:", "--ledger names no file. Write it like sqlite:///path/to/ledger.db"),
        ("sqlite:///x.db?mode=ro", "--ledger names no file. Write it like sqlite:///path/to/ledger.db"),
        ("sqlite:x.db", "--ledger names no file. Write it like sqlite:///path/to/ledger.db"),
        ("postgresql://h", "--ledger names no database. Write it like postgresql://user@host/database"),
        (
            "postgresql://u:s3cret@h:x/d",
            "--ledger is not a PostgreSQL address. Write it like postgresql://user@host/database",
        ),
        (
            "postgresql:d",
            "--ledger is not a PostgreSQL address. Write it like postgresql://user@host/database",
        ),
        ("", f"--ledger is not a path. {POSSIBLE}"),
        ("a\nb", f"--ledger is not a path. {POSSIBLE}"),
    ],
)
def test_wrong_ledger(beside: Path, here: Path, option: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ledger(beside, here, option)
    assert str(caught.value) == sentence
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("given", ["7", "0", "-8", "8.5", "few", "8&connections=9"])
def test_wrong_number_of_connections(beside: Path, here: Path, given: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ledger(beside, here, None, {"BATCHSEND_LEDGER": f"postgresql://u:s3cret@h/d?connections={given}"})
    said = str(caught.value)
    assert said.startswith("BATCHSEND_LEDGER has connections=")
    assert said.endswith(
        "This limits the connections of a process to the database. Write a whole number, at least 8: "
        "postgresql://user@host/database?connections=12"
    )
    assert "s3cret" not in said


def test_a_folder_as_ledger(beside: Path, here: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        ledger(beside, here, str(beside))
    assert str(caught.value) == (
        f"--ledger is {beside}, which is a folder. Name a file in it: {beside / 'ledger.db'}"
    )


def test_a_process_without_a_user_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, Python finds it in the environment alone."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)
    assert os_user() == "unknown"
