"""The files of a plan: list, template and suppression files, opened and checked together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, ListError
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles, find_columns
from batchsend.planning.suppression import Suppression, load_suppression

T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """The files of a plan, read and found sound."""

    customers: CustomerList
    roles: Roles
    template: TemplateChoice
    suppression: Suppression


def read_sources(campaign: Campaign) -> Sources:
    """Opens list, template and suppression files; whatever is wrong with them is raised at once."""
    problems = _Problems()
    options = campaign.list_options
    customers = problems.attempt(
        lambda: open_list(
            campaign.list,
            ListOptions(options.sheet, options.hidden_rows, options.encoding, options.delimiter),
            rows_needed=campaign.guards.empty_list != "ok",
        )
    )
    recipients = campaign.recipients
    suppression = problems.attempt(lambda: load_suppression(recipients.suppress, recipients.default_region))
    headers = customers.headers if customers is not None else problems.headers()
    if headers is not None:
        template = problems.attempt(lambda: TemplateChoice.load(campaign, headers))
        roles = problems.attempt(lambda: find_columns(campaign, headers))
        if customers is not None and template is not None and roles is not None and suppression is not None:
            problems.attempt(lambda: _check_phones_are_there(campaign, customers, roles, suppression))
            if not problems.found:
                return Sources(customers, roles, template, suppression)
    raise problems.together()


class _Problems:
    """Collects what is wrong with several files, so that a user can mend all of it at once."""

    def __init__(self) -> None:
        self.found: list[BatchsendError] = []

    def attempt(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except BatchsendError as error:
            self.found.append(error)
            return None

    def headers(self) -> tuple[str, ...] | None:
        """The headers of a list that cannot be used, where they could be read."""
        found = (error.headers for error in self.found if isinstance(error, ListError))
        return next((headers for headers in found if headers is not None), None)

    def together(self) -> BatchsendError:
        return self.found[0] if len(self.found) == 1 else BatchsendError("\n".join(map(str, self.found)))


def _check_phones_are_there(
    campaign: Campaign, customers: CustomerList, roles: Roles, suppression: Suppression
) -> None:
    if suppression.phones_only and roles.phone is None and not campaign.recipients.blank_phones_given:
        raise ListError(
            customers.path,
            "has no column for `phone`, but the suppression files know people by phone only, so nobody could be "
            "checked against them. Add the phones to the list, or the customer ids to the suppression files, or "
            'write blank_phones = "preferred" under [recipients] to send without that check',
        )
