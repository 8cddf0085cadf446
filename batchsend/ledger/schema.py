"""The ledger's tables, the same on SQLite and PostgreSQL.

Times are UTC text such as `2026-11-22T10:00:00.123Z`, which sorts, passes every driver unchanged and is readable.
Several codes are one text, joined by `; `, as in the results.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

#: Raised by one for each change of a table; `migrations` upgrades an older ledger.
SCHEMA_VERSION = 9

metadata = MetaData()

#: `schema_version`, and `ledger_id`, which tells to which ledger a callback belongs.
meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

#: A campaign is identified by its name and API base URL. `file` and `host`: where it was last sent from.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("key_columns", Text, nullable=False),  # JSON list of names
    Column("file", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column(
        "key_region", Text, nullable=False
    ),  # the `default_region` by which dates and phones in keys were read
    UniqueConstraint("name", "base_url"),
)

#: The sending of one list by one campaign. `id` is the run's number. While it waits by itself, `waits_until` is when
#: it continues, and `waits_because` is why. A start that continues it clears all that stands here of the last one.
runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", Integer, ForeignKey("campaigns.id"), nullable=False),
    Column("list_fingerprint", Text, nullable=False),
    Column("list_file", Text, nullable=False),
    Column("list_saved_at", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON list of the list's own headers
    Column("zone", Text, nullable=False),
    Column("about", Text, nullable=False),  # JSON object: facts about the campaign for the results' summary
    Column("created_at", Text, nullable=False),
    Column("stop_requested_at", Text),
    Column("stop_requested_by", Text),
    Column("given_up_at", Text),
    Column("given_up_by", Text),
    Column("waits_until", Text),
    Column("waits_because", Text),
    Index("runs_by_campaign", "campaign_id"),
)

#: One start of `send`: who started it, where, with which files, and how it ended.
starts = Table(
    "starts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("started_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("os_user", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("campaign_file", Text, nullable=False),
    Column("campaign_sha256", Text, nullable=False),
    Column("list_file", Text, nullable=False),
    Column("list_sha256", Text, nullable=False),
    Column("template_file", Text, nullable=False),
    Column("template_sha256", Text, nullable=False),
    Column("resend", Text),
    Column("exit_code", Integer),
    Column("ending", Text),
    Column("approval_id", Integer),  # the approval under which it sent
    Index("starts_by_run", "run_id"),
)


def _message_columns() -> list[Column[object]]:
    return [
        Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        Column("row", Integer, primary_key=True, autoincrement=False),
        # The row and its text.
        Column("campaign_id", Integer, nullable=False),
        Column("key", Text),
        Column("customer_uuid", Text),
        Column("department_uuid", Text),
        Column("user_uuid", Text),
        Column("phone", Text),
        Column("body", Text),
        Column("segments", Integer),
        Column("encoding", Text),
        Column(
            "clock", Text
        ),  # the time zones and states that decide its quiet hours, see `campaigns.quiet_hours`
        Column("cells", Text, nullable=False),  # JSON list of the row's own cells
        # Its outcome.
        Column("status", Text, nullable=False),
        Column("codes", Text, nullable=False, default=""),
        Column("descriptions", Text, nullable=False, default=""),
        Column("warning_codes", Text),
        Column("message_uuid", Text),
        Column("request_uuid", Text),
        Column("api_status", Text),
        Column("http_status", Integer),
        Column("attempts", Integer, nullable=False, default=0),
        Column("sent_at", Text),
        Column("latency_ms", Integer),
        Column("start_id", Integer),
        # The earlier run whose outcome decided this row and is shown for it.
        Column("earlier_run", Integer),
        # How often `--resend` opened the row again, and the value of the last `--resend`.
        Column("generation", Integer, nullable=False, default=0),
        Column("resend", Text),
        # Who claimed the row to send it, and what a later update reported.
        Column("owner", Text),
        Column("delivery_at", Text),
        Column("delivery_status", Text),
        # When `settle` last looked for its text in vain.
        Column("looked_for_at", Text),
        # When text, phone and cells were purged.
        Column("purged_at", Text),
        # Stands for a purged phone that was texted, see `purged_phones`.
        Column("phone_hash", Text),
    ]


#: One row of a run's list, with its latest outcome.
messages = Table(
    "messages",
    metadata,
    *_message_columns(),
    Index("messages_by_key", "campaign_id", "key"),
    Index("messages_by_customer", "customer_uuid"),
    Index("messages_by_uuid", "message_uuid"),
)

#: Outcomes that `--resend` replaced, so that every text that was sent stays on record.
superseded = Table(
    "superseded",
    metadata,
    *(
        Column(c.name, c.type, primary_key=c.primary_key or c.name == "generation", nullable=c.nullable)
        for c in messages.columns
    ),
    Column("superseded_at", Text, nullable=False),
    Index("superseded_by_key", "campaign_id", "key"),
    Index("superseded_by_customer", "customer_uuid"),
    Index("superseded_by_uuid", "message_uuid"),
)

#: The updates that `batchsend callbacks` received, each different body once, with their request if it is known.
updates = Table(
    "updates",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the body
    Column("received_at", Text, nullable=False),
    Column("raw", Text, nullable=False),  # the body, or its beginning
    # The facts in it.
    Column("message_uuid", Text),
    Column("status", Text),
    Column("codes", Text, nullable=False),
    Column("descriptions", Text, nullable=False),
    # The request that it is about.
    Column("run_id", Integer),
    Column("row", Integer),
    Column("generation", Integer),
    Index("updates_by_uuid", "message_uuid"),
    Index("updates_by_time", "received_at"),
)

#: Since when a campaign has this schedule; earlier times do not count as missed.
schedules = Table(
    "schedules",
    metadata,
    Column("campaign", Text, primary_key=True),
    Column("base_url", Text, primary_key=True),
    Column("schedule", Text, nullable=False),
    Column("since", Text, nullable=False),
)

#: The planned times of schedules. The primary key lets only one of several schedulers start a campaign.
planned_starts = Table(
    "planned_starts",
    metadata,
    Column("campaign", Text, primary_key=True),
    Column("base_url", Text, primary_key=True),
    Column("planned_at", Text, primary_key=True),
    Column("outcome", Text, nullable=False),  # started or missed
    Column("claimed_at", Text, nullable=False),
    # How it ended; unknown if the scheduler ended first.
    Column("ended_at", Text),
    Column("exit_code", Integer),
)

#: People who must not be texted, by customer UUID, phone (E.164) or both; "" means unknown. A removed opt-out gets a
#: date and is not deleted. `base_url` is "" if the opt-out applies to every API. If the phone of a refused text was
#: purged before the refusal became known, `phone` is its hash.
optouts = Table(
    "optouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_uuid", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),  # answer, added, imported or reply
    Column("os_user", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("added_at", Text, nullable=False),
    Column("removed_at", Text),
    Column("removed_by", Text),
    Column("removed_because", Text),
    Index("optouts_by_phone", "phone"),
)


#: Requests for the approval of a plan, with their answers. `settings`, `list_fingerprint`, `rows` and `digest`: see
#: `planning.approval.PlanContent`. `run_id` is the run that it is for, NULL until that begins. The last answer is
#: `state`; an approval that was taken back has both answers.
approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("list_fingerprint", Text, nullable=False),
    Column("run_id", Integer),
    Column("digest", Text, nullable=False),
    Column("rows", LargeBinary, nullable=False),  # of each row to be sent, a digest of 16 bytes
    Column("texts", Integer, nullable=False),
    Column("segments", Integer, nullable=False),
    Column("list_file", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_host", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("needed_at", Text, nullable=False),  # when a start last needed it
    Column("state", Text, nullable=False),  # asked, approved, refused or replaced
    Column("approved_by", Text),
    Column("approved_host", Text),
    Column("approved_at", Text),
    Column("refused_by", Text),
    Column("refused_host", Text),
    Column("refused_at", Text),
    Column("reason", Text),  # why it was refused
    Index("approvals_by_campaign", "campaign", "base_url"),
)

#: Outcomes that need no more attention, because a person has dealt with them: of all rows that had this status with
#: these codes then. A dismissal that was taken back gets a date and is not deleted.
dismissals = Table(
    "dismissals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("codes", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("dismissed_by", Text, nullable=False),
    Column("dismissed_at", Text, nullable=False),
    Column("restored_by", Text),
    Column("restored_at", Text),
    Index("dismissals_by_run", "run_id"),
)

#: The rows of a dismissal. A row that is sent again has another `generation`, and needs attention again.
dismissed_rows = Table(
    "dismissed_rows",
    metadata,
    Column("dismissal_id", Integer, ForeignKey("dismissals.id"), primary_key=True, autoincrement=False),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),
)

#: What myKaarma knew about a customer number, VIN or phone when it was last asked.
lookups = Table(
    "lookups",
    metadata,
    Column("base_url", Text, primary_key=True),
    Column("department_uuid", Text, primary_key=True),
    Column("field", Text, primary_key=True),  # as the API calls it, such as customerKey
    Column("term", Text, primary_key=True),
    Column("found", Text, nullable=False),  # JSON list of the customers
    Column("asked_at", Text, nullable=False),
    Index("lookups_by_time", "asked_at"),
)

#: The texts that customers sent, each once, with the text that each answers if there is one. `base_url` is "" if it
#: is unknown, as is an unknown customer or phone (E.164).
replies = Table(
    "replies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("message_uuid", Text, nullable=False),
    Column("customer_uuid", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("body", Text),
    # The request that it answers.
    Column("run_id", Integer),
    Column("row", Integer),
    Column("generation", Integer),
    Column("meaning", Text, nullable=False),  # stop, unclear, start or other
    Column("optout_id", Integer),  # the opt-out that it became
    # What a person decided about it.
    Column("handled_at", Text),
    Column("handled_by", Text),
    Column("handled_as", Text),
    Column("purged_at", Text),
    Index("replies_once", "base_url", "message_uuid", unique=True),
    Index("replies_by_run", "run_id"),
    Index("replies_by_customer", "customer_uuid"),
    Index("replies_by_time", "received_at"),
)


#: A row changes twice while it is sent. On PostgreSQL, a version that finds room in its page needs no new entries in
#: the indexes, and less log (`make bench-cluster`).
ROOM_FOR_CHANGES = text(f"ALTER TABLE {messages.name} SET (fillfactor = 50)")


@event.listens_for(messages, "after_create")
def _leave_room_for_changes(_table: Table, connection: Connection, **_options: object) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(ROOM_FOR_CHANGES)


@event.listens_for(optouts, "after_create")
def _each_opt_out_once(_table: Table, connection: Connection, **_options: object) -> None:
    # Both databases accept this. An `Index` with conditions would import PostgreSQL's dialect at each start.
    connection.execute(
        text(
            "CREATE UNIQUE INDEX optouts_once ON optouts (customer_uuid, phone, base_url) "
            "WHERE removed_at IS NULL"
        )
    )


@event.listens_for(approvals, "after_create")
def _one_open_request(_table: Table, connection: Connection, **_options: object) -> None:
    connection.execute(
        text("CREATE UNIQUE INDEX approvals_open ON approvals (campaign, base_url) WHERE state = 'asked'")
    )
