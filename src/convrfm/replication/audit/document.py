"""`audit.json`: the content of the page for programs, and the schema that it follows."""

import math
from datetime import datetime
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from convrfm.replication.audit.outcome import Audit

__all__ = ["as_document", "as_text", "document_schema"]

FORMAT = 2
"""Counts up when a key changes its meaning or goes away."""

NOT_FINITE = ["NaN", "Infinity", "-Infinity"]
"""What stands in the place of numbers that JSON does not have."""


def as_document(audit: Audit, made: datetime) -> dict[str, Any]:
    """Give the content of `audit.json`.

    Args:
        audit: what was found.
        made: when.
    """
    return {
        "format": FORMAT,
        "made": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "convrfm": version("convrfm"),
        **_jsonable(audit.as_json()),
    }


def as_text(name: str) -> str:
    """A name with question marks for what is no text: names of files may hold any bytes, and JSON halves of letters."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _jsonable(value: Any) -> Any:
    """A value with lists for tuples, words for numbers that are not finite, and text for names of files that are none."""
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, dict):
        return {key: _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else NOT_FINITE[1 if value > 0 else 2]
    return value


def document_schema() -> dict[str, Any]:
    """Give the JSON schema of `audit.json`, made from the classes of `convrfm.replication.audit.outcome`."""
    schema = TypeAdapter(Audit).json_schema()
    head = {
        "format": {"const": FORMAT},
        "made": {"type": "string", "format": "date-time"},
        "convrfm": {"type": "string"},
        "trusted": {"type": "boolean"},
    }
    schema["properties"] = head | schema["properties"]
    schema["required"] = [*head, *schema["required"]]
    schema["title"] = "audit.json"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(schema)}


def _closed(schema: Any) -> Any:
    """A schema that allows words for numbers that are not finite, and no keys but its own."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        titles = {key: value for key, value in schema.items() if key != "type"}
        return {**titles, "anyOf": [{"type": "number"}, {"enum": NOT_FINITE}]}
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed["additionalProperties"] = False
    return closed
