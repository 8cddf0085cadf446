"""Looks up the customers of a campaign whose list has no ids (`[columns] lookup`), for its preview and its start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import LedgerError, SettingsError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.lists.newest import OnWait
from batchsend.mykaarma.reader import ApiReader
from batchsend.planning.customer_match import Person
from batchsend.planning.lookup_columns import CustomerLookup
from batchsend.planning.sources import Sources
from batchsend.runs.customer_lookup import Answers, Asker, LookupPace, look_up, pace_of, unknown
from batchsend.runs.list_lookup import ListLookup
from batchsend.sandbox.customers import SandboxCustomer
from batchsend.sandbox.options import SandboxOptions
from batchsend.sandbox.server import Sandbox
from batchsend.settings import Credentials, Settings, require_credentials

#: Questions a second to the sandbox of a rehearsal.
_SANDBOX_RATE = 1000.0


class CampaignLookup:
    """Looks up the customers of a campaign's list at myKaarma, with the answers in the ledger at `ledger_url`.

    A look-up that ends early is no error: rows without an answer are not sent, and the others are.
    """

    def __init__(self, settings: Settings, ledger_url: str, on_wait: OnWait) -> None:
        self._settings = settings
        self._ledger_url = ledger_url
        self._on_wait = on_wait

    def __call__(self, campaign: Campaign, sources: Sources) -> CustomerLookup:
        people, pace = (
            _people(campaign, sources),
            pace_of(campaign.sending, one_department=campaign.department_uuid is not None),
        )
        with ExitStack() as stack:
            answers = Answers(self._ledger(stack), self._settings.base_url, must_keep=False)
            return CustomerLookup(answers, self._look_up(people, sources.customers.rows, answers, pace))

    def _ledger(self, stack: ExitStack) -> Ledger | None:
        """The ledger, if there is one that can be written here. A preview creates none."""
        ledger = None
        with suppress(LedgerError):
            existing = open_for_reading(self._ledger_url)
            if existing is not None:
                existing.close()
                ledger = open_ledger(self._ledger_url)
                stack.callback(ledger.close)
        return ledger

    def _look_up(
        self, people: Iterable[Person], total: int, answers: Answers, pace: LookupPace
    ) -> str | None:
        try:
            credentials = require_credentials(self._settings)
        except SettingsError as error:
            return str(error)
        reader = ApiReader(self._settings.base_url, credentials, timeout=pace.timeout)
        return look_up(
            people, total, answers, reader, pace, lambda pause: self._on_wait(pause.seconds, pause.reason)
        )


class RehearsalLookup(CampaignLookup):
    """The same for a rehearsal: what myKaarma has not answered yet is asked of a sandbox that has these customers."""

    def _ledger(self, stack: ExitStack) -> Ledger | None:
        ledger = open_for_reading(self._ledger_url)
        if ledger is not None:
            stack.callback(ledger.close)
        return ledger

    def _look_up(
        self, people: Iterable[Person], total: int, answers: Answers, pace: LookupPace
    ) -> str | None:
        answers.forget_ledger()
        new = list(unknown(people, total, answers))
        # Only texts are sent at the campaign's rate.
        return asyncio.run(_ask_sandbox(new, answers, replace(pace, rate=_SANDBOX_RATE))) if new else None


async def _ask_sandbox(people: list[Person], answers: Answers, pace: LookupPace) -> str | None:
    options = SandboxOptions(customers=tuple(_customers(people)))
    async with Sandbox(options) as sandbox:
        reader = ApiReader(sandbox.base_url, Credentials("rehearsal", "rehearsal"), timeout=pace.timeout)
        asker = Asker(answers, reader, pace, lambda _pause: None)
        await asker.run(iter(people))
    return asker.problem


def _customers(people: Iterable[Person]) -> Iterator[SandboxCustomer]:
    """A customer for each person of the list. Rows with one number, or one name and phone, are one person."""
    by_person: dict[tuple[object, ...], list[Person]] = {}
    for person in people:
        names = (person.last_name, person.first_name, person.name, person.company, person.phones)
        by_person.setdefault((person.customer_key,) if person.customer_key else names, []).append(person)
    for number, (first, *others) in enumerate(by_person.values(), 1):
        vins = dict.fromkeys(one.vin for one in (first, *others) if one.vin)
        rest, _, last = first.name.rpartition(" ")
        if "," in first.name:
            last, _, rest = first.name.partition(",")
        yield SandboxCustomer(
            uuid=f"rehearsal-{number}",
            customer_key=first.customer_key,
            first_name=first.first_name or rest.strip(),
            last_name=first.last_name or last,
            company=first.company,
            phones=first.phones,
            vins=tuple(vins),
        )


def _people(campaign: Campaign, sources: Sources) -> Iterable[Person]:
    roles = sources.roles
    assert roles.lookup is not None  # noqa: S101
    department = campaign.department_uuid or roles.department_uuid or 0
    region = campaign.recipients.default_region
    return ListLookup(sources.customers, roles.lookup, department, region).people()
