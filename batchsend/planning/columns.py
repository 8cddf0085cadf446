"""Finds the columns of the list that a campaign uses, by the campaign's names, our names or their aliases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import ColumnsError, Sentence
from batchsend.ledger.ledger import CUSTOMER_COLUMN
from batchsend.lists.headers import ALIASES, GUESSED, in_quotes, match_key, nearest
from batchsend.planning.lookup_columns import LookupColumns, can_search_by, find_lookup_columns, tells_who

#: A first row with one filled cell may be a title above the list.
_TITLE_COLUMNS = 1


@dataclass(frozen=True)
class Roles:
    """Positions of the columns that the campaign uses. `key_names`: the key as the ledger stores it."""

    customer_uuid: int
    phone: int | None
    department_uuid: int | None
    user_uuid: int | None
    timezone: int | None
    key: tuple[int, ...]
    key_names: tuple[str, ...]
    consent: int | None
    template_by: int | None = None
    zip: int | None = None
    state: int | None = None
    #: If customers are looked up. Then `customer_uuid` is the position behind the list's columns.
    lookup: LookupColumns | None = None

    @property
    def shown_customer(self) -> int:
        """The position of the list's column that says who the customer is."""
        return self.customer_uuid if self.lookup is None else self.lookup.identifiers[0]

    @property
    def customer_in_key(self) -> int | None:
        """The position of the customer's id among the key's columns."""
        return self.key.index(self.customer_uuid) if self.customer_uuid in self.key else None

    def key_headers(self, headers: Sequence[str]) -> tuple[str, ...]:
        """The headers of the key's columns; an id that was looked up is in none."""
        return tuple(
            headers[position] if position < len(headers) else "the customer" for position in self.key
        )

    @property
    def used(self) -> frozenset[int]:
        """All these positions, except those of ZIP code and state, which may be cut off."""
        single = (
            self.customer_uuid if self.lookup is None else None,
            self.phone,
            self.department_uuid,
            self.user_uuid,
            self.timezone,
            self.consent,
            self.template_by,
        )
        looked_up = self.lookup.used if self.lookup is not None else ()
        own = {*self.key, *looked_up} - ({self.customer_uuid} if self.lookup is not None else set())
        return frozenset({*own, *(position for position in single if position is not None)})


def find_columns(campaign: Campaign, headers: Sequence[str]) -> Roles:
    """Finds every column that the campaign uses. Raises `ColumnsError` with all missing or ambiguous columns."""
    finder = _Finder(headers)
    mapped = campaign.columns
    lookup = _lookup_columns(campaign, headers, finder)
    customer_uuid: int | None = len(headers)
    if mapped.lookup is None:
        customer_uuid = finder.needed("customer_uuid", mapped.customer_uuid)
    phone = finder.optional("phone", mapped.phone)
    department = _sender_column(finder, "department_uuid", mapped.department_uuid, campaign.department_uuid)
    user = _sender_column(finder, "user_uuid", mapped.user_uuid, campaign.user_uuid)
    timezone = finder.optional("timezone", mapped.timezone)
    zip_code, state = finder.first("zip", mapped.zip), finder.first("state", mapped.state)
    recipients = campaign.recipients
    consent = finder.named("recipients.consent", recipients.consent.column) if recipients.consent else None
    chosen_by = campaign.template_by
    template_by = finder.named("template_by.column", chosen_by.column) if chosen_by else None
    if recipients.key is None:
        key: tuple[int | None, ...] = (customer_uuid,)
    else:
        key = tuple(finder.named("recipients.key", name) for name in recipients.key)
    title = bool(finder.problems) and sum(map(bool, headers)) <= _TITLE_COLUMNS
    if title:
        # The other problems follow from this one.
        finder.problems.insert(
            0,
            Sentence(
                "The first row looks like a title, not like headers. If the headers are further down, name their row "
                "under [list_options], such as header_row = 3, or delete the rows above them and save the list again",
                "The first row looks like a title. Choose the row that has the column names",
            ),
        )
    if finder.problems or customer_uuid is None or (mapped.lookup is not None and lookup is None):
        error = ColumnsError(campaign.list, finder.problems)
        error.columns, error.title = tuple(finder.columns), title
        raise error
    positions = tuple(position for position in key if position is not None)
    # The customer's column always gets the same name, so naming it as the key does not change the key.
    names = tuple(
        CUSTOMER_COLUMN if position == customer_uuid else match_key(headers[position])
        for position in positions
    )
    return Roles(
        customer_uuid,
        phone,
        department,
        user,
        timezone,
        positions,
        names,
        consent,
        template_by,
        zip_code,
        state,
        lookup,
    )


def _lookup_columns(campaign: Campaign, headers: Sequence[str], finder: _Finder) -> LookupColumns | None:
    """The columns to look up customers by, if the campaign does."""
    named = campaign.columns.lookup
    if named is None:
        return None
    try:
        return find_lookup_columns(campaign.list, headers, named)
    except ColumnsError as error:
        finder.problems += error.problems
        finder.columns += error.columns
        return None


