"""The sections and inline tables of a campaign file as models: keys, limits, defaults and descriptions.

The descriptions are the reference. They appear in the JSON Schema, which editors show, and in the manual.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NaiveDatetime, WithJsonSchema

from batchsend.campaigns.hours_tables import DaysOff, QuietHoursValue
from batchsend.campaigns.types import (
    Addresses,
    CallbackUrl,
    Cron,
    Currency,
    Delimiter,
    Duration,
    EncodingName,
    FilePath,
    FilePaths,
    Headers,
    Metadata,
    Notifiers,
    OneLine,
    Region,
    Table,
    Text,
    Texts,
)


class TemplateBy(Table):
    """Chooses each customer's template by a column of the list."""

    column: Text = Field(description="The column to choose by, such as the customer's language.")
    default: FilePath = Field(description="The template for values that are in none of the cases.")
    cases: Annotated[dict[FilePath, Texts], Field(min_length=1)] = Field(
        description="Each template with the column values that choose it. Letter case does not matter."
    )


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Lookup(Table):
    """The columns to look up customers by. Needed only if their headers do not say what they hold."""

    customer_key: Text | None = Field(
        default=None,
        description="The column with the customer's number in the dealership's system (DMS).",
    )
    vin: Text | None = Field(default=None, description="The column with the VIN.")
    phone: Annotated[Headers | None, BeforeValidator(_one_or_more, json_schema_input_type=Text | Headers)] = (
        Field(default=None, description="The column with a phone, or several of them in square brackets.")
    )
    last_name: Text | None = Field(
        default=None, description="The column with the last name, which must be the customer's."
    )


class Columns(Table):
    """The columns of the list. Needed only if their headers differ from the key names."""

    customer_uuid: Text | None = Field(default=None, description="The column with the customer's UUID.")
    phone: Text | None = Field(
        default=None,
        description="The column with the phone number to text. "
        "Without one, myKaarma uses the customer's preferred number.",
    )
    department_uuid: Text | None = Field(
        default=None, description="The column with the department's UUID, if it differs from row to row."
    )
    user_uuid: Text | None = Field(
        default=None, description="The column with the sending user's UUID, if it differs from row to row."
    )
    timezone: Text | None = Field(
        default=None,
        description="The column with the recipient's time zone, for quiet hours: an IANA name, or an everyday one "
        "such as Mountain or MST.",
    )
    zip: Text | None = Field(
        default=None,
        description="The column with the recipient's ZIP code or Canadian postal code, for quiet hours. "
        "It gives the time zone of rows that have none.",
    )
    state: Text | None = Field(
        default=None,
        description="The column with the recipient's state or province, for quiet hours. "
        "It gives the time zone of rows that have neither a time zone nor a ZIP code.",
    )
    lookup: Lookup | None = Field(
        default=None,
        description="Looks up each customer's UUID at myKaarma, for a list that has none: by the customer number of "
        'the DMS, the VIN or a phone, such as { customer_key = "Cust No", vin = "VIN" }. Columns that are not named '
        "are found by their headers; if one of these three is named, the others are only compared. "
        "Rows without one sure customer are not sent.",
    )


class Consent(Table):
    """Texts only customers who agreed to be texted."""

    column: Text = Field(description="The column that says whether the customer agreed.")
    yes: Texts = Field(
        description="The values that mean yes, in any letter case. Rows with another value or none are skipped."
    )


