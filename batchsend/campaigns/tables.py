"""The tables of a campaign file as models: keys, bounds, defaults and meaning.

The descriptions of the fields are the reference: editors show them by way of the JSON Schema, and the
documentation prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NaiveDatetime, model_validator

from batchsend.campaigns.types import (
    CallbackUrl,
    Cron,
    Delimiter,
    Duration,
    EncodingName,
    FilePath,
    FilePaths,
    Headers,
    Metadata,
    MisfitError,
    OneLine,
    RecipientZone,
    Region,
    Text,
    Texts,
    TimeOfDay,
)


class Table(BaseModel):
    """A table of the file: nothing is guessed from another type, and nothing unknown is passed over."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TemplateBy(Table):
    """Chooses each customer's template by a column of the list."""

    column: Text = Field(description="The list's column to choose by, such as the customer's language.")
    default: FilePath = Field(description="The template for all values that no case names.")
    cases: Annotated[dict[FilePath, Texts], Field(min_length=1)] = Field(
        description="Templates, each with the values of the column that it is for, in whatever letter case."
    )


class Columns(Table):
    """Which of the list's columns are what; needed only where the list's headers differ from our names."""

    customer_uuid: Text | None = Field(default=None, description="The column with the customer's UUID.")
    phone: Text | None = Field(
        default=None,
        description="The column with the phone to text. "
        "Without one, myKaarma picks the customer's preferred number.",
    )
    department_uuid: Text | None = Field(
        default=None, description="The column with the department's UUID, where it differs from row to row."
    )
    user_uuid: Text | None = Field(
        default=None, description="The column with the sending user's UUID, where it differs from row to row."
    )
    timezone: Text | None = Field(
        default=None, description="The column with the recipient's time zone (an IANA name), for quiet hours."
    )


class Consent(Table):
    """Texts only those who agreed to be texted."""

    column: Text = Field(description="The list's column that says whether the customer agreed.")
    yes: Texts = Field(
        description="The values that mean yes, in whatever letter case. All others, blank too, are left out."
    )


class Recipients(Table):
    """Who of the list is texted, and how often."""

    key: Headers | None = Field(
        default=None,
        description="The list's columns that make two messages the same message, which is sent once. "
        "Left out: the customer's UUID.",
    )
    consent: Consent | None = Field(
        default=None,
        description="Texts only customers whose row says yes in a column. Left out: consent is not checked.",
    )
    suppress: FilePaths = Field(
        default=(), description="Files with people to leave out, each with a customer_uuid or a phone column."
    )
    duplicate_phones: Literal["skip", "allow"] = Field(
        default="skip",
        description="What happens where one phone stands under two customers: "
        '"skip" texts it once, "allow" texts it for each of them.',
    )
    blank_phones: Literal["preferred", "invalid"] = Field(
        default="preferred",
        description="What happens where the phone is blank: "
        '"preferred" texts the customer\'s preferred number, "invalid" leaves the row unsent.',
    )
    repeat_after_days: int | None = Field(
        default=None,
        ge=1,
        description="After how many days the same message may be sent again, by the calendar. "
        "Left out: once, ever.",
    )
    max_messages: int | None = Field(
        default=None,
        ge=1,
        description="How many texts a customer gets at most, over all campaigns of the ledger, "
        "within max_messages_days.",
    )
    max_messages_days: int | None = Field(
        default=None, ge=1, description="The number of days in which max_messages is counted."
    )
    default_region: Region = Field(
        default="US",
        description="The country of phone numbers without a country code, as two capital letters.",
    )

    @property
    def blank_phones_given(self) -> bool:
        """Whether the file itself says what a blank phone means."""
        return "blank_phones" in self.model_fields_set


