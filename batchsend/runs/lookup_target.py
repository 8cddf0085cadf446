"""What `batchsend lookup` works on: a campaign's list, or any list with a department."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.tables import Lookup, Sending
from batchsend.errors import ListError, SettingsError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.location import resolve_ledger_url
from batchsend.lists.customer_list import CustomerList, ListOptions, open_list
from batchsend.lists.headers import match_key
from batchsend.lists.source import forbidden
from batchsend.mykaarma.reader import ApiReader
from batchsend.planning.list_checks import API_UUID
from batchsend.planning.lookup_columns import LookupColumns, find_lookup_columns, look_like_numbers
from batchsend.planning.sources import open_campaign_list
from batchsend.reports.output_files import check_output, inputs_of, refuse_inputs
from batchsend.runs.api import load_campaign, prepare
from batchsend.runs.customer_lookup import LookupPace, pace_of
from batchsend.runs.list_lookup import ListLookup
from batchsend.runs.start import refuse_sample_ids, with_newest_list
from batchsend.settings import Settings, load_settings, require_credentials
from batchsend.utils.files import current_folder
from batchsend.utils.protected_files import refusal


@dataclass(frozen=True)
class LookupTarget:
    """A list to look up, with what is needed for it. `usual_output`: where the new list goes if nobody says.

    `id_column`: the column that the campaign names for the ids.
    """

    lookup: ListLookup
    settings: Settings
    pace: LookupPace
    ledger_url: str
    usual_output: Path
    inputs: tuple[Path, ...]
    id_column: str | None = None

    @property
    def customers(self) -> CustomerList:
        return self.lookup.customers

    def reader(self) -> ApiReader:
        """Raises `SettingsError` without credentials."""
        credentials = require_credentials(self.settings)
        return ApiReader(self.settings.base_url, credentials, timeout=self.pace.timeout)

    def check_output(self, path: Path, ledger: Ledger) -> None:
        """Raises `ResultsError` if the new list would overwrite a file that is read."""
        refuse_inputs(path, self.inputs)
        if path != self.usual_output:
            check_output(path, ledger)


def of_campaign(
    file: Path,
    named: Lookup,
    *,
    list_: Path | None = None,
    rate: float | None = None,
    ledger: str | None = None,
) -> LookupTarget:
    """A campaign's list, with its department and its ledger. Raises `BatchsendError`."""
    campaign = load_campaign(file)
    if list_ is not None or rate is not None:
        campaign = campaign.with_overrides(list=list_, rate=rate)
    return of_loaded(campaign, named, ledger)


def of_loaded(campaign: Campaign, named: Lookup, ledger: str | None) -> LookupTarget:
    """The list of a campaign that is read already. Raises `BatchsendError`."""
    refuse_sample_ids(campaign, user=False)
    start = prepare(campaign, ledger=ledger)
    campaign = with_newest_list(campaign)
    customers = open_campaign_list(campaign, campaign.list)
    if named == Lookup():
        named = campaign.columns.lookup or named
    lookup = ListLookup(
        customers,
        _columns(customers, named),
        _department(campaign, customers),
        campaign.recipients.default_region,
    )
    return LookupTarget(
        lookup=lookup,
        settings=start.settings,
        pace=pace_of(campaign.sending, one_department=campaign.department_uuid is not None),
        ledger_url=start.ledger_url,
        usual_output=campaign.directory / "results" / f"{campaign.stem}-lookup.xlsx",
        inputs=tuple(inputs_of(campaign)),
        id_column=campaign.columns.customer_uuid,
    )


def of_list(
    path: Path,
    named: Lookup,
    *,
    department: str | None,
    region: str,
    rate: float | None = None,
    ledger: str | None = None,
) -> LookupTarget:
    """Any list. Its ledger is the one here or in `campaigns`, else a new one beside it. Raises `BatchsendError`."""
    path = path.absolute()
    if (why := refusal(path)) is not None:
        raise ListError(path, forbidden(why))
    if department is None or not API_UUID.fullmatch(department):
        raise SettingsError(
            f"{path}: a look-up needs the id of the department in myKaarma. Give it with --department, or name a "
            f"campaign, which has it, and the list with --list."
        )
    here = current_folder(path.parent)
    settings = load_settings(path.parent, here, os.environ)
    customers = open_list(path, ListOptions(hidden_rows="skip"))
    sending = Sending() if rate is None else Sending(rate=rate)
    return LookupTarget(
        lookup=ListLookup(customers, _columns(customers, named), department, region),
        settings=settings,
        pace=pace_of(sending),
        ledger_url=resolve_ledger_url(ledger, settings, _ledger_folder(path, here)),
        usual_output=path.with_name(f"{path.stem}-lookup.xlsx"),
        inputs=(path,),
    )


def _columns(customers: CustomerList, named: Lookup) -> LookupColumns:
    return find_lookup_columns(
        customers.path, customers.headers, named, partial(look_like_numbers, customers)
    )


def _ledger_folder(path: Path, here: Path) -> Path:
    folders = (path.parent, here, here / "campaigns")
    has_ledger = (folder for folder in folders if (folder / ".batchsend" / "ledger.db").exists())
    return next(has_ledger, path.parent)


def _department(campaign: Campaign, customers: CustomerList) -> str | int:
    """The department's id, or the position of the column that has it."""
    if campaign.department_uuid is not None:
        return campaign.department_uuid
    header = campaign.columns.department_uuid or "department_uuid"
    keys = [match_key(one) for one in customers.headers]
    if match_key(header) not in keys:
        raise ListError(customers.path, f'has no column "{header}", so the department is not known.')
    return keys.index(match_key(header))