class Recipients(Table):
    """Which customers of the list get a text, and how often."""

    key: Headers | None = Field(
        default=None,
        description="The columns that identify a message: rows with the same values, in any spelling, get one text. "
        "Default: the customer's UUID.",
    )
    where: Text | None = Field(
        default=None,
        description="Texts only rows for which this expression is true, such as "
        "'model == \"CR-V\" and mileage | number >= 30000'. It is written as in templates.",
    )
    consent: Consent | None = Field(
        default=None,
        description="Texts only customers whose row says yes in a column. Without it, consent is not checked.",
    )
    suppress: FilePaths = Field(
        default=(), description="Files with people to skip, each with a customer_uuid or a phone column."
    )
    duplicate_phones: Literal["skip", "allow"] = Field(
        default="skip",
        description="What to do if two customers have the same phone: "
        '"skip" texts it once, "allow" texts it for each customer.',
    )
    blank_phones: Literal["preferred", "invalid"] = Field(
        default="preferred",
        description="What to do if the phone is blank: "
        '"preferred" texts the customer\'s preferred number, "invalid" does not send the row.',
    )
    repeat_after_days: int | None = Field(
        default=None,
        ge=1,
        description="The number of calendar days after which the same message may be sent again. "
        "Without it, a message is sent only once.",
    )
    max_messages: int | None = Field(
        default=None,
        ge=1,
        description="The most texts that a customer gets from all campaigns of the ledger "
        "within max_messages_days.",
    )
    max_messages_days: int | None = Field(
        default=None, ge=1, description="The number of days that max_messages is counted over."
    )
    default_region: Region = Field(
        default="US",
        description="The country of phone numbers without a country code, as two capital letters. It also decides "
        "whether `3/5/2026` in a key is March 5 (US) or May 3 (other countries).",
    )

    @property
    def blank_phones_given(self) -> bool:
        """Whether the file sets `blank_phones`."""
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
        default=False, description="Whether the text includes a vCard with the department's number."
    )
    send_synchronously: bool = Field(
        default=False,
        description="Whether myKaarma passes the text on before it answers (true), or queues it, "
        "retries if needed, and reports to callback_url (false).",
    )
    callback_url: CallbackUrl | None = Field(
        default=None,
        description="The https:// address that myKaarma reports to after it tried to send a text.",
    )
    callback_metadata: Metadata = Field(
        default_factory=dict,
        description="Names and texts of your choice that myKaarma includes in each report, "
        "in addition to those that identify the message.",
    )
    smart_encoding: bool = Field(
        default=True,
        description="Whether to replace curly quotes, dashes and similar characters with plain ones "
        "if only they would make a text cost more.",
    )
    opt_out_line: OneLine = Field(
        default="Text STOP to opt-out",
        description="The line that myKaarma appends if add_tcpa_footer is on. "
        "It is used only for counting segments.",
    )
    max_segments: int = Field(default=6, ge=1, description="A text with more segments than this is not sent.")
    sender_name: Text | None = Field(
        default=None,
        description="The dealership's name as texts should say it, such as Lakeside Honda. Previews warn about texts "
        "without it. It is never sent by itself. Default: the department_label, without words such as Service.",
    )
    segment_price: float | None = Field(
        default=None,
        gt=0,
        description="What a segment costs you. If it is given, previews, the question before sending, results, "
        "reports and `runs` show the cost.",
    )
    currency: Currency = Field(
        default="USD", description="The currency of segment_price, such as USD or CAD."
    )


