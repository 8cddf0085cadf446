"""The JSON Schema of the campaign file, with which editors complete, explain and check it."""

from __future__ import annotations

from typing import Any

from batchsend.campaigns.campaign import Campaign


def campaign_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a campaign file: every key with its description and default."""
    generated = Campaign.model_json_schema(by_alias=True, mode="validation")
    schema = _plain(generated, generated.pop("$defs", {}))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "batchsend campaign",
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
