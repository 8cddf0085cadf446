"""The commands of the web console: the server, and its users."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import ledger_option
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.web.auth.users import Users


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; elsewhere people sign in."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Where to listen.  [default: 8397, or the next free one]"
)
@click.option("--name", "names", multiple=True, metavar="HOST", help="What a proxy in front is called.")
@click.option("--no-open", is_flag=True, help="Do not start the browser.")
@ledger_option
def web(host: str, port: int | None, names: tuple[str, ...], no_open: bool, ledger: str | None) -> Exit:
    """The same for people who would rather click: pages in the browser, for the campaigns of this folder.

    It opens the browser at a link that lets you in, once. Ctrl-C or SIGTERM ends the pages; what is being sent
    goes on.
    """
    from batchsend.web.server import Options, serve

    options = Options(Path.cwd(), host, port, ledger, names, open_browser=not no_open)
    serve(options, say=click.echo)
    click.echo("The pages have ended.")
    return Exit.DONE


@click.group("web-users")
def web_users() -> None:
    """Who may sign in to `batchsend web` of this folder: names and passwords.

    Needed where others can reach the server. A name is who ran it, in runs and results.
    """


@web_users.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add(name: str, password_stdin: bool) -> None:
    """Add a user, or give them a new password. It is asked for, and only its hash is kept."""
    from batchsend.web.auth.users import check_name, check_password

    check_name(name)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    check_password(password)
    new = _users().put(name, str(password))
    click.echo(f"{name} can sign in." if new else f"{name} has a new password; whoever was signed in is out.")


@web_users.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove a user; if they are signed in, they are out."""
    _users().remove(name)
    click.echo(f"{name} can sign in no more.")


@web_users.command("list")
def list_() -> None:
    """Who may sign in."""
    names = _users().names()
    for name in names:
        click.echo(name)
    if not names:
        click.echo("Nobody yet. Add somebody: batchsend web-users add NAME")


def _users() -> Users:
    from batchsend.web.auth.users import Users
    from batchsend.web.folder import users_file

    return Users(users_file(Path.cwd()))
