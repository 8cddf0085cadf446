"""Turns every error into a page that says what to do, and leads addresses without a page to one."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import HEADERS, Handler, session
from batchsend.web.connections import RequestRefusedError
from batchsend.web.folder import NotFoundError
from batchsend.web.rendering import page


@web.middleware
async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Shows every error as a sentence on a page."""
    try:
        return await handler(request)
    except RequestRefusedError as error:
        return _refused(request, error)
    except NotFoundError as error:
        return _refused_page(request, 404, error.on_page)
    except BatchsendError as error:
        return _refused_page(request, 400, error.on_page)
    except web.HTTPNotFound:
        return _error_page(
            request, 404, "There is no such page. It may have a new address: go back to the campaigns."
        )
    except web.HTTPRequestEntityTooLarge:
        return _error_page(
            request, 413, "That is too large, and nothing was changed. Shorten the text and try again."
        )
    except web.HTTPMethodNotAllowed as error:
        if request.method != "GET":
            raise
        raise web.HTTPSeeOther(await _page_above(request)) from error
    except (web.HTTPException, ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:
        if os.environ.get("BATCHSEND_DEBUG"):
            raise
        return _error_page(
            request,
            500,
            f"There is an error in batchsend ({type(error).__name__}). The texts sent so far are recorded, and no "
            f"one is texted twice. Please report it, and say what you did last.",
        )


def _refused_page(request: web.Request, status: int, message: str) -> web.Response:
    """Shows an error. After a form, it does so on the form's page, which the browser can load again."""
    is_form = request.method == "POST" and "HX-Request" not in request.headers
    if not is_form or "session" not in request:
        return _error_page(request, status, message)
    session(request).warn(message)
    raise web.HTTPSeeOther(request.rel_url.raw_path)


async def _page_above(request: web.Request) -> str:
    """Returns the nearest address above the one of a form that has no page of its own."""
    parts = request.rel_url.raw_path.split("/")
    for end in range(len(parts) - 1, 1, -1):
        path = "/".join(parts[:end])
        found = await request.app.router.resolve(request.clone(rel_url=path))
        if found.http_exception is None:
            return path
    return "/"


def _error_page(request: web.Request, status: int, message: str) -> web.Response:
    current = request.get("session")
    if current is not None:
        current.notices = [notice for notice in current.notices if notice[1] != message]
    return page(request, "error.html.j2", status=status, message=message)


def _refused(request: web.Request, error: RequestRefusedError) -> web.Response:
    # The host is unknown, so the answer shows as little as possible.
    if error.status == 421:
        return web.Response(status=421, text=f"{error}\n", headers=HEADERS)
    return _error_page(request, error.status, str(error))
