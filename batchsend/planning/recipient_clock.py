"""The rule that finds each recipient's clock: all time zones and states in which the recipient may be.

The first of these that gives a zone decides: the list's time zone, its ZIP code and state, the phone's area code. If
the hours of states apply, the zones of all of them count, and the states of the ZIP code, of the list's state and of
the phone's area code. Otherwise, the hours of one place would be kept by the clock of another.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import pandas as pd
from phonenumbers import country_code_for_region

from batchsend.campaigns.quiet_hours import clock_of
from batchsend.campaigns.zones import (
    states_of_place,
    zones_of_address,
    zones_of_name,
    zones_of_state,
    zones_of_zip,
)
from batchsend.messages.phones import zones_of
from batchsend.planning.row_frame import NOTHING, Context, columns

_NORTH_AMERICA = "+1"
#: `+1` and an area code.
_PREFIX_LENGTH = 5


class RecipientClock(NamedTuple):
    """A recipient's clock as the ledger stores it, `None` if it is unknown, and the words that say nothing."""

    clock: str | None
    #: The list's word that is not a time zone.
    unknown_zone: str | None = None
    #: The list's word that is neither a ZIP code nor a state.
    unknown_place: str | None = None


def read_clock(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Adds the recipient's clock, if quiet hours go by it."""
    hours, roles = context.campaign.quiet_hours, context.roles
    if hours is None or hours.fixed is not None:
        return NOTHING
    names, zips, states = (
        [""] * len(rows) if position is None else rows[position].tolist()
        for position in (roles.timezone, roles.zip, roles.state)
    )
    prefixes = [_prefix(phone or "") for phone in rows["phone"]]
    country = f"+{country_code_for_region(context.campaign.recipients.default_region)}"
    found = [
        recipient_clock(name, zip_code, state, prefix or country, with_states=bool(hours.states))
        for name, zip_code, state, prefix in zip(names, zips, states, prefixes, strict=True)
    ]
    return columns(rows, **dict(zip(RecipientClock._fields, zip(*found, strict=True), strict=True)))


# Many rows of a list have the same place.
@lru_cache(maxsize=65_536)
def recipient_clock(
    timezone: str, zip_code: str, state: str, phone: str, *, with_states: bool = False
) -> RecipientClock:
    """The clock by the cells of a row; `with_states` if the hours of states apply.

    `phone`: the number in E.164, its `+1` and area code, or the country code of a row without a phone. ZIP code and
    state count only in North America, because the postal codes of other countries look the same.
    """
    is_american = phone.startswith(_NORTH_AMERICA)
    address = zones_of_address(zip_code, state) if is_american else frozenset()
    by_phone = zones_of(phone) if len(phone) >= _PREFIX_LENGTH else ()
    unknown_place = (zip_code or state or None) if is_american and not address else None
    if with_states and is_american:
        place = {*zones_of_zip(zip_code), *zones_of_state(state), *by_phone}
        zones = zones_of_name(timezone, place)
        clock = clock_of(place | zones, states_of_place(zip_code, state, phone[2:_PREFIX_LENGTH]))
    else:
        zones = zones_of_name(timezone, address or by_phone)
        clock = clock_of(zones or address or by_phone)
    if timezone and zones:
        return RecipientClock(clock)
    return RecipientClock(clock or None, timezone or None, unknown_place)


def _prefix(phone: str) -> str:
    return phone[:_PREFIX_LENGTH] if phone.startswith(_NORTH_AMERICA) else phone
