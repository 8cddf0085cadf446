"""The page that shows two versions side by side, if a file was changed while its form was open."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from aiohttp import web

from batchsend.web.auth.middleware import local_path, session
from batchsend.web.differences import parts_of
from batchsend.web.rendering import page
from batchsend.web.views.opening import open_campaign


async def show(request: web.Request) -> web.Response:
    """Asks which version is kept. Without a conflict, leads to the page that the form is on."""
    found = await asyncio.to_thread(open_campaign, request)
    shown = request.query.get("page", "")
    draft = session(request).drafts.get(shown)
    if draft is None or draft.conflict is None:
        raise web.HTTPSeeOther(local_path(quote(shown, safe="/") or found.file.url))
    texts = [one for one in draft.conflict.differences if not one.name]
    return page(
        request,
        "conflict.html.j2",
        file=found.file,
        name=found.campaign.name if found.campaign else found.file.stem,
        shown=shown,
        conflict=draft.conflict,
        what=next(iter(draft.errors.values()), ""),
        settings=[one for one in draft.conflict.differences if one.name],
        parts=[part for one in texts for part in parts_of(one.mine, one.theirs)],
    )
