"""A campaign: the list, the template, the sender, and the sections of `tables`.

`file` reads a campaign file, and `problems` words its mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import tzlocal
from pydantic import Field, PrivateAttr, ValidationError

from batchsend.campaigns.cron import CronTimes, OneTime, Times, first_moment
from batchsend.campaigns.guards_table import Guards
from batchsend.campaigns.hours_tables import State, StateHours
from batchsend.campaigns.problems import problems_of
from batchsend.campaigns.quiet_hours import Hours, Rule
from batchsend.campaigns.state_hours import state_rules
from batchsend.campaigns.tables import (
    Columns,
    ListOptionsTable,
    MessageOptions,
    Notify,
    Recipients,
    Schedule,
    Sending,
    TemplateBy,
)
from batchsend.campaigns.types import ApiUuid, FilePath, Name, Table, ZoneName, in_campaign_folders
from batchsend.campaigns.zones import zone_with_newest_rules
from batchsend.errors import BatchsendError


@dataclass(frozen=True)
class Origin:
    """The source of a campaign: the absolute path of its file, the SHA-256 of its bytes, and the parsed TOML."""

    path: Path
    sha256: str
    data: Mapping[str, Any]
    #: The folder that a relative `list` is in.
    list_folder: Path
    #: The list was named on the command line, so it may be in any folder.
    list_anywhere: bool = False


class Campaign(Table):
    """A campaign file, read and checked. Paths are absolute."""

    name: Name = Field(
        description="The campaign's name. It identifies the campaign in the ledger: "
        "a new name is a new campaign without history."
    )
    formerly: Name | None = Field(
        default=None, description="The name that this campaign was sent under before; keeps its history."
    )
    list: FilePath = Field(
        description="The customer list: a CSV file, a workbook, a Parquet file or a query (.sql). "
        "The path is relative to the campaign file."
    )
    template: FilePath | None = Field(
        default=None,
        description="The template of the text. The path is relative to the campaign file. "
        "Required unless template_by is set.",
    )
    template_by: TemplateBy | None = Field(
        default=None, description="Chooses the template by a column of the list. Use it instead of template."
    )
    department_uuid: ApiUuid | None = Field(
        default=None,
        description="The UUID of the myKaarma department that sends. Not needed if a column of the list has it.",
    )
    user_uuid: ApiUuid | None = Field(
        default=None,
        description="The UUID of the myKaarma user who sends. Not needed if a column of the list has it.",
    )
    department_label: Name | None = Field(
        default=None, description="The department's name, shown in previews. It is never sent."
    )
    timezone: ZoneName | None = Field(
        default=None,
        description="The campaign's time zone, such as America/Chicago. Default: this computer's.",
    )
    columns: Columns = Field(
        default_factory=Columns,
        description="The columns of the list, if their headers differ from the key names.",
    )
    recipients: Recipients = Field(
        default_factory=Recipients, description="Which customers of the list get a text, and how often."
    )
    message: MessageOptions = Field(
        default_factory=MessageOptions,
        description="How myKaarma sends the text, and how its length is counted.",
    )
    sending: Sending = Field(
        default_factory=Sending, description="How fast texts are sent, and when sending stops."
    )
    hours: dict[State, StateHours] = Field(
        default_factory=dict,
        description="Further quiet hours by state: a table such as [hours.FL] for recipients in Florida. "
        "They can only be stricter, because all other quiet hours apply too.",
    )
    guards: Guards = Field(
        default_factory=Guards, description="Checks that refuse to send if the list looks wrong."
    )
    notify: Notify = Field(default_factory=Notify, description="Whom to tell how a start ended.")
    schedule: Schedule | None = Field(default=None, description="When the scheduler starts this campaign.")
    list_options: ListOptionsTable = Field(
        default_factory=ListOptionsTable,
        description="How to read the list file, if it cannot be detected.",
    )

    _origin: Origin = PrivateAttr()

    @classmethod
    def of(cls, origin: Origin) -> Campaign:
        """Makes a campaign from the parsed file. Raises pydantic's `ValidationError`."""
        return cls.model_validate(
            origin.data,
            context={
                "directory": origin.path.parent,
                "list": origin.list_folder,
                "anywhere": ("list",) if origin.list_anywhere else (),
                "origin": origin,
            },
        )

    def model_post_init(self, context: Any, /) -> None:
        self._origin = context["origin"]

    @property
    def path(self) -> Path:
        """The campaign file, absolute."""
        return self._origin.path

    @property
    def directory(self) -> Path:
        """The folder of the campaign file. Its ledger, previews and results go there."""
        return self._origin.path.parent

    @property
    def stem(self) -> str:
        """The file's name without its ending. Results and previews are named after it."""
        return self._origin.path.stem

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes, in hexadecimal."""
        return self._origin.sha256

    @property
    def as_written(self) -> Mapping[str, Any]:
        """The keys of the file with their values, without defaults."""
        return self._origin.data

    @property
    def templates(self) -> tuple[Path, ...]:
        """The template files, the default first."""
        if self.template_by is not None:
            return tuple(dict.fromkeys((self.template_by.default, *self.template_by.cases)))
        return (self.template,) if self.template is not None else ()

    def allows_list(self, path: Path) -> bool:
        """May this file be the list? Only a list that the command line names may be in any folder."""
        return self._origin.list_anywhere or in_campaign_folders(path, self.directory)

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's time zone, or this computer's if the file names none."""
        return zone_with_newest_rules(self.timezone or tzlocal.get_localzone().key)

    @property
    def own_hours(self) -> tuple[tuple[str, Rule], ...]:
        """The rules of states that the campaign adds."""
        return tuple((state, hours.rule) for state, hours in self.hours.items())

    @property
    def quiet_hours(self) -> Hours | None:
        """When no texts are sent; `None` if they are sent at any hour of any day."""
        quiet, days_off = self.sending.quiet_hours, self.sending.holidays
        states = self.own_hours
        lead = timedelta(seconds=self.sending.timeout)
        if quiet is None:
            none = Hours(None, None, self.zone.key, None, lead, days_off, states)
            return none if days_off or states else None
        fixed = None if quiet.timezone == "recipient" else quiet.timezone
        states = (*state_rules(), *states) if quiet.states else states
        return Hours(quiet.from_, quiet.to, self.zone.key, fixed, lead, days_off, states)

    def with_overrides(
        self,
        *,
        list: Path | str | None = None,  # noqa: A002 - the name of the option and of the key
        rate: float | None = None,
        concurrency: int | None = None,
    ) -> Campaign:
        """This campaign with values from the command line; `None` keeps the value of the file.

        `list` is relative to the current directory. Raises `BatchsendError`, which names the option.
        """
        given = {"rate": rate, "concurrency": concurrency}
        sending = {**self._origin.data.get("sending", {})}
        sending |= {key: value for key, value in given.items() if value is not None}
        origin = replace(self._origin, data={**self._origin.data, "sending": sending})
        if list is not None:
            origin = replace(
                origin,
                data={**origin.data, "list": str(list)},
                list_folder=Path.cwd(),
                list_anywhere=True,
            )
        try:
            campaign = Campaign.of(origin)
        except ValidationError as error:
            options = (
                f"--{problem.key.removeprefix('sending.')}: {problem.sentence}"
                for problem in problems_of(error, Campaign)
            )
            raise BatchsendError("\n".join(options)) from error
        return campaign


def times_of(campaign: Campaign) -> Times:
    """The times of a campaign that has a schedule."""
    schedule = campaign.schedule
    if schedule is not None and schedule.cron is not None:
        return CronTimes(schedule.cron, campaign.zone)
    if schedule is not None and schedule.at is not None:
        return OneTime(first_moment(schedule.at, campaign.zone))
    raise ValueError("a campaign without a schedule has no times")


def schedule_words(campaign: Campaign) -> str:
    """`0 10 * * MON-FRI in America/Chicago`. The ledger identifies a schedule by these words."""
    schedule = campaign.schedule
    times = "" if schedule is None else schedule.cron or f"{schedule.at}"
    return f"{times} in {campaign.zone}"
