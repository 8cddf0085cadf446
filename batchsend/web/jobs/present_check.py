"""The check of a campaign as it is now. It runs in the background whenever something has changed since the last one.

Its name is a digest of everything that a check depends on. So the same files are checked once, no matter how many
pages ask, and a result can never be taken for that of other files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, SettingsError
from batchsend.lists.newest import newest_match
from batchsend.settings import Settings, load_settings, require_credentials
from batchsend.utils.extensions import packages
from batchsend.web.folder import CampaignFile, NotFoundError, WebFolder
from batchsend.web.jobs.registry import JobRequest, Jobs, JobState
from batchsend.web.queries import history_version

#: A check whose process was killed is started again, this often.
_TRIES = 3
_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
_QUOTED = (re.compile(r'"([^"\n\0]{1,200})"'), re.compile(r"'([^'\n\0]{1,200})'"))
_LARGEST_TEXT = 1_000_000


def present_check(
    jobs: Jobs,
    folder: WebFolder,
    file: CampaignFile,
    campaign: Campaign,
    user: str,
    environment: Mapping[str, str],
) -> tuple[str, JobState]:
    """Returns the name and the state of the check of the campaign as it is now, and starts it if there is none.

    `campaign`: as read from `file`. Raises `BatchsendError` if the check cannot be started.
    """
    content = _dependencies(folder, campaign)
    for attempt in range(_TRIES):
        name = _digest([attempt, *content])
        try:
            state = jobs.state(name)
        except NotFoundError:
            jobs.delete_old()
            request = JobRequest(kind="check", campaign=str(file.path), ledger=folder.ledger, user=user)
            jobs.start_in_background(name, request, environment)
            return name, JobState()
        if not state.lost:
            break
    return name, state


def _dependencies(folder: WebFolder, campaign: Campaign) -> list[Any]:
    """Returns what a check depends on, as JSON values. Times do too, such as the age of a list: by the hour."""
    settings = load_settings(campaign.directory, Path.cwd(), os.environ)
    return [
        str(campaign.path),
        campaign.sha256,
        *map(_stamp, sorted(_files(campaign))),
        settings.base_url,
        _credentials_problem(settings),
        *history_version(folder, campaign),
        *packages(),
        f"{datetime.now(UTC):%Y-%m-%d %H}",
    ]


def _credentials_problem(settings: Settings) -> str:
    """Returns what a check says of the credentials, "" if they can be used. The credentials are not in it."""
    try:
        require_credentials(settings)
    except SettingsError as error:
        return error.on_page
    return ""


def _files(campaign: Campaign) -> Iterator[Path]:
    """Yields the files that a check reads, besides the campaign file."""
    if is_pattern(campaign.list):
        with suppress(BatchsendError):
            yield newest_match(campaign.list, campaign.allows_list)
    else:
        yield campaign.list
    yield from campaign.recipients.suppress
    seen: set[Path] = set()
    waiting = [*campaign.templates]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _named_in(file)
    yield from seen


def _named_in(template: Path) -> list[Path]:
    """Returns what a template names in quotes, as files of its folder: those that it includes are among them."""
    try:
        if template.stat().st_size > _LARGEST_TEXT:
            return []
        text = template.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    statements = "\n".join(_STATEMENT.findall(text))
    names = {Path(name) for quoted in _QUOTED for name in quoted.findall(statements)}
    return [template.parent / name for name in names if not name.is_absolute() and ".." not in name.parts]


def _stamp(file: Path) -> tuple[str, int, int] | str:
    """Returns a value that changes when the file is saved."""
    try:
        stat = file.stat()
    except OSError:
        return str(file)
    return str(file), stat.st_mtime_ns, stat.st_size


def _digest(value: Any) -> str:
    digest = hashlib.sha256(json.dumps(value).encode()).digest()[:18]
    return base64.urlsafe_b64encode(digest).decode()
