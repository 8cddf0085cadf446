"""Finds a campaign in the ledger, and refuses changes that would lose its history."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, IdentityError
from batchsend.ledger.history import has_regional_keys
from batchsend.ledger.ledger import CUSTOMER_COLUMN, CampaignRecord, Identity, Ledger
from batchsend.lists.headers import match_key, nearest

_NEW_CAMPAIGN = "--new-campaign"


def find_campaign(
    campaign: Campaign, identity: Identity, ledger: Ledger, *, new_campaign: bool
) -> CampaignRecord | None:
    """The ledger's record of this campaign; `None` if there is none.

    `new_campaign`: start without the history that this file has under another name. Raises `IdentityError`.
    """
    record = ledger.campaign(identity.name, identity.base_url)
    if record is None and campaign.formerly is not None:
        record = ledger.campaign(campaign.formerly, identity.base_url)
    if record is None:
        if not new_campaign:
            _refuse_other_name(identity, ledger)
            _refuse_misspelled_name(campaign, identity, ledger)
        return None
    _refuse_other_file(identity, record, ledger)
    _refuse_other_key(campaign, identity, record, ledger)
    return record


def _refuse_other_key(campaign: Campaign, identity: Identity, record: CampaignRecord, ledger: Ledger) -> None:
    runs = ledger.runs_of(record.id)
    if record.key_columns != identity.key_columns and runs:
        headers = runs[0].headers
        raise IdentityError(
            f"{campaign.path}: the key of this campaign is {_in_words(identity.key_columns, headers)}, but it was "
            f"sent with {_in_words(record.key_columns, headers)}. With another key, batchsend cannot tell who "
            f"already got this text. Change `key` under [recipients] back, or give the campaign another `name` and "
            f"start without its history: --new-campaign",
            on_page=f"What makes a text the same is now {_in_words(identity.key_columns, headers)}, but this "
            f"campaign was sent with {_in_words(record.key_columns, headers)}. So batchsend cannot "
            f"tell who already got this text. Change it back under Columns, or create a new campaign.",
        )
    if record.key_region != identity.key_region and has_regional_keys(ledger, record.id):
        raise IdentityError(
            f"{campaign.path}: `default_region` under [recipients] is {identity.key_region}, but the keys of this "
            f"campaign were recorded with {record.key_region}. They have dates or phones, which can mean something "
            f"else in another region, so batchsend cannot tell who already got this text. Change the region back, or "
            f"give the campaign another `name` and start without its history: --new-campaign. If you never changed "
            f"the region, an upgrade of the ledger did not find this file: restore the ledger's backup, and run "
            f"`batchsend ledger upgrade` on this computer.",
            on_page=f"The country of phone numbers is now {identity.key_region}, but this campaign was sent with "
            f"{record.key_region}. Dates and phones can mean something else there, so batchsend cannot tell who "
            f"already got this text. Change the country back under When, or create a new campaign. If you never "
            f"changed it, ask the person who looks after batchsend.",
        )


def _refuse_other_name(identity: Identity, ledger: Ledger) -> None:
    others = ledger.campaigns_of_file(identity.file, identity.host, identity.base_url)
    others = [other for other in others if other.name != identity.name]
    if others:
        name = others[-1].name
        raise IdentityError(
            f'{identity.file}: this campaign was sent under the name "{name}" before. Its customers would be texted '
            f'again as "{identity.name}". To keep its history, add this line to the file: formerly = "{name}".',
            _NEW_CAMPAIGN,
            on_page=f"This campaign was sent under the name “{name}” before. Its customers would be texted again as "
            f"“{identity.name}”. To keep its history, name it “{name}” again, then rename it on the page Campaigns.",
        )


def _refuse_misspelled_name(campaign: Campaign, identity: Identity, ledger: Ledger) -> None:
    """Refuses a `formerly` that is nearly a name in the ledger: the history that it should keep would not count."""
    if campaign.formerly is None:
        return
    near = nearest(campaign.formerly, ledger.campaign_names(identity.base_url))
    if near is not None:
        raise IdentityError(
            f'{campaign.path}: `formerly` is "{campaign.formerly}", but the ledger has no campaign of this name. Did '
            f'you mean formerly = "{near}"? Its customers would be texted again as "{identity.name}".',
            _NEW_CAMPAIGN,
            on_page=f"The former name of this campaign, “{campaign.formerly}”, is unknown. Did you mean “{near}”? "
            f"Its customers would be texted again as “{identity.name}”.",
        )


def _refuse_other_file(identity: Identity, record: CampaignRecord, ledger: Ledger) -> None:
    # A ledger file is used on one computer only, even if the computer's name changes.
    if record.file == identity.file or (ledger.file is None and record.host != identity.host):
        return
    other = Path(record.file)
    if _are_two(other, Path(identity.file)) and _name_of(other) in (record.name, identity.name):
        raise IdentityError(
            f'{identity.file}: another campaign file has this name, "{record.name}": {record.file}. Campaigns with '
            "the same name share their history. If this is the same campaign, moved or restored, delete or rename "
            "the other file: under another name, every customer would count as new. Otherwise, give this one a "
            "different `name`.",
            on_page=f"Another campaign has this name, “{record.name}”, too, and they would share their history. "
            f"Rename one of them. If it is the same campaign twice, archive the other one.",
        )


def _are_two(other: Path, file: Path) -> bool:
    """Whether `other` exists and is not the same file as `file`."""
    try:
        return other.is_file() and not other.samefile(file)
    except OSError:
        return False


def _name_of(path: Path) -> str | None:
    from batchsend.campaigns.file import load_campaign

    try:
        return load_campaign(path).name
    except BatchsendError:
        return None


def _in_words(key_columns: Iterable[str], headers: Iterable[str]) -> str:
    """`the customer's id and "Appointment Date"`, with the names of the list's `headers`."""
    named = {match_key(header): f'"{header}"' for header in headers} | {CUSTOMER_COLUMN: "the customer's id"}
    return " and ".join(named.get(name, f'"{name}"') for name in key_columns)
