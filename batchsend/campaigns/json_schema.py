"""The JSON Schema of the campaign file, with which editors complete, explain and check it."""

from __future__ import annotations

import json
from os.path import lexists
from pathlib import Path
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError

#: Editors look for the schema here, because the first line of a new campaign file names it.
SCHEMA_FILE = "campaign.schema.json"
_TITLE = "batchsend campaign"


def schema_text() -> str:
    """The JSON Schema as a file has it."""
    return json.dumps(campaign_schema(), indent=2) + "\n"


def write_schema(path: Path) -> bool:
    """Writes the JSON Schema to `path`, also in place of an older one. Returns whether anything changed.

    Raises `BatchsendError` if another file is there, or it cannot be written.
    """
    text = schema_text()
    try:
        present = path.read_bytes() if lexists(path) else b""
        if present and not _is_schema(present):
            raise BatchsendError(f"{path}: another file is there already. Choose another name with --out.")
        if present == text.encode():
            return False
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BatchsendError(
            f"{path}: cannot be written ({error.strerror}). Choose another folder."
        ) from error
    return True


def _is_schema(content: bytes) -> bool:
    try:
        read = json.loads(content)
    except ValueError:
        return False
    return isinstance(read, dict) and read.get("title") == _TITLE


def campaign_schema() -> dict[str, Any]:
    """JSON Schema of a campaign file: every key with its description and default.

    Draft 7 is the newest that editors for TOML understand.
    """
    generated = Campaign.model_json_schema(by_alias=True, mode="validation")
    schema = _plain(generated, generated.pop("$defs", {}))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": _TITLE,
        **schema,
        "oneOf": [{"required": ["template"]}, {"required": ["template_by"]}],
    }


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    """`node` with its references resolved and without null, which TOML does not have."""
    if isinstance(node, list):
        return [_plain(entry, definitions) for entry in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _plain({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option != {"type": "null"}]
        if len(options) == 1:
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return _plain({**options[0], **rest}, definitions)
        node = {**node, "anyOf": options}
    return {
        key: _properties(value, definitions) if key == "properties" else _plain(value, definitions)
        for key, value in node.items()
        if key != "title" and not (key == "default" and value is None)
    }


def _properties(properties: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain(value, definitions) for key, value in properties.items()}
