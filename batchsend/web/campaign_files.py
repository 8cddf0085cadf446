"""Duplicates, renames and archives campaign files, and brings them back from the archive. All of it blocks.

An archived campaign is a file in the folder `archive` next to the others. Neither the console's list nor a scheduler
reads that folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any

from sqlalchemy import select

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.sample import file_stem
from batchsend.errors import BatchsendError, BusyError
from batchsend.ledger import planned_starts
from batchsend.ledger.approvals import follow_rename
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.planned_starts import Scheduled
from batchsend.ledger.schema import campaigns
from batchsend.reports.output_files import inputs_of
from batchsend.runs.api import prepare
from batchsend.runs.handover import left_to_workers
from batchsend.sending.locks import campaign_lock, scheduling_lock
from batchsend.utils.files import remove, write_new
from batchsend.utils.timestamps import now
from batchsend.web.folder import ARCHIVE, ArchivedFile, CampaignFile, WebFolder, relative
from batchsend.web.toml_edit import READ_AS_USUAL, Changes, edited
from batchsend.web.uploads import TEXT_ENDINGS, replace_content

#: Copies of a text with the same name in one folder.
_MOST_COPIES = 1000


def duplicate(folder: WebFolder, file: CampaignFile, name: str, *, same_list: bool) -> CampaignFile:
    """Copies a campaign with its comments and its texts, without its schedule and its history.

    Without `same_list`, the copy names a list that does not exist yet. Raises `BatchsendError`; then nothing is left.
    """
    campaign, content = _read(file)
    stem = file_stem(name)
    refuse_used(folder, stem, except_=None)
    copy = CampaignFile(file.path.with_name(f"{stem}.toml"), file.folder)
    made: list[Path] = []
    try:
        changes: Changes = {("name",): stem, ("formerly",): None, ("schedule",): None}
        changes = {**changes, **_copy_texts(folder, campaign, file, stem, made)}
        if not same_list:
            folder.refuse_list_of_others(file.path.with_name(f"{stem}.csv"), file)
            free = next(name for name in _numbered(f"{stem}.csv") if not lexists(file.path.with_name(name)))
            changes = {**changes, **READ_AS_USUAL, ("list",): free}
        changed = edited(content, changes)
        folder.check(parse_campaign(copy.path, changed))
        _create(copy.path, changed)
    except BatchsendError:
        for path in made:
            with suppress(OSError):
                remove(path)
        raise
    return copy


def shared_files(one: Campaign, other: Campaign) -> list[Path]:
    """Returns the files that both campaigns read."""
    return [path for path in dict.fromkeys(inputs_of(one)) if path in inputs_of(other)]


def rename(folder: WebFolder, file: CampaignFile, new: str) -> None:
    """Gives a campaign another name and keeps its history. Raises `BatchsendError`; then nothing was changed."""
    campaign = file.load()
    refuse_used(folder, new, except_=file)
    with _at_rest(folder, campaign) as ledger:
        # Only now can no start have changed what the ledger knows.
        campaign, content = _read(file)
        known = _names(ledger) if ledger is not None else {}
        changed = edited(content, renamed(campaign.name, campaign.formerly, new, known))
        folder.check(parse_campaign(file.path, changed))
        with ledger.write() if ledger is not None else nullcontext() as connection:
            if connection is not None:
                follow_rename(connection, campaign.name, new)
            replace_content(file.path, changed)


def renamed(name: str, formerly: str | None, new: str, known: Mapping[str, Collection[str]]) -> Changes:
    """Returns the changes to a campaign file that give it the name `new` and keep its history.

    `known`: API -> the names of the campaigns that were sent to it. Raises `BatchsendError` if the file can name no
    history that has everyone whom this campaign texted, and only them.
    """
    former = [name, *([formerly] if formerly is not None else [])]
    own = [[one for one in former if one in names] for names in known.values()]
    histories = {names[0] for names in own if names}
    if len(histories) > 1:
        raise BatchsendError(
            f"This campaign was sent under the names {' and '.join(sorted(histories))}, to different addresses of "
            f"myKaarma, and a campaign can have only one former name. Keep the name, or duplicate the campaign."
        )
    history = histories.pop() if histories else formerly
    if new != history and any(new in names for names in known.values()):
        raise BatchsendError(
            f"Another campaign was sent under the name {new}. Its customers would count as customers of this "
            f"campaign. Choose another name."
        )
    return {("name",): new, ("formerly",): history if history != new else None}


def archive(folder: WebFolder, file: CampaignFile) -> None:
    """Moves a campaign out of the way, so that no one sends it by mistake. Raises `BatchsendError`."""
    campaign = file.load()
    target = file.path.parent / ARCHIVE / file.path.name
    with _at_rest(folder, campaign):
        _move(file.path, target, f"The archive has a campaign with the file {file.path.name} already")


def bring_back(folder: WebFolder, file: ArchivedFile) -> CampaignFile:
    """Moves a campaign back. Its schedule begins anew: what it missed is not made up for. Raises `BatchsendError`."""
    campaign = file.load()
    folder.check(campaign)
    refuse_used(folder, campaign.name, except_=file)
    with _at_rest(folder, campaign) as ledger:
        if ledger is not None:
            _begin_schedule_anew(ledger, Scheduled(campaign.name, prepare(campaign).settings.base_url))
        _move(file.path, file.home, f"There is another campaign with the file {file.path.name}")
    return CampaignFile(file.home, file.folder)


def _begin_schedule_anew(ledger: Ledger, who: Scheduled) -> None:
    last = planned_starts.last_made(ledger, who)
    if last is not None and last.unfinished:
        planned_starts.give_up(ledger, who, last, now())
    planned_starts.begin_anew(ledger, who)


def _read(file: CampaignFile) -> tuple[Campaign, bytes]:
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise BatchsendError(
            f"{file.path.name} cannot be read ({error.strerror}). Nothing was changed."
        ) from error
    return parse_campaign(file.path, content), content


@contextmanager
def _at_rest(folder: WebFolder, campaign: Campaign) -> Iterator[Ledger | None]:
    """Keeps the campaign from being started; yields its ledger, if there is one. Raises `BusyError` if it is sent."""
    start = prepare(campaign, ledger=folder.ledger)
    present = open_for_reading(start.ledger_url)
    if present is None:
        yield None
        return
    present.close()
    names = dict.fromkeys((campaign.name, campaign.formerly or campaign.name))
    with ExitStack() as held:
        ledger = held.enter_context(closing(open_ledger(start.ledger_url)))
        try:
            for name in names:
                held.enter_context(scheduling_lock(ledger, name, start.settings.base_url))
                held.enter_context(campaign_lock(ledger, name, start.settings.base_url))
        except BusyError as error:
            raise BatchsendError(
                "This campaign is being sent now, so nothing was changed. Let it finish, or pause it on the page of "
                "its run, then try again."
            ) from error
        # A worker that begins later would send them all the same, and would not find the campaign's file.
        left = [run for name in names for run in left_to_workers(ledger, name, start.settings.base_url)]
        if left:
            raise BatchsendError(
                f"Texts of run {left[0]} of this campaign wait for workers, so nothing was changed. Let the run "
                f"finish, or pause it on its page, then try again."
            )
        yield ledger


def _names(ledger: Ledger) -> dict[str, set[str]]:
    """Returns API -> the names of the campaigns that were sent to it."""
    found: dict[str, set[str]] = {}
    with ledger.read() as connection:
        for name, base_url in connection.execute(select(campaigns.c.name, campaigns.c.base_url)):
            found.setdefault(base_url, set()).add(name)
    return found


def refuse_used(folder: WebFolder, name: str, except_: CampaignFile | None) -> None:
    """Refuses a name that another campaign of the folder has or had. Campaigns with one name share their history."""
    for file in (*folder.campaigns(), *folder.archived()):
        if except_ is not None and file.path == except_.path:
            continue
        try:
            other = file.load()
        except BatchsendError:
            continue
        if name.casefold() in {one.casefold() for one in (other.name, other.formerly) if one is not None}:
            where = " in the archive" if isinstance(file, ArchivedFile) else ""
            had = "has" if other.name.casefold() == name.casefold() else "had"
            raise BatchsendError(f"Another campaign{where} {had} the name {name}. Choose another name.")


def _copy_texts(
    folder: WebFolder, campaign: Campaign, file: CampaignFile, stem: str, made: list[Path]
) -> Changes:
    """Copies the campaign's texts next to them; returns the changes that name the copies. `made`: gets their paths.

    A text outside the server's folder is not copied: the copy uses the same one.
    """
    copies: dict[Path, Path] = {}
    for path in campaign.templates:
        whole = path.resolve()
        if whole.is_relative_to(folder.root.resolve()) and path.suffix.lower() in TEXT_ENDINGS:
            copies[path] = copy_text(folder, file, path, f"{stem}.{path.name.partition('.')[2]}")
            made.append(copies[path])
    named = {path: relative(copies.get(path, path), file) for path in campaign.templates}
    by = campaign.template_by
    changes: dict[tuple[str, ...], Any] = {}
    if by is None:
        changes["template",] = named[campaign.templates[0]]
        return changes
    cases: dict[str, Any] = campaign.as_written["template_by"]["cases"]
    changes["template_by", "default"] = named[by.default]
    changes |= {("template_by", "cases", name): None for name in cases}
    changes |= {
        ("template_by", "cases", named[path]): cases[name] for name, path in zip(cases, by.cases, strict=True)
    }
    return changes


def copy_text(folder: WebFolder, file: CampaignFile, text: Path, name: str) -> Path:
    """Copies a text of the campaign `file` to a new file next to it; returns its path. Raises `BatchsendError`.

    If a file is called `name` already, the copy's name has a number.
    """
    try:
        folder.refuse_list_of_others(text.with_name(name), file)
        return write_new(text.parent, _numbered(name), partial(shutil.copy, text))
    except OSError as error:
        raise BatchsendError(
            f"A copy of the text {text.name} cannot be saved next to it ({error.strerror or error}). Nothing was "
            f"changed."
        ) from error


def _numbered(name: str) -> Iterator[str]:
    """Yields the name, then the name with numbers."""
    stem, dot, ending = name.partition(".")
    yield name
    yield from (f"{stem} ({number}){dot}{ending}" for number in range(2, _MOST_COPIES))


def _create(path: Path, content: bytes) -> None:
    try:
        write_new(path.parent, [path.name], lambda file: file.write_bytes(content))
    except FileExistsError as error:
        raise BatchsendError(
            f"{path.name} exists already. Nothing is overwritten. Choose another name."
        ) from error
    except OSError as error:
        raise BatchsendError(
            f"{path.name} cannot be written ({error.strerror}). Choose another name."
        ) from error


def _move(path: Path, target: Path, problem: str) -> None:
    if lexists(target):
        raise BatchsendError(
            f"{problem}, and nothing is overwritten. Ask the person who looks after this computer to rename one of "
            f"the two files."
        )
    try:
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    except OSError as error:
        raise BatchsendError(
            f"{path.name} cannot be moved ({error.strerror}), so nothing was changed. Close it in other programs."
        ) from error
