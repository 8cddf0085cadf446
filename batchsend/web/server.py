"""The server: the address it listens on, and the address of each page."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import webbrowser
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from batchsend.errors import BatchsendError, SettingsError
from batchsend.runs.status_server import ServiceStatus, StatusAddress, serving_loop_status
from batchsend.utils.net import cannot_listen, in_url, is_this_machine
from batchsend.utils.signals import stopping_on_signals
from batchsend.web.auth.middleware import (
    AUTH,
    Auth,
    add_headers,
    guard,
)
from batchsend.web.auth.proxy import Proxy
from batchsend.web.auth.users import Users
from batchsend.web.connections import Connection, Limits
from batchsend.web.error_pages import show_errors
from batchsend.web.folder import NotFoundError, WebFolder, users_file
from batchsend.web.jobs.process import run_check
from batchsend.web.jobs.reader_pool import READERS, Readers
from batchsend.web.jobs.registry import JOBS, Jobs
from batchsend.web.live_runs import SNAPSHOTS, Snapshots
from batchsend.web.queries import ActiveRuns, ledgers_of
from batchsend.web.rendering import STATIC_FILES, static
from batchsend.web.scheduler import SCHEDULER, Scheduler, tending
from batchsend.web.steps import STEPS
from batchsend.web.uploads import UNUSED
from batchsend.web.views import (
    approval,
    campaign_file,
    campaigns,
    conflict,
    dismissals,
    editing,
    list_lookup,
    list_upload,
    login,
    manage,
    opt_outs,
    question,
    replies,
    run_actions,
    sender_step,
    settling,
    step_page,
    trial,
)
from batchsend.web.views import campaign as campaign_page
from batchsend.web.views import check as checking
from batchsend.web.views import history as history_page
from batchsend.web.views import run as run_page
from batchsend.web.views.all_steps import ALL_STEPS

#: The sandbox and the update receiver have the next two ports.
DEFAULT_PORT = 8397
#: More ports to try if no port was given.
_MORE_PORTS = 20
#: Seconds that requests under way get when the server stops.
_CLOSING = 2.0
_THREADS = 32
#: The largest form without a file, in bytes.
_LARGEST_FORM = 4_000_000
#: The file that sends the browser to the link.
_OPENER = "open.html"
#: The addresses of a campaign, an archived one, a check, its tests, a request for approval, and a run.
CAMPAIGN = "/campaign/{folder:here|campaigns}/{stem}"
ARCHIVED = manage.ARCHIVE + "/{folder:here|campaigns}/{stem}"
CHECK = CAMPAIGN + "/check/{check}"
TESTS = f"(?:{trial.TRIAL}|{trial.REHEARSAL})-[A-Za-z0-9_-]+"
APPROVAL = CAMPAIGN + r"/approval/{approval:\d{1,9}}"
RUN = CAMPAIGN + r"/run/{number:\d{1,9}}"


@dataclass(frozen=True)
class Options:
    """How the server is started.

    `port`: `None` for the default or the next free one. `names`: the host names of a proxy in front. `proxy`: that
    proxy, if its headers are trusted. `stop_campaigns`: when the server stops, also those that it has started.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int | None = None
    ledger: str | None = None
    names: tuple[str, ...] = ()
    open_browser: bool = True
    proxy: Proxy | None = None
    stop_campaigns: bool = False

    @property
    def shared(self) -> bool:
        """Can people reach the server from other computers?"""
        return bool(self.names) or self.proxy is not None or not is_this_machine(self.host)


def serve(options: Options, status: StatusAddress | None = None, *, say: Callable[[str], None]) -> None:
    """Runs the server until Ctrl-C or SIGTERM. `say`: prints a line. Raises `BatchsendError`."""
    if options.stop_campaigns and os.name == "nt":
        raise SettingsError(
            "--stop-campaigns is for containers, and Windows cannot ask another process to stop in order. Start the "
            "console without it, and stop each campaign on its page."
        )
    users = Users(users_file(options.root))
    by_proxy = options.proxy is not None and options.proxy.user_header is not None
    if options.shared and not by_proxy and not users.names():
        option = f"--name {options.names[0]}" if options.names else f"--host {options.host}"
        raise SettingsError(
            f"{option}: other people could reach this computer's campaigns, so they must sign in with a name and a "
            f"password. Add them first: batchsend web-users add NAME"
        )
    asyncio.run(_run(options, users, status, say))


