"""Opens and checks the files of a plan together: list, template and suppression files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import (
    BatchsendError,
    ColumnsError,
    CombinedError,
    ExtensionError,
    ListError,
    Sentence,
    SettingsError,
)
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list
from batchsend.lists.source import LIST_ENDINGS, QUERY_ENDING, is_made_anew
from batchsend.messages.condition import Condition
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles, find_columns
from batchsend.planning.lookup_columns import CustomerLookup
from batchsend.planning.suppression import Suppression, load_suppression
from batchsend.planning.text_lint import package_rules_of
from batchsend.settings import LIST_DATABASE, load_settings
from batchsend.utils.extensions import Extension, Point, find
from batchsend.utils.files import current_folder

T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """The files of a plan, opened and checked."""

    customers: CustomerList
    roles: Roles
    template: TemplateChoice
    suppression: Suppression
    where: Condition | None = None
    lookup: CustomerLookup | None = None

    @property
    def used(self) -> frozenset[int]:
        """Positions of the columns that the campaign or its templates use."""
        where = self.where.uses if self.where is not None else frozenset()
        return self.roles.used | self.template.uses | where


def read_sources(campaign: Campaign) -> Sources:
    """Opens list, template and suppression files. Raises all their problems in one `BatchsendError`."""
    problems = _Problems()
    problems.attempt(lambda: package_rules_of(campaign))
    customers = problems.attempt(lambda: open_campaign_list(campaign, campaign.list))
    recipients = campaign.recipients
    suppression = problems.attempt(lambda: load_suppression(recipients.suppress, recipients.default_region))
    headers = customers.headers if customers is not None else problems.headers()
    if headers is not None:
        # A list without its headers is the reason for problems with the template, so it comes first.
        roles = problems.attempt(lambda: find_columns(campaign, headers))
        template = problems.attempt(lambda: TemplateChoice.load(campaign, headers))
        where = problems.attempt(lambda: _condition(campaign, headers))
        if customers is not None and template is not None and roles is not None and suppression is not None:
            problems.attempt(lambda: _check_phones_are_there(campaign, customers, roles, suppression))
            if not problems.found:
                return Sources(customers, roles, template, suppression, where)
    if (missing := _missing_package(campaign.list)) is not None:
        problems.found.insert(0, missing)
    raise problems.combined()


def _condition(campaign: Campaign, headers: Sequence[str]) -> Condition | None:
    where = campaign.recipients.where
    return None if where is None else Condition.of(where, headers, campaign.path)


def open_campaign_list(campaign: Campaign, path: Path) -> CustomerList:
    """Opens `path` with the campaign's `[list_options]`.

    A query is run on the database for lists, and a list source of an installed package is asked. Raises `ListError`.
    """
    options = campaign.list_options
    extension = _list_source(path)
    database = _list_database(campaign, path) if path.suffix.lower() == QUERY_ENDING else None
    return open_list(
        path,
        ListOptions(
            options.sheet,
            options.hidden_rows,
            options.encoding,
            options.delimiter,
            database,
            options.header_row,
            extension,
        ),
        rows_needed=campaign.guards.empty_list != "ok",
    )


def _list_source(path: Path) -> Extension | None:
    """The list source of an installed package for files with this ending. It cannot replace one of ours."""
    try:
        found = find(Point.LIST_SOURCE, path.suffix.lower().removeprefix("."))
        if found is not None and path.suffix.lower() in LIST_ENDINGS:
            raise found.error(
                f"is for {path.suffix.lower()}, which batchsend reads itself. Uninstall the package."
            )
    except ExtensionError as error:
        raise ListError(path, Sentence(str(error), error.on_page)) from error
    return found


def _missing_package(path: Path) -> ListError | None:
    """The likely reason for a list's problems if its ending is not one of ours."""
    ending = path.suffix.lower()
    if not ending or ending in LIST_ENDINGS or is_made_anew(path):
        return None
    problem = f"No package that reads lists ending in {ending} is installed here."
    return ListError(
        path,
        Sentence(
            f"{problem} If this list needs one, install it on this computer.",
            f"{problem} If this list needs one, ask the person who looks after batchsend to install it.",
        ),
    )


def _list_database(campaign: Campaign, path: Path) -> str:
    try:
        settings = load_settings(campaign.directory, current_folder(campaign.directory), os.environ)
    except SettingsError as error:
        raise ListError(path, f"The database for this query is not known. {error}") from error
    if settings.list_database is None:
        not_set = (
            f"It is a query, and {LIST_DATABASE}, the database to run it on, is not set. Set it in the environment "
            f"or in {settings.folders[0] / '.env'}, like {LIST_DATABASE}=postgresql://user@host/database"
        )
        raise ListError(path, [not_set, *settings.misspellings([LIST_DATABASE])])
    return settings.list_database


class _Problems:
    """Collects the problems of several files, so that a user can fix all of them at once."""

    def __init__(self) -> None:
        self.found: list[BatchsendError] = []

    def attempt(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except BatchsendError as error:
            self.found.append(error)
            return None

    def headers(self) -> tuple[str, ...] | None:
        """The headers of a list that has problems, if they could be read."""
        headers = (error.headers for error in self.found if isinstance(error, ListError))
        return next((some for some in headers if some is not None), None)

    def combined(self) -> BatchsendError:
        return self.found[0] if len(self.found) == 1 else CombinedError(self.found)


def _check_phones_are_there(
    campaign: Campaign, customers: CustomerList, roles: Roles, suppression: Suppression
) -> None:
    if suppression.phones_only and roles.phone is None and not campaign.recipients.blank_phones_given:
        problem = (
            "has no column for {}, but a suppression file has phones only, so no row can be checked against it. Add "
            "phones to the list or customer ids to that file. To send without this check,"
        )
        raise ColumnsError(
            customers.path,
            Sentence(
                f'{problem.format("`phone`")} write blank_phones = "preferred" under [recipients]',
                f"{problem.format('the phone')} choose under When, Who is left out, to use the preferred number",
            ),
        )
