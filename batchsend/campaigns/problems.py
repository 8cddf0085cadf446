"""Turns pydantic's errors about a campaign file into sentences that a person can act on.

It works with any model, so all sentences are in this module and the models do not contain any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from batchsend.campaigns.types import MisfitError, Table, did_you_mean
from batchsend.lists.headers import nearest

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class KeyProblem:
    """One mistake: the dotted key (`sending.rate`) and a sentence about it."""

    key: str
    sentence: str

    def __str__(self) -> str:
        return f"`{self.key}`: {self.sentence}"


# --- the keys of the models


def submodel(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `Consent | None`; `None` if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := submodel(part))), None)


def keys_of(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The keys of a table as the file spells them -> the model of the key if it is a table itself."""
    return {field.alias or name: submodel(field.annotation) for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    names_entry = False
    for part in loc:
        if names_entry:  # such as FL in [hours.FL]
            names_entry = False
            continue
        names_entry = found is not None and str(part) in _tables_of_tables(found)
        found = keys_of(found).get(str(part)) if found else None
    return found


def _tables_of_tables(model: type[BaseModel]) -> set[str]:
    """The keys of tables whose entries have names of the user's choice."""
    fields = model.model_fields.items()
    return {field.alias or name for name, field in fields if get_origin(field.annotation) is dict}


def _places(model: type[BaseModel]) -> dict[str, list[str]]:
    """Every key of the top level and of the sections -> its places, in words."""
    places: dict[str, list[str]] = {}
    for key, section in keys_of(model).items():
        places.setdefault(key, []).append("at the top of the file, above the first [section]")
        for inner in keys_of(section) if section and key in SECTIONS else ():
            places.setdefault(inner, []).append(f"under [{key}]")
    return places


#: Tables with a header in square brackets. The others (`consent`, `template_by` ...) are inline tables.
SECTIONS = ("columns", "recipients", "message", "sending", "guards", "notify", "schedule", "list_options")

# --- unknown keys

_SETTINGS = {
    "username": "MYKAARMA_USERNAME",
    "password": "MYKAARMA_PASSWORD",
    "base_url": "MYKAARMA_BASE_URL",
    "ledger": "BATCHSEND_LEDGER",
}


def _is_a_setting(name: str) -> str:
    return (
        "is a setting and does not belong in a campaign file: delete it, "
        f"and set {_SETTINGS[name]} in the environment or in a file named .env in the same folder"
    )


def _unknown(model: type[BaseModel], loc: Loc) -> str:
    key, fold = str(loc[-1]), str(loc[-1]).strip().lower().replace("-", "_")
    bare = fold.removeprefix("mykaarma_").removeprefix("batchsend_")
    if bare in _SETTINGS:
        return _is_a_setting(bare)
    table = _model_at(model, loc[:-1])
    here = keys_of(table) if table else {}
    if table and issubclass(table, Table) and fold in table.wrong_keys:
        return f"unknown key; {table.wrong_keys[fold]}"
    if fold in here:
        return f'unknown key; did you mean "{fold}"?'
    places = _places(model)
    if fold in places:
        return f"belongs {' or '.join(places[fold])}"
    near = nearest(key, [*here, *places])
    if near in here:
        return f'unknown key; did you mean "{near}"?'
    if near is not None:
        return f'unknown key; did you mean "{near}", which belongs {" or ".join(places[near])}?'
    if near := nearest(bare, _SETTINGS):
        return _is_a_setting(near)
    return f"unknown key; known here: {', '.join(here)}"


# --- invalid values

_EXPECTED = {
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "greater_than": "a number above {gt:,g}",
    "greater_than_equal": "{ge:,g} or more",
    "less_than_equal": "at most {le:,g}",
    "string_too_long": "at most {max_length} characters",
    "tuple_type": "a list in square brackets",
    "too_short": "at least one entry",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "datetime_type": "a date and time such as 2026-12-01T10:00:00, without quotes",
    "timezone_naive": "a date and time without an offset (it is in the campaign's time zone)",
}


def shown(value: object) -> str:
    """A value as the file spells it, shortened."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = value if len(value) <= 60 else f"{value[:57]}..."
            return f'"{"".join(c if c.isprintable() else repr(c)[1:-1] for c in text)}"'
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(shown(entry) for entry in value)}]" if len(value) <= 3 else "a longer list"
        case Mapping():
            return "a table"
    return str(value)[:60]


_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "on"), "true"),
    **dict.fromkeys(("false", "no", "n", "off"), "false"),
}


def _hint(kind: str, value: object) -> str:
    """How to fix the most common type errors."""
    if kind == "string_type" and isinstance(value, int | float):
        return f'write it in quotes: "{shown(value)}"'
    if kind == "tuple_type" and isinstance(value, str):
        return f"write [{shown(value)}]"
    if kind == "tuple_type" and isinstance(value, Mapping):
        return "put a file name that contains a dot in quotes"
    quoted_number = kind in ("int_type", "float_type") and _is_number(value)
    if isinstance(value, str) and quoted_number:
        return f"write it without the quotes: {value.strip()}"
    if kind == "bool_type" and (meant := _BOOLEANS.get(str(value).strip().lower())):
        return f"write it without the quotes: {meant}"
    if kind == "model_type" and isinstance(value, list):
        return "write its name in single brackets"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value, re.ASCII))


def sentence(expected: str, value: object, hint: str = "", *, show: bool = True) -> str:
    found = f", but it is {shown(value)}" if show else ""
    return f"expected {expected}{found}{f'; {hint}' if hint else ''}"


def _misfit(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        table = _model_at(model, error["loc"][:-1])
        fields = table.model_fields.values() if table else ()
        names = dict(zip(keys_of(table), fields, strict=True)) if table else {}
        return f"is missing. {names[str(error['loc'][-1])].description}"
    if kind == "value_error" and isinstance(wrong := context.get("error"), MisfitError):
        return sentence(wrong.expected, value, wrong.hint, show=wrong.show)
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", '"')
        near = nearest(value, re.findall('"([^"]*)"', expected)) if isinstance(value, str) else None
        return sentence(expected, value, did_you_mean(near))
    if kind in _EXPECTED:
        return sentence(_EXPECTED[kind].format(**context), value, _hint(kind, value))
    return error["msg"]


# --- all problems


def dotted(loc: Loc) -> str:
    """`("recipients", "key", 0)` -> `recipients.key[1]`: entries are counted from 1, as people do."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[KeyProblem]:
    """Converts pydantic's errors about `model`, in pydantic's order."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic counts only valid entries; each invalid one has its own error
        text = (
            _unknown(model, detail["loc"]) if detail["type"] == "extra_forbidden" else _misfit(model, detail)
        )
        yield KeyProblem(dotted(detail["loc"]), text)
