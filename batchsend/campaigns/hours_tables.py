"""The tables and values of the campaign file that say when no texts are sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from batchsend.campaigns.days_off import known_day, nearest_day
from batchsend.campaigns.quiet_hours import ALL_DAY, Rule, Window
from batchsend.campaigns.types import MisfitError, RecipientZone, Table, did_you_mean
from batchsend.campaigns.zones import nearest_state, state_code
from batchsend.lists.headers import nearest

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "TCPA": {"from": "21:00", "to": "08:00"},
    "US-states": {"from": "21:00", "to": "08:00", "states": True},
}
_NO_TEXTS = "no texts"
_DAYS = 'days such as "US", "US-LA", "Good Friday", "2026-12-24" or "12-24" (each year)'


def _time_of_day(value: object) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value.strip(), re.ASCII):
        hour, minute = value.strip().split(":")
        return time(int(hour), int(minute))
    raise MisfitError('a time of day from "00:00" to "23:59"')


TimeOfDay = Annotated[
    time, BeforeValidator(_time_of_day), WithJsonSchema({"type": "string"}, mode="validation")
]


def _different(begins: object, ends: object) -> None:
    if begins is not None and begins == ends:
        raise MisfitError("quiet hours that begin and end at different times", show=False)


class QuietHours(Table):
    """The hours in which no texts are sent."""

    from_: TimeOfDay = Field(alias="from", description='When quiet hours begin, such as "21:00".')
    to: TimeOfDay = Field(
        description='When quiet hours end, such as "08:00". If it is earlier than from: on the next day.'
    )
    timezone: RecipientZone = Field(
        default="recipient",
        description='The time zone of from and to: "recipient" for each recipient\'s own, or an IANA time zone.',
    )
    states: bool = Field(
        default=False,
        description="Whether the stricter hours, Sundays and holidays of the recipient's state apply too. "
        "`batchsend hours` lists them.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _different(self.from_, self.to)
        if self.states and self.timezone != "recipient":
            raise MisfitError(
                'timezone = "recipient" together with states = true',
                "the hours of a state are in the recipient's time",
                show=False,
            )
        return self


def _quiet_hours(value: object) -> object:
    if isinstance(value, str) and value in _PRESETS:
        return _PRESETS[value]
    if isinstance(value, Mapping | None):
        return value
    near = nearest(value, _PRESETS) if isinstance(value, str) else None
    raise MisfitError('"TCPA", "US-states" or a table', did_you_mean(near))


class DayHours(Table):
    """The quiet hours of one day of the week."""

    from_: TimeOfDay = Field(alias="from", description='When quiet hours begin, such as "21:00".')
    to: TimeOfDay = Field(description='When quiet hours end on that day, such as "12:00".')

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        _different(self.from_, self.to)
        return self


def _day_hours(value: object) -> object:
    if isinstance(value, Mapping | None) or value == _NO_TEXTS:
        return value
    near = nearest(value, [_NO_TEXTS]) if isinstance(value, str) else None
    raise MisfitError('"no texts" or a table with from and to', did_you_mean(near))


def _day_off(value: object) -> str:
    if isinstance(value, date):
        value = value.isoformat()
    if isinstance(value, str) and (known := known_day(value)):
        return known
    raise MisfitError(_DAYS, did_you_mean(nearest_day(value) if isinstance(value, str) else None))


def _state(value: str) -> str:
    if code := state_code(value):
        return code
    raise MisfitError('the two letters of a state, such as "FL"', did_you_mean(nearest_state(value)))


QuietHoursValue = Annotated[
    QuietHours | None,
    BeforeValidator(_quiet_hours, json_schema_input_type=Literal["TCPA", "US-states"] | QuietHours),
]
DayHoursValue = Annotated[
    Literal["no texts"] | DayHours | None,
    BeforeValidator(_day_hours, json_schema_input_type=Literal["no texts"] | DayHours),
]
DaysOff = Annotated[
    tuple[
        Annotated[str, BeforeValidator(_day_off), WithJsonSchema({"type": "string"}, mode="validation")], ...
    ],
    Field(strict=False),
]
State = Annotated[str, AfterValidator(_state)]


class StateHours(Table):
    """Quiet hours of one state, in addition to all others that apply there."""

    wrong_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("monday", "tuesday", "wednesday", "thursday", "friday"),
        "only saturday and sunday can have hours of their own; from and to are those of all other days",
    )

    from_: TimeOfDay | None = Field(
        default=None, alias="from", description='When quiet hours begin in this state, such as "20:00".'
    )
    to: TimeOfDay | None = Field(
        default=None, description='When quiet hours end in this state, such as "09:00".'
    )
    saturday: DayHoursValue = Field(
        default=None,
        description='"no texts", or the quiet hours of Saturdays: a table with from and to.',
    )
    sunday: DayHoursValue = Field(
        default=None,
        description='"no texts", or the quiet hours of Sundays: a table with from and to.',
    )
    holidays: DaysOff = Field(
        default=(), description="Days without texts in this state, as in holidays under [sending]."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _different(self.from_, self.to)
        if (self.from_ is None) != (self.to is None):
            raise MisfitError("both from and to", show=False)
        if self.rule == Rule():
            raise MisfitError("from and to, saturday, sunday or holidays", show=False)
        return self

    @property
    def rule(self) -> Rule:
        daily = Window(self.from_, self.to) if self.from_ is not None and self.to is not None else None
        return Rule(daily, _window(self.saturday), _window(self.sunday), self.holidays)


def _window(hours: Literal["no texts"] | DayHours | None) -> Window | None:
    if isinstance(hours, DayHours):
        return Window(hours.from_, hours.to)
    return None if hours is None else ALL_DAY
