"""The server: where it listens, which address has which page, and what is said where a page fails."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from batchsend.errors import BatchsendError, SettingsError
from batchsend.utils.net import cannot_listen, in_url, is_this_machine
from batchsend.utils.signals import stopping_on_signals
from batchsend.web.auth.middleware import (
    AUTH,
    HEADERS,
    Auth,
    Handler,
    RequestRefusedError,
    add_headers,
    guard,
)
from batchsend.web.auth.users import Users
from batchsend.web.folder import NotFoundError, WebFolder, users_file
from batchsend.web.jobs.list_process import LIST_READER, ListReader
from batchsend.web.jobs.registry import JOBS, Jobs
from batchsend.web.live_runs import SNAPSHOTS, Snapshots
from batchsend.web.queries import ActiveRuns
from batchsend.web.rendering import STATIC_FILES, page, static
from batchsend.web.views import campaign as campaign_page
from batchsend.web.views import campaigns, editing, login, run_actions
from batchsend.web.views import check as checking
from batchsend.web.views import history as history_page
from batchsend.web.views import run as run_page

#: WEB's neighbours on a telephone's keypad are taken by the sandbox and the listener for updates.
DEFAULT_PORT = 8397
#: Further ports that are tried where none is asked for.
_MORE_PORTS = 20
#: Seconds for requests under way when the server ends.
_CLOSING = 2.0
#: Bytes of a form without a file.
_LARGEST_FORM = 4_000_000
#: The file of ours that sends the browser to the link.
_OPENER = "open.html"
#: The addresses of a campaign, of a check of it and its tests, of a run.
CAMPAIGN = "/campaign/{folder:here|campaigns}/{stem}"
CHECK = CAMPAIGN + "/check/{check}"
TESTS = f"(?:{checking.TRIAL}|{checking.REHEARSAL})-[A-Za-z0-9_-]+"
RUN = CAMPAIGN + r"/run/{number:\d{1,9}}"


@dataclass(frozen=True)
class Options:
    """How the server is started.

    `port`: `None` for the usual one or the next that is free; `names`: what a proxy in front is called.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int | None = None
    ledger: str | None = None
    names: tuple[str, ...] = ()
    open_browser: bool = True

    @property
    def shared(self) -> bool:
        """Can others than this computer's user come in?"""
        return bool(self.names) or not is_this_machine(self.host)


def serve(options: Options, *, say: Callable[[str], None]) -> None:
    """The server as a process: until Ctrl-C or SIGTERM. Raises `BatchsendError`."""
    users = Users(users_file(options.root))
    if options.shared and not users.names():
        option = f"--host {options.host}" if not options.names else f"--name {options.names[0]}"
        raise SettingsError(
            f"{option}: others could reach this computer's campaigns there, so that people have to sign "
            f"in with a name and a password. Add them first: batchsend web-users add NAME"
        )
    asyncio.run(_run(options, users, say))


