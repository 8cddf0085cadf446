"""Changes campaign files, for the forms of the steps. Everything that a form does not know is kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse, parse_campaign
from batchsend.errors import BatchsendError
from batchsend.utils.wording import capitalized
from batchsend.web.auth.middleware import session
from batchsend.web.differences import of_keys, value_at
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.toml_edit import Changes, edited
from batchsend.web.uploads import ChangedMeanwhileError, fingerprint, replace_content
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.opening import open_file
from batchsend.web.views.step_page import SHOWN, Conflicting

#: Held while a file is changed, so that two requests do not overwrite each other's changes.
CHANGING = web.AppKey("changing", asyncio.Lock)
#: Between the version that a form showed, and the later one over which the person decided to save it.
_DECIDED = ":"
_ALSO_CHANGED = "Other settings of this campaign were changed meanwhile, too. These changes are kept."


async def change_keys(
    request: web.Request,
    file: CampaignFile,
    wanted: Callable[[Campaign], Changes],
    form: Mapping[str, Any],
    proposed: Collection[tuple[str, ...]] = (),
) -> None:
    """Changes keys of the campaign file for a form, which names the version of the file that it showed.

    `wanted`: the campaign of that version -> what the person changed in it; `proposed`: keys whose value the form
    proposed and the person left alone. What others changed meanwhile is kept. Raises `ChangedMeanwhileError` if they
    changed the same keys, or `BatchsendError`; then the file is unchanged.
    """
    shown, _, decided = str(form.get(SHOWN, "")).partition(_DECIDED)
    async with request.app[CHANGING]:
        content = (await asyncio.to_thread(open_file, file)).content
        now = fingerprint(content)
        session(request).remember(now, content)
        base = session(request).versions.get(shown)
        changes = await asyncio.to_thread(lambda: wanted(parse_campaign(file.path, base or content)))
        if base is None:
            raise ChangedMeanwhileError(file.path.name, now, of_keys(changes, parse(content)))
        theirs, before = parse(content), parse(base)
        changes = {
            key: value
            for key, value in changes.items()
            if key not in proposed or value_at(theirs, key) == value_at(before, key)
        }
        both = of_keys(changes, theirs, before)
        if both and decided != now:
            raise ChangedMeanwhileError(file.path.name, f"{shown}{_DECIDED}{now}", both)
        await asyncio.to_thread(change, request.app[FOLDER], file, content, changes)
    if shown != now:
        session(request).notify(_ALSO_CHANGED)


def only_changed(changes: Changes, campaign: Campaign) -> Changes:
    """Returns the changes without those to the value that the campaign has."""
    return {key: value for key, value in changes.items() if value != value_at(campaign.as_written, key)}


def change(folder: WebFolder, file: CampaignFile, content: bytes, changes: Changes) -> None:
    """Changes keys of a campaign file.

    Raises `BatchsendError` if the file could not be used after that, or named files that may not be shown.
    """
    changed = edited(content, changes)
    if changed == content:
        return
    folder.check(parse_campaign(file.path, changed))
    replace_content(file.path, changed)


def kept(form: Mapping[str, Any], error: BatchsendError, field: str = SHOWN) -> Mapping[str, Any]:
    """Returns what the page keeps of a form that was not saved. `field`: has the fingerprint of the file shown."""
    if not isinstance(error, ChangedMeanwhileError):
        return form
    again = Conflicting(form)
    again[field] = error.present
    again.differences = error.differences
    return again


def errors_of(error: BatchsendError, fields: Iterable[str]) -> dict[str, str]:
    """Returns the problems of an error by the field that each one names; "" for problems that name none.

    A field is named by its key, such as `sending.rate`, or by the last part of it.
    """
    if isinstance(error, ChangedMeanwhileError):
        return {"": error.on_page}
    found: dict[str, list[str]] = {}
    names = list(fields)
    for sentence in error.page_problems:
        key, problem = _split_problem(sentence)
        mine = [name for name in names if key and re.match(rf"{re.escape(name)}([.\[]|$)", key)]
        field = max(mine, key=len, default="")
        if not field:
            field = next((name for name in names if name.rpartition(".")[2] in sentence), "")
            problem = sentence
        found.setdefault(field, []).append(problem)
    return {field: "\n".join(sentences) for field, sentences in found.items()}


def _split_problem(sentence: str) -> tuple[str, str]:
    """Returns the key that a problem begins with, and the problem as a sentence next to its field."""
    match = re.fullmatch(r"`(?P<key>[^`]+)`: (?P<problem>.+)", sentence, re.DOTALL)
    if match is None:
        return "", sentence
    problem = match["problem"].replace("expected ", "This must be ", 1)
    return match["key"], f"{capitalized(problem)}."