class MessageOptions(Table):
    """How myKaarma sends the text, and how its length is counted."""

    is_manual: bool = Field(
        default=False, description="Whether a person sends the texts (true) or a system does (false)."
    )
    add_tcpa_footer: bool = Field(
        default=True,
        description='Whether myKaarma appends the opt-out line (typically "Text STOP to opt-out").',
    )
    add_signature: bool = Field(
        default=False, description="Whether myKaarma appends the sending user's name."
    )
    add_footer: bool = Field(default=False, description="Whether myKaarma appends the dealership's footer.")
    send_vcard: bool = Field(
        default=False, description="Whether the vCard of the department's number goes with the text."
    )
    send_synchronously: bool = Field(
        default=False,
        description="Whether myKaarma hands the text on before it answers (true), or queues it, "
        "tries again where needed, and reports to callback_url (false).",
    )
    callback_url: CallbackUrl | None = Field(
        default=None,
        description="The https:// address that myKaarma reports to once it tried to send a text.",
    )
    callback_metadata: Metadata = Field(
        default_factory=dict,
        description="What myKaarma sends along with each report, beside what identifies the message: "
        "names and texts of your choice.",
    )
    smart_encoding: bool = Field(
        default=True,
        description="Whether curly quotes, dashes and the like become plain ones "
        "where they alone would make a text cost twice.",
    )
    opt_out_line: OneLine = Field(
        default="Text STOP to opt-out",
        description="What myKaarma appends on a line of its own where add_tcpa_footer is on; "
        "used for counting segments only.",
    )
    max_segments: int = Field(default=6, ge=1, description="A text of more segments than this is not sent.")


class QuietHours(Table):
    """A time of day at which nobody is texted."""

    from_: TimeOfDay = Field(alias="from", description='When the quiet hours begin, such as "21:00".')
    to: TimeOfDay = Field(
        description='When they end, such as "08:00"; the next morning if earlier than from.'
    )
    timezone: RecipientZone = Field(
        default="recipient",
        description='Whose clock counts: "recipient" for each one\'s own, or an IANA time zone.',
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.from_ == self.to:
            raise MisfitError("quiet hours that begin and end at different times", show=False)
        return self


def _quiet_hours(value: object) -> object:
    if value == "TCPA":
        return {"from": "21:00", "to": "08:00"}
    if isinstance(value, Mapping | None):
        return value
    raise MisfitError('"TCPA" or a table')


class Sending(Table):
    """How fast texts leave, and when sending stops."""

    rate: float = Field(
        default=10, gt=0, le=10_000, description="Requests a second of one run, over all its processes."
    )
    concurrency: int = Field(
        default=20, ge=1, le=1000, description="How many requests may be under way at once."
    )
    timeout: float = Field(default=30, gt=0, le=3600, description="Seconds that one request may take.")
    stop_after_failures: int = Field(
        default=25, ge=1, description="After how many rows in a row that went wrong alike the run stops."
    )
    give_up_after: Duration = Field(
        default="15m",
        validate_default=True,
        description="After how long without one accepted text the run stops.",
    )
    quiet_hours: Annotated[
        QuietHours | None, BeforeValidator(_quiet_hours, json_schema_input_type=Literal["TCPA"] | QuietHours)
    ] = Field(
        default=None,
        description='When nobody is texted: "TCPA" (21:00 to 08:00 where the recipient is) or a table '
        "with from, to and timezone. Left out: texts may leave at any hour.",
    )
    per_day: int | None = Field(
        default=None, ge=1, description="How many texts of this campaign leave in one calendar day at most."
    )


class Guards(Table):
    """Nothing is sent where the list cannot be right."""

    max_texts: int | None = Field(
        default=None, ge=1, description="Nothing is sent if the run has more texts than this."
    )
    min_texts: int | None = Field(
        default=None, ge=1, description="Nothing is sent if the run has fewer texts than this."
    )
    list_max_age: Duration | None = Field(
        default=None, description="Nothing is sent if the list's file is older."
    )
    empty_list: Literal["error", "ok"] = Field(
        default="error", description='Whether a list without rows is an "error" or "ok".'
    )


class Schedule(Table):
    """When the scheduler starts this campaign: at set times (cron), or once (at)."""

    cron: Cron | None = Field(
        default=None, description="When to start, as in crontab(5), in the campaign's time zone."
    )
    at: NaiveDatetime | None = Field(
        default=None,
        description="When to start once, such as 2026-12-01T10:00:00, in the campaign's time zone.",
    )
    expires_after: Duration = Field(
        default="2h",
        validate_default=True,
        description="A start that was missed by more than this is reported and never made up for.",
    )


class ListOptionsTable(Table):
    """How the list's file is read; needed only where it cannot be found out."""

    sheet: Text | None = Field(
        default=None, description="The workbook's sheet that holds the list. Left out: the only visible one."
    )
    hidden_rows: Literal["skip", "include"] | None = Field(
        default=None,
        description='What happens to hidden or filtered rows: "skip" or "include". Left out: '
        "a list that has any is refused, so that you choose.",
    )
    encoding: EncodingName | None = Field(
        default=None, description="The text file's encoding, such as windows-1252. Left out: found out."
    )
    delimiter: Delimiter | None = Field(
        default=None, description="The character between the cells of a text file. Left out: found out."
    )