async def _run(options: Options, users: Users, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    async with _listening(options, users) as (auth, url):
        link: str | None = None
        with stopping_on_signals(stop):
            say(f"The pages for {options.root} are at {url}")
            if not options.shared:
                link = f"{url}/enter?token={auth.links.issue()}"
                say(f"This link lets you in, once: {link}")
            else:
                say(
                    "Others can reach this server: put a proxy with TLS (https) in front of it, or passwords and "
                    "customers' data travel readable to everybody on the way. docs/web.md says how."
                )
            say("Ctrl-C ends the pages. What is being sent goes on.")
            with _opened(link if options.open_browser else None):
                await stop.wait()


class _listening:  # noqa: N801 - used as a function is
    """The listening server, and its auth and address."""

    def __init__(self, options: Options, users: Users) -> None:
        self._options = options
        self._users = users
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> tuple[Auth, str]:
        options = self._options
        listening = _free_socket(options.host, options.port)
        port = listening.getsockname()[1]
        auth = Auth(self._users, _names(options), port, any_address=not is_this_machine(options.host))
        app = application(options, auth)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()
        return auth, f"http://{in_url(options.host)}:{port}"

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


def application(options: Options, auth: Auth) -> web.Application:
    """All pages, behind the auth."""
    app = web.Application(client_max_size=_LARGEST_FORM, middlewares=[_in_words, guard])
    app[AUTH] = auth
    app[campaigns.FOLDER] = folder = WebFolder(options.root, options.ledger, options.shared)
    app[campaigns.ACTIVE_RUNS] = active = ActiveRuns()
    app[login.CHECKING] = login.checking()
    app[login.BY_LINK] = not options.shared
    app[LIST_READER] = ListReader(folder.only_below)
    app[JOBS] = Jobs(folder.state, folder.only_below)
    app[SNAPSHOTS] = Snapshots(active)
    app[run_page.ENDING] = asyncio.Event()
    app[run_actions.TASKS] = set()
    app[editing.CHANGING] = asyncio.Lock()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    app.on_cleanup.append(_close)
    app.add_routes(
        [
            web.get("/health", _health),
            web.get("/static/{name}", _static),
            web.get("/login", login.ask),
            web.post("/login", login.sign_in),
            web.get("/enter", login.enter, allow_head=False),
            web.post("/logout", login.leave),
            web.post("/link", login.another_browser),
            web.get("/", campaigns.show),
            web.post("/campaigns", campaigns.make),
            web.get(CAMPAIGN, campaign_page.show),
            web.post(f"{CAMPAIGN}/list", editing.new_list),
            web.post(f"{CAMPAIGN}/columns", editing.columns),
            web.post(f"{CAMPAIGN}/sender", editing.sender),
            web.post(f"{CAMPAIGN}/text", editing.template),
            web.post(f"{CAMPAIGN}/text/try", editing.try_text),
            web.post(f"{CAMPAIGN}/file", editing.campaign_file),
            web.post(f"{CAMPAIGN}/file/try", editing.try_file),
            web.post(f"{CAMPAIGN}/check", checking.begin),
            web.get(CHECK, checking.show),
            web.get(f"{CHECK}/look", checking.look),
            web.post(f"{CHECK}/send", checking.send),
            web.post(f"{CHECK}/trial", checking.trial),
            web.post(f"{CHECK}/rehearse", checking.rehearse),
            web.get(f"{CHECK}/{checking.SENT}", checking.sent),
            web.get(f"{CHECK}/{{what:{TESTS}}}", checking.tested),
            web.get(f"{CHECK}/{{what:{checking.SENT}|{TESTS}}}/look", checking.look),
            web.get(RUN, run_page.show),
            web.get(f"{RUN}/events", run_page.events),
            web.post(f"{RUN}/pause", run_actions.pause),
            web.post(f"{RUN}/stop", run_actions.stop),
            web.get(f"{RUN}/workbook", run_actions.workbook),
            web.get(f"{RUN}/report", run_actions.report),
            web.get("/history", history_page.show),
        ]
    )
    return app


async def _end_streams(app: web.Application) -> None:
    app[run_page.ENDING].set()


async def _close(app: web.Application) -> None:
    app[LIST_READER].close()


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in STATIC_FILES:
        raise NotFoundError("There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"} if request.query_string else {}
    return web.Response(body=static(name), content_type=STATIC_FILES[name], charset="utf-8", headers=headers)


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is said in a sentence, on a page of ours."""
    try:
        return await handler(request)
    except RequestRefusedError as error:
        return _turned_away(request, error)
    except NotFoundError as error:
        return _sorry(request, 404, str(error))
    except BatchsendError as error:
        return _sorry(request, 400, str(error))
    except web.HTTPNotFound:
        return _sorry(request, 404, "There is no such page. It may have had another address before.")
    except web.HTTPRequestEntityTooLarge:
        return _sorry(request, 413, "That is too much at once. Nothing was changed.")
    except (web.HTTPException, ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:
        if os.environ.get("BATCHSEND_DEBUG"):
            raise
        return _sorry(
            request,
            500,
            f"batchsend made a mistake of its own ({type(error).__name__}). What was sent until now is recorded, and "
            f"nobody is texted twice. Please report it, with what you did last.",
        )


def _sorry(request: web.Request, status: int, said: str) -> web.Response:
    return page(request, "error.html.j2", status=status, said=said)


def _turned_away(request: web.Request, error: RequestRefusedError) -> web.Response:
    # No session and no host that is ours: as little of a page as possible.
    if error.status == 421:
        return web.Response(status=421, text=f"{error}\n", headers=HEADERS)
    return _sorry(request, error.status, str(error))


def _names(options: Options) -> frozenset[str]:
    """By which names browsers may call this server."""
    names = {name.lower().rstrip(".") for name in options.names}
    if is_this_machine(options.host):
        return frozenset({*names, "127.0.0.1", "localhost", "::1", options.host.lower()})
    return frozenset({*names, options.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})


def _free_socket(host: str, port: int | None) -> socket.socket:
    """A listening socket. Raises `BatchsendError`."""
    ports = [port] if port is not None else [DEFAULT_PORT + number for number in range(_MORE_PORTS)]
    for number in ports:
        try:
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, number), family=family, backlog=128)
        except (OSError, OverflowError) as error:
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if in_use and number != ports[-1]:
                continue
            suspect = "perhaps `batchsend web` itself"
            raise BatchsendError(cannot_listen(host, number, error, suspect)) from error
    raise AssertionError("there is at least one port")


@contextmanager
def _opened(link: str | None) -> Iterator[None]:
    """Opens the browser at the link.

    By a file that its owner alone can read: what a browser is started with, others on this computer can see.
    """
    if link is None:
        yield
        return
    with TemporaryDirectory(prefix="batchsend-web-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / _OPENER
        file.write_text(
            f'<!doctype html><meta charset="utf-8"><title>batchsend</title>'
            f'<meta http-equiv="refresh" content="0; url={escape(link)}">'
            f'<p><a href="{escape(link)}">Open batchsend</a></p>',
            encoding="utf-8",
        )
        with suppress(webbrowser.Error):
            webbrowser.open(file.as_uri())
        yield