def guess_columns(headers: Sequence[str]) -> dict[str, str]:
    """Returns our names for columns -> the headers that probably mean them, for a person to confirm."""
    found = {}
    for name, aliases in {**ALIASES, **GUESSED}.items():
        keys = [match_key(alias) for alias in (name, *aliases)]
        alike = [header for header in headers if header and match_key(header) in keys]
        if alike:
            found[name] = next(filter(_is_mobile, alike), alike[0])
    return found


def _sender_column(finder: _Finder, name: str, mapped: str | None, fixed: str | None) -> int | None:
    return finder.needed(name, mapped) if mapped is not None and fixed is None else None


def _is_mobile(header: str) -> bool:
    return match_key(header).startswith(("mobile", "cell"))


#: Our names for columns, in words.
_WORDS = {
    "customer_uuid": "customer's id in myKaarma",
    "phone": "phone",
    "department_uuid": "department's id",
    "user_uuid": "user's id",
    "timezone": "time zone",
    "zip": "ZIP code",
    "state": "state",
}


class _Finder:
    """Looks up columns of one list and collects the problems."""

    def __init__(self, headers: Sequence[str]) -> None:
        self._headers = headers
        self._positions = {match_key(header): position for position, header in enumerate(headers) if header}
        self.problems: list[str] = []
        #: The keys of the problems, and the headers that they name.
        self.columns: list[tuple[str, str | None]] = []

    def named(self, key: str, header: str) -> int | None:
        """The column that the campaign file names under `key`."""
        position = self._positions.get(match_key(header))
        if position is None:
            self.columns.append((key, header))
            missing = f"which is not in the list; it has: {self._all()}."
            advice = self._meant(key, header)
            self.problems.append(
                Sentence(
                    f'`{key}` names the column "{header}", {missing}{advice}',
                    f'the column "{header}" was chosen, {missing}{advice.on_page}',
                )
            )
        return position

    def first(self, name: str, mapped: str | None) -> int | None:
        """The column for `name`: by the campaign's mapping, or the one with the first of the aliases."""
        if mapped is not None:
            return self.named(f"columns.{name}", mapped)
        keys = map(match_key, ALIASES[name])
        return next((self._positions[key] for key in keys if key in self._positions), None)

    def optional(self, name: str, mapped: str | None) -> int | None:
        """The column for `name`: by the campaign's mapping, by `name` itself, or by an alias."""
        if mapped is not None:
            return self.named(f"columns.{name}", mapped)
        exact = self._positions.get(match_key(name))
        # "Phone" is a common header, and does not say which of two phones is meant.
        if exact is not None and name != "phone":
            return exact
        found = sorted(self._positions[a] for a in map(match_key, ALIASES[name]) if a in self._positions)
        if len(found) > 1:
            headers = [self._headers[position] for position in found]
            self.columns.append((name, None))
            example = next((header for header in headers if _is_mobile(header)), headers[0])
            self.problems.append(
                Sentence(
                    f"{in_quotes(headers)} could each be `{name}`. Name the right one under [columns], such as "
                    f'{name} = "{example}"',
                    f"{in_quotes(headers)} could each be the {_WORDS[name]}. Choose the right one under Columns",
                )
            )
        return found[0] if found else None

    def needed(self, name: str, mapped: str | None) -> int | None:
        """The same as `optional`, but a missing column is a problem."""
        problems = len(self.problems)
        position = self.optional(name, mapped)
        if position is None and len(self.problems) == problems:
            self.columns.append((name, None))
            self.problems.append(
                Sentence(
                    f"needs a column for `{name}`; it has: {self._all()}. {self._remedy(name)}",
                    f"needs a column for the {_WORDS[name]}; it has: {self._all()}. Choose it under Columns",
                )
            )
        return position

    def _remedy(self, name: str) -> str:
        near = self._near(name)
        if name == "customer_uuid" and near is None:
            return f"If it has another name here, write it under [columns].{self._id_advice()}"
        example = near or next((header for header in self._headers if header), "Header")
        return f'If it has another name here, write it under [columns], such as {name} = "{example}"'

    def _near(self, name: str, header: str | None = None) -> str | None:
        """The header that is probably meant. A customer number, VIN, phone or name is never taken for an id."""
        is_id = name == "customer_uuid"
        return nearest(header or name, [one for one in self._headers if not (is_id and tells_who(one))])

    def _meant(self, key: str, header: str) -> Sentence:
        name = key.removeprefix("columns.")
        close = self._near(name, header)
        hint = f' Did you mean "{close}"?' if close else ""
        advice = self._id_advice() if name == "customer_uuid" else Sentence("", "")
        return Sentence(f"{hint}{advice}", f"{hint}{advice.on_page}")

    def _id_advice(self) -> Sentence:
        """What to do if the list has no ids, but columns to look customers up by."""
        if not any(map(can_search_by, self._headers)):
            return Sentence("", "")
        return Sentence(
            " If the list has no ids of myKaarma, write lookup = {} under [columns] instead of customer_uuid, or let "
            "`batchsend lookup` write a list with ids",
            " If the list has no ids of myKaarma, find the customers on the page List",
        )

    def _all(self) -> str:
        return ", ".join(header for header in self._headers if header)
