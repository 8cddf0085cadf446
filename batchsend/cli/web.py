"""The commands of the web console: the server, and who can sign in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import ledger_option, status_address, status_options
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.web.auth.users import Users


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; anywhere else, users must sign in.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8397, or the next free one]"
)
@click.option("--name", "names", multiple=True, metavar="HOST", help="Host name of a proxy in front.")
@click.option(
    "--behind-proxy",
    metavar="HEADER",
    help="Trust this request header of the proxy for the client's address, such as X-Forwarded-For.",
)
@click.option(
    "--forwarded-allow-ips",
    "allowed",
    default="127.0.0.1,::1",
    show_default=True,
    metavar="ADDRESSES",
    help="Addresses and networks of that proxy, separated by commas.",
)
@click.option(
    "--user-header",
    metavar="HEADER",
    help="Trust this request header of the proxy for the user's name (single sign-on), such as Remote-User.",
)
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option(
    "--stop-campaigns",
    is_flag=True,
    help="Also stop the campaigns that users have started here, when the console stops: for a container, where no "
    "process continues.",
)
@status_options
@ledger_option
def web(
    host: str,
    port: int | None,
    names: tuple[str, ...],
    behind_proxy: str | None,
    allowed: str,
    user_header: str | None,
    no_open: bool,
    stop_campaigns: bool,
    status_port: int | None,
    status_host: str,
    ledger: str | None,
) -> Exit:
    """Run the web console for the campaigns in this folder.

    It opens the browser with a link that signs you in once. Ctrl-C or SIGTERM stops the console; running campaigns
    continue, except with `--stop-campaigns`.
    """
    from batchsend.web.auth.proxy import proxy_of
    from batchsend.web.server import Options, serve

    proxy = proxy_of(behind_proxy, allowed, user_header)
    options = Options(
        Path.cwd(),
        host,
        port,
        ledger,
        names,
        open_browser=not no_open,
        proxy=proxy,
        stop_campaigns=stop_campaigns,
    )
    serve(options, status_address(status_port, status_host), say=click.echo)
    click.echo("The web console has stopped.")
    return Exit.DONE


@click.group("web-users")
def web_users() -> None:
    """Manage who can sign in to the web console.

    Users are needed when other computers can reach `batchsend web` of this folder. Runs and results record the user's
    name as the sender.
    """


@web_users.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add(name: str, password_stdin: bool) -> None:
    """Add a user or change their password.

    It prompts for the password and stores only a hash.
    """
    from batchsend.web.auth.users import check_name, check_password

    check_name(name)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    check_password(password)
    new = _users().put(name, str(password))
    click.echo(f"{name} can sign in." if new else f"{name} has a new password and is signed out everywhere.")


@web_users.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove a user and sign them out."""
    _users().remove(name)
    click.echo(f"{name} can no longer sign in.")


@web_users.command("list")
def list_() -> None:
    """List the users who can sign in."""
    names = _users().names()
    for name in names:
        click.echo(name)
    if not names:
        click.echo("No users yet. Add one: batchsend web-users add NAME")


def _users() -> Users:
    from batchsend.web.auth.users import Users
    from batchsend.web.folder import users_file

    return Users(users_file(Path.cwd()))
