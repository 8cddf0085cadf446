"""The section `[guards]` of a campaign file: keys, limits, defaults and descriptions."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, WithJsonSchema

from batchsend.campaigns.types import Duration, MisfitError, Table, did_you_mean
from batchsend.lists.headers import nearest

#: The names of the lint's own rules.
LintRuleName = Literal[
    "short_link",
    "forbidden_word",
    "second_opt_out",
    "no_sender",
    "capitals",
    "placeholder",
    "doubled_word",
    "plain_link",
    "other_value",
]


def _ignored_rule(value: str) -> str:
    # Which packages are installed differs between computers, so the plan checks the names of their rules.
    known = get_args(LintRuleName)
    if value not in known and ((near := nearest(value, known)) or not value.isidentifier()):
        raise MisfitError(f"the name of a rule: {', '.join(known)}", did_you_mean(near))
    return value


IgnoredRule = Annotated[
    str,
    AfterValidator(_ignored_rule),
    WithJsonSchema(
        {"anyOf": [{"enum": list(get_args(LintRuleName))}, {"type": "string", "pattern": r"^\w+$"}]}
    ),
]


class Guards(Table):
    """Checks that refuse to send if the list looks wrong."""

    max_texts: int | None = Field(
        default=None, ge=1, description="Nothing is sent if the run has more texts than this."
    )
    min_texts: int | None = Field(
        default=None, ge=1, description="Nothing is sent if the run has fewer texts than this."
    )
    list_max_age: Duration | None = Field(
        default=None,
        description="Nothing is sent, and the start is refused, if the list file is older than this.",
    )
    list_settle: Duration | None = Field(
        default=None,
        description="Waits until the list and the suppression files have not changed for this long, so that no "
        "file is read while it is still being written.",
    )
    empty_list: Literal["error", "ok"] = Field(
        default="error", description='Whether a list without rows is an "error" or "ok".'
    )
    require_history: bool = Field(
        default=False,
        description="Nothing is sent if the ledger does not know the campaign, because it was lost or replaced. "
        "The first start is made by hand with --new-campaign. Set it for scheduled campaigns.",
    )
    unusual: Literal["warn", "refuse"] = Field(
        default="warn",
        description="What to do if a run has far more or far fewer texts than any earlier one: "
        '"warn", or "refuse" until a person confirms the number with --expect.',
    )
    lint: Literal["warn", "error", "off"] = Field(
        default="warn",
        description="What to do if a text has something that carriers block or customers dislike, such as a "
        'shortened link: "warn" shows it, "error" sends nothing, "off" does not look.',
    )
    lint_ignore: Annotated[tuple[IgnoredRule, ...], Field(strict=False)] = Field(
        default=(),
        description="Rules of the lint that are not applied, such as capitals. Installed packages can add rules.",
    )
    approval: bool = Field(
        default=False,
        description="Whether another person than the one who sends must approve the texts first. "
        "If any text, recipient or sender changes after that, it must be approved again.",
    )