async def _run(
    options: Options, users: Users, status: StatusAddress | None, say: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    own = ServiceStatus("web", lambda: ledgers_of(WebFolder(options.root, options.ledger)))
    async with serving_loop_status(status, own), _listening(options, users) as (auth, url):
        link: str | None = None
        with stopping_on_signals(stop):
            say(f"The web console for {options.root} is at {url}")
            if not options.shared:
                link = f"{url}/enter?token={auth.links.issue()}"
                say(f"This link signs you in, once: {link}")
            else:
                say(_others(options))
            others = "stop, too" if options.stop_campaigns else "continue"
            say(f"Ctrl-C stops the web console. Campaigns that are being sent {others}.")
            with _opened(link if options.open_browser else None):
                await stop.wait()


def _others(options: Options) -> str:
    """What to say about a server that other people can reach."""
    if options.names or options.proxy is not None:
        addresses = " or ".join(f"https://{name}" for name in options.names)
        return f"Other people can reach this server through its proxy{addresses and f', at {addresses}'}."
    return (
        "Other people can reach this server. Put a proxy with TLS (https) in front of it, or others on the network "
        "can read passwords and customers' data. docs/web.md shows how."
    )


@asynccontextmanager
async def _listening(options: Options, users: Users) -> AsyncIterator[tuple[Auth, str]]:
    """Runs the listening server; yields its `Auth` and its address."""
    listening = _free_socket(options.host, options.port)
    port = listening.getsockname()[1]
    auth = Auth(
        users,
        _names(options),
        port,
        named=frozenset(name.lower().rstrip(".") for name in options.names),
        any_address=not is_this_machine(options.host),
        proxy=options.proxy,
        is_hidden=bool(options.names),
    )
    async with answering(application(options, auth), listening, Limits()):
        yield auth, f"http://{in_url(options.host)}:{port}"


@asynccontextmanager
async def answering(app: web.Application, listening: socket.socket, limits: Limits) -> AsyncIterator[None]:
    """Answers the requests to a listening socket."""
    runner = web.AppRunner(app, shutdown_timeout=_CLOSING)
    await runner.setup()
    server = runner.server
    if server is None:
        raise RuntimeError("a runner that was set up has a server")
    listener = await asyncio.get_running_loop().create_server(
        lambda: Connection(server, limits), sock=listening
    )
    try:
        yield
    finally:
        listener.close()
        await runner.cleanup()


def application(options: Options, auth: Auth) -> web.Application:
    """Makes the application with all pages."""
    app = web.Application(client_max_size=_LARGEST_FORM, middlewares=[show_errors, guard])
    app[AUTH] = auth
    app[campaigns.FOLDER] = folder = WebFolder(options.root, options.ledger, options.shared)
    app[campaigns.ACTIVE_RUNS] = active = ActiveRuns()
    app[login.LINES] = login.lines()
    app[login.BY_LINK] = not options.shared
    app[READERS] = readers = Readers(folder.only_below)
    app[JOBS] = Jobs(folder.state, readers, run_check, folder.only_below)
    app[SNAPSHOTS] = Snapshots(active)
    app[run_page.ENDING] = asyncio.Event()
    app[run_actions.TASKS] = {}
    app[editing.CHANGING] = asyncio.Lock()
    app[sender_step.TESTING] = asyncio.Lock()
    app[UNUSED] = set()
    app[list_upload.UPLOADS] = {}
    app[list_lookup.LOOKUPS] = {}
    app[list_upload.RECEIVING] = Counter()
    app[STEPS] = ALL_STEPS
    app[SCHEDULER] = Scheduler(folder)
    app.cleanup_ctx.append(tending)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    if options.stop_campaigns:
        app.on_shutdown.append(_stop_campaigns)
    app.on_startup.append(_warm_up)
    app.on_cleanup.append(_close)
    app.add_routes(routes())
    return app


def routes() -> list[web.RouteDef]:
    """Returns the address of each page and form, with its handler."""
    return [
        web.get("/health", _health),
        web.get("/static/{name}", _static),
        web.get("/login", login.show),
        web.post("/login", login.sign_in),
        web.get("/enter", login.enter, allow_head=False),
        web.post("/logout", login.sign_out),
        web.get("/link", login.show_link),
        web.post("/link", login.another_browser),
        web.get("/", campaigns.show),
        web.post("/campaigns", campaigns.create),
        web.get(CAMPAIGN, campaign_page.show),
        web.get(f"{CAMPAIGN}/states", step_page.states),
        *(
            web.route(part.method, f"{CAMPAIGN}/{step.name}{part.below}", part.handler)
            for step in ALL_STEPS
            for part in step.pages
        ),
        web.get(f"{CAMPAIGN}/{step_page.CONFLICT}", conflict.show),
        web.get(f"{CAMPAIGN}/duplicate", manage.show_duplicate),
        web.post(f"{CAMPAIGN}/duplicate", manage.make_duplicate),
        web.get(f"{CAMPAIGN}/rename", manage.show_rename),
        web.post(f"{CAMPAIGN}/rename", manage.save_name),
        web.get(f"{CAMPAIGN}/archive", manage.show_archiving),
        web.post(f"{CAMPAIGN}/archive", manage.put_away),
        web.get(manage.ARCHIVE, manage.show_archive),
        web.get(ARCHIVED, manage.show_return),
        web.post(ARCHIVED, manage.put_back),
        web.get(f"{CAMPAIGN}/file", campaign_file.show),
        web.post(f"{CAMPAIGN}/file", campaign_file.save_file),
        web.post(f"{CAMPAIGN}/file/try", campaign_file.try_file),
        web.get(CHECK, checking.show),
        web.get(f"{CHECK}/progress", checking.progress),
        web.post(f"{CHECK}/cancel", checking.cancel),
        web.get(f"{CHECK}/workbook", checking.workbook),
        web.get(f"{CHECK}/problems", checking.problem_rows),
        web.get(f"{CHECK}/list", checking.list_as_read),
        web.get(f"{CHECK}/send", question.show),
        web.post(f"{CHECK}/send", question.send),
        web.get(f"{CHECK}/trial", trial.show),
        web.post(f"{CHECK}/trial", trial.send),
        web.post(f"{CHECK}/rehearse", trial.rehearse),
        web.post(f"{CHECK}/approval", approval.ask),
        web.get(f"{CHECK}/{checking.SENT}", checking.sent),
        web.get(f"{CHECK}/{{what:{TESTS}}}", trial.tested),
        web.get(f"{CHECK}/{{what:{checking.SENT}|{TESTS}}}/progress", checking.progress),
        web.get(APPROVAL, approval.show),
        web.get(f"{APPROVAL}/progress", approval.progress),
        web.post(f"{APPROVAL}/approve", approval.approve),
        web.post(f"{APPROVAL}/refuse", approval.refuse),
        web.get(RUN, run_page.show),
        web.get(f"{RUN}/events", run_page.events),
        web.get(f"{RUN}/dismiss", dismissals.ask),
        web.post(f"{RUN}/dismiss", dismissals.dismiss_rows),
        web.post(f"{RUN}/restore", dismissals.restore_rows),
        web.post(f"{RUN}/{settling.SETTLE}", settling.begin),
        web.get(f"{RUN}/{settling.SETTLE}/{{job:{settling.NAME}}}", settling.show),
        web.get(f"{RUN}/{settling.SETTLE}/{{job:{settling.NAME}}}/progress", settling.progress),
        web.post(f"{RUN}/pause", run_actions.pause),
        web.post(f"{RUN}/stop", run_actions.stop),
        web.get(f"{RUN}/workbook", run_actions.workbook),
        web.get(f"{RUN}/report", run_actions.report),
        web.get(f"{RUN}/list", run_actions.list_copy),
        web.get(f"{RUN}/list/offer", run_actions.offer_list_copy),
        web.get("/history", history_page.show),
        web.get(replies.PATH, replies.show),
        web.post(replies.PATH, replies.save),
        web.post(replies.LOOK, replies.look),
        web.get(f"{replies.LOOK}/{{job:{settling.NAME}}}", replies.looked),
        web.get(f"{replies.LOOK}/{{job:{settling.NAME}}}/progress", replies.look_progress),
        web.get(opt_outs.PATH, opt_outs.show),
        web.get(f"{opt_outs.PATH}/add", opt_outs.show_form),
        web.post(f"{opt_outs.PATH}/add", opt_outs.add),
        web.get(f"{opt_outs.PATH}/remove", opt_outs.show_removal),
        web.post(f"{opt_outs.PATH}/remove", opt_outs.remove),
        web.get(f"{opt_outs.PATH}/import", opt_outs.show_import),
        web.post(f"{opt_outs.PATH}/import", opt_outs.import_file),
        web.get(f"{opt_outs.PATH}/download", opt_outs.export),
    ]


async def _end_streams(app: web.Application) -> None:
    app[run_page.ENDING].set()


async def _warm_up(app: web.Application) -> None:
    # Pages read files and ledgers in threads. One that waits for a locked ledger must not hold up the others.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    app[READERS].warm_up()


async def _stop_campaigns(app: web.Application) -> None:
    await app[JOBS].interrupt()


async def _close(app: web.Application) -> None:
    await app[READERS].close()


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in STATIC_FILES:
        raise NotFoundError("There is no such file. Go back to the campaigns.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"} if request.query_string else {}
    return web.Response(body=static(name), content_type=STATIC_FILES[name], charset="utf-8", headers=headers)


def _names(options: Options) -> frozenset[str]:
    """Returns the names by which browsers may call this server, beside those that it was given."""
    if is_this_machine(options.host):
        return frozenset({"127.0.0.1", "localhost", "::1", options.host.lower()})
    return frozenset({options.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})


def _free_socket(host: str, port: int | None) -> socket.socket:
    """Returns a listening socket. Raises `BatchsendError`."""
    ports = [port] if port is not None else [DEFAULT_PORT + number for number in range(_MORE_PORTS)]
    for number in ports:
        try:
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, number), family=family, backlog=128)
        except (OSError, OverflowError) as error:
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if in_use and number != ports[-1]:
                continue
            suspect = "perhaps another `batchsend web`"
            raise BatchsendError(cannot_listen(host, number, error, suspect)) from error
    raise AssertionError("there is at least one port")


@contextmanager
def _opened(link: str | None) -> Iterator[None]:
    """Opens the link in the browser.

    Other users of this computer can see a browser's command line. So the browser gets a file that only its owner can
    read, and the file leads to the link.
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
