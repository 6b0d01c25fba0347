"""The JSON Schema of `openmsi.toml`: what editors complete and check with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from openmsi_core.settings.tables import Document

_DIALECT = GenerateJsonSchema.schema_dialect
_KAFKA_VALUE = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "object"]},
        {"type": "array", "items": {"type": "string"}},
    ]
}


def schema_with(options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The schema of the whole file. ``options`` is the schema of each plugin's options, by the names it is called.

    A run without ``plugin`` has the plugin of its own name. Options of a plugin that is not among them may be any.
    Nothing is required that a flag may give.
    """
    schema = Document.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    _tidy(schema)
    schema["properties"]["kafka"] |= {"additionalProperties": _KAFKA_VALUE, "description": "librdkafka's options."}
    run = definitions["RunSettings"]
    run.pop("required", None)  # the plugin is by default the run's name
    run["allOf"] = [_when_named(name) for name in sorted(options)]
    named = {name: _by_its_own_name(name) for name in sorted(options)}
    schema["properties"]["run"] = {
        "type": "object",
        "description": "One table for each run, [run.NAME].",
        "properties": named,
        "additionalProperties": {"$ref": "#/$defs/RunSettings"},
    }
    for name, each in options.items():
        plain = dict(each)
        definitions |= plain.pop("$defs", {})
        definitions[_options_of(name)] = plain
    return {"$schema": _DIALECT} | schema | {"title": "openmsi.toml"}


def _options_of(name: str) -> str:
    return "options." + re.sub(r"[^\w.-]", ".", name, flags=re.ASCII)  # what a reference may hold as it is


def _options_ref(name: str) -> dict[str, Any]:
    return {"properties": {"options": {"$ref": f"#/$defs/{_options_of(name)}"}}}


def _when_named(name: str) -> dict[str, Any]:
    return {"if": {"properties": {"plugin": {"const": name}}, "required": ["plugin"]}, "then": _options_ref(name)}


def _by_its_own_name(name: str) -> dict[str, Any]:
    without = {"if": {"not": {"required": ["plugin"]}}, "then": _options_ref(name)}
    return {"allOf": [{"$ref": "#/$defs/RunSettings"}, without]}


def _tidy(schema: dict[str, Any]) -> None:
    """Take out the titles that pydantic makes up from names, at any depth."""
    properties = [each for table in (schema, *schema["$defs"].values()) for each in table["properties"].values()]
    for each in properties:
        each.pop("title", None)