class Sending(Table):
    """How fast texts are sent, and when sending stops."""

    rate: float = Field(
        default=10,
        gt=0,
        le=100_000,
        description="Requests per second of one run, in all its processes together.",
    )
    concurrency: int = Field(
        default=20, ge=1, le=1000, description="The most requests that may be in progress at the same time."
    )
    timeout: float = Field(
        default=30, gt=0, le=3600, description="The most seconds that one request may take."
    )
    stop_after_failures: int = Field(
        default=25, ge=1, description="The run stops after this many rows in a row with the same problem."
    )
    give_up_after: Duration = Field(
        default="15m",
        validate_default=True,
        description="The run stops if no text is accepted for this long.",
    )
    quiet_hours: QuietHoursValue = Field(
        default=None,
        description='When no texts are sent: "TCPA" (21:00 to 08:00 in the recipient\'s time zone), "US-states" '
        "(these and the stricter hours of the recipient's state) or a table with from, to, timezone and states. "
        "Without it, texts are sent at any hour.",
    )
    holidays: DaysOff = Field(
        default=(),
        description='Days without texts, such as ["US", "2026-12-24"]: the legal holidays of a country ("US", '
        '"CAN") or of a state ("US-LA"), a holiday by name ("Good Friday"), a date, or a day of each year ("12-24").',
    )
    per_day: int | None = Field(
        default=None,
        ge=1,
        description="The most texts of this campaign in one calendar day. Rows that waited longest go first.",
    )
    per_day_segments: int | None = Field(
        default=None,
        ge=1,
        description="The most segments of this campaign in one calendar day, such as a carrier's daily limit. "
        "It must not be below max_segments.",
    )
    per_hour: int | None = Field(
        default=None,
        ge=1,
        description="The most texts of this campaign in any hour, evenly spread, so that the staff can answer the "
        "replies. A start sends what fits into an hour; with --wait, it stays until all are sent.",
    )

    @property
    def pace(self) -> float:
        """Requests per second within `rate` and `per_hour`."""
        return self.rate if self.per_hour is None else min(self.rate, self.per_hour / 3600)


class Notify(Table):
    """Whom to tell how a start ended. A notice that cannot be delivered does not change that."""

    url: CallbackUrl | None = Field(
        default=None,
        description="The web hook that gets a JSON POST at the end of each start, such as one of Slack or Microsoft "
        "Teams. It has the campaign's name, the summary line and what to do: no phones and no texts.",
    )
    email: Addresses = Field(
        default=(),
        description="The e-mail addresses that get the same, by the mail server in `BATCHSEND_SMTP_URL`.",
    )
    notifiers: Notifiers = Field(
        default_factory=dict,
        description="Notifiers of installed packages that get the same, each with its address, such as "
        '{ desk = "Service" }.',
    )
    when: Literal["attention", "always"] = Field(
        default="attention",
        description='When to tell: at the end of each start ("always"), or only where a person has to look '
        '("attention").',
    )


# The format "date-time" would need a zone, which a start has from the campaign.
_LOCAL_DATETIME = WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d"})


class Schedule(Table):
    """When the scheduler starts this campaign: at set times (cron), or once (at)."""

    cron: Cron | None = Field(
        default=None,
        description="When to start, as in crontab(5), in the campaign's time zone. "
        "@hourly, @daily (at midnight), @weekly, @monthly and @yearly are understood too.",
    )
    at: Annotated[NaiveDatetime, _LOCAL_DATETIME] | None = Field(
        default=None,
        description="When to start once, such as 2026-12-01T10:00:00, in the campaign's time zone.",
    )
    expires_after: Duration = Field(
        default="2h",
        validate_default=True,
        description="A start that is more than this late is reported as missed and is not made up. "
        "A start that did not finish is tried again for this long.",
    )
    wait: bool = Field(
        default=False,
        description="Stay until quiet hours end, then send the rest, as `send --wait` does.",
    )
    strict: bool = Field(
        default=False, description="Send nothing if any row is invalid, as `send --strict` does."
    )
    expect: int | None = Field(
        default=None,
        ge=0,
        description="Send nothing unless each start would send exactly this many texts, as `send --expect` does.",
    )


class ListOptionsTable(Table):
    """How to read the list file. Needed only if it cannot be detected."""

    sheet: Text | None = Field(
        default=None,
        description="The sheet of the workbook that has the list. Default: the only visible one.",
    )
    hidden_rows: Literal["skip", "include"] | None = Field(
        default=None,
        description='What to do with hidden or filtered rows: "skip" leaves them out, "include" texts them. '
        "Required if the list has any.",
    )
    header_row: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="The number of the row with the headers, such as 3 if there is a title above them. The rows "
        "above it are not read. Default: the first row that is not blank.",
    )
    encoding: EncodingName | None = Field(
        default=None, description="The encoding of a text file, such as windows-1252. Default: detected."
    )
    delimiter: Delimiter | None = Field(
        default=None, description="The character between the cells of a text file. Default: detected."
    )
