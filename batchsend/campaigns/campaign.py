"""A campaign: what is sent to whom, by whom, and with which tables of `campaign_tables.py`.

`campaign_file.py` reads the file; `campaign_problems.py` has the sentences about what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import tzlocal
from pydantic import Field, PrivateAttr, ValidationError

from batchsend.campaigns.cron import CronTimes, OneTime, Times, first_moment
from batchsend.campaigns.problems import problems_of
from batchsend.campaigns.tables import (
    Columns,
    Guards,
    ListOptionsTable,
    MessageOptions,
    Recipients,
    Schedule,
    Sending,
    Table,
    TemplateBy,
)
from batchsend.campaigns.types import ApiUuid, FilePath, Name, ZoneName
from batchsend.errors import BatchsendError


@dataclass(frozen=True)
class Origin:
    """Where a campaign comes from: its file (absolute), the SHA-256 of its bytes, its data as TOML has it."""

    path: Path
    sha256: str
    data: Mapping[str, Any]
    #: Where a relative `list` counts from.
    list_folder: Path


class Campaign(Table):
    """A campaign file as read and checked. Paths are absolute."""

    name: Name = Field(
        description="The campaign's name. The ledger knows the campaign by it: "
        "a new name is a new campaign, without history."
    )
    formerly: Name | None = Field(
        default=None, description="The name under which this campaign was sent before; keeps its history."
    )
    list: FilePath = Field(
        description="The customers: a CSV file or a workbook, as a path relative to the campaign file."
    )
    template: FilePath | None = Field(
        default=None,
        description="The text's template, as a path relative to the campaign file; "
        "needed where there is no template_by.",
    )
    template_by: TemplateBy | None = Field(
        default=None, description="Chooses the template by a column of the list, instead of template."
    )
    department_uuid: ApiUuid | None = Field(
        default=None,
        description="The UUID of the myKaarma department that sends. Left out: from a column of the list.",
    )
    user_uuid: ApiUuid | None = Field(
        default=None,
        description="The UUID of the myKaarma user who sends. Left out: from a column of the list.",
    )
    department_label: Name | None = Field(
        default=None, description="The department's name, for the people who look at previews; never sent."
    )
    timezone: ZoneName | None = Field(
        default=None,
        description="The campaign's time zone, such as America/Chicago. Left out: this computer's.",
    )
    columns: Columns = Field(
        default_factory=Columns, description="Which of the list's columns are what, where headers differ."
    )
    recipients: Recipients = Field(
        default_factory=Recipients, description="Who of the list is texted, and how often."
    )
    message: MessageOptions = Field(
        default_factory=MessageOptions, description="How myKaarma sends the text, and how it is counted."
    )
    sending: Sending = Field(
        default_factory=Sending, description="How fast texts leave, and when sending stops."
    )
    guards: Guards = Field(
        default_factory=Guards, description="Nothing is sent where the list cannot be right."
    )
    schedule: Schedule | None = Field(default=None, description="When the scheduler starts this campaign.")
    list_options: ListOptionsTable = Field(
        default_factory=ListOptionsTable,
        description="How the list's file is read, where it cannot be found out.",
    )

    _origin: Origin = PrivateAttr()

    @classmethod
    def of(cls, origin: Origin) -> Campaign:
        """The campaign that a file says. Raises pydantic's `ValidationError`."""
        return cls.model_validate(
            origin.data,
            context={"directory": origin.path.parent, "list": origin.list_folder, "origin": origin},
        )

    def model_post_init(self, context: Any, /) -> None:
        self._origin = context["origin"]

    @property
    def path(self) -> Path:
        """The campaign file, absolute."""
        return self._origin.path

    @property
    def directory(self) -> Path:
        """The folder of the campaign file: where its ledger, previews and results go."""
        return self._origin.path.parent

    @property
    def stem(self) -> str:
        """The file's name without its ending: what results and previews are called after."""
        return self._origin.path.stem

    @property
    def sha256(self) -> str:
        """Of the file's bytes, in hexadecimal."""
        return self._origin.sha256

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's time zone; this computer's where the file names none."""
        return ZoneInfo(self.timezone) if self.timezone else tzlocal.get_localzone()

    def with_overrides(
        self,
        *,
        list: Path | str | None = None,  # noqa: A002 - named as the option and the key are
        rate: float | None = None,
        concurrency: int | None = None,
    ) -> Campaign:
        """This campaign with what the command line says instead; None keeps what the file says.

        `list` is relative to the current directory. Raises `BatchsendError` that names the option.
        """
        given = {"rate": rate, "concurrency": concurrency}
        sending = {**self._origin.data.get("sending", {})}
        sending |= {key: value for key, value in given.items() if value is not None}
        origin = replace(self._origin, data={**self._origin.data, "sending": sending})
        if list is not None:
            origin = replace(origin, data={**origin.data, "list": str(list)}, list_folder=Path.cwd())
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
    """`0 10 * * MON-FRI in America/Chicago`: what the ledger knows a schedule by, and people too."""
    schedule = campaign.schedule
    said = "" if schedule is None else schedule.cron or f"{schedule.at}"
    return f"{said} in {campaign.zone}"
