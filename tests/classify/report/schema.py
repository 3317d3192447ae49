"""``schema.json`` from the classes of the results; run as a module, it writes the file.

``python -m tests.classify.report.schema``
"""

import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from inspect import cleandoc

from headbench.classify.checked import json_fields
from headbench.classify.report.results import SCHEMA_VERSION, Results
from tests.conftest import ROOT

PATH = ROOT / "classify/report/schema.json"
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict:
    """JSON schema of ``results.json``."""
    definitions: dict[str, dict] = {}
    found = object_of(Results, definitions)
    found["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "headbench results"}
    return head | found | {"$defs": dict(sorted(definitions.items()))}


def object_of(kind: type, definitions: dict[str, dict]) -> dict:
    """Of a dataclass or a named tuple: every field is required, no other is allowed."""
    about = described(kind)
    hints = typing.get_type_hints(kind)
    properties = {
        name.rstrip("_"): type_of(hints[name], definitions) | about.get(name, {})
        for name in json_fields(kind)
    }
    return {
        "type": "object",
        **about[""],
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def type_of(hint: object, definitions: dict[str, dict]) -> dict:
    """Of a type annotation; what our own classes are is added to the definitions."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [type_of(each, definitions) for each in arguments]}
    if hint is types.NoneType:
        return {"type": "null"}
    if hint is typing.Any:
        return {}
    if origin in (Sequence, list, tuple):
        return {"type": "array", "items": type_of(arguments[0], definitions)}
    if origin in (Mapping, dict):
        values = type_of(arguments[1], definitions)
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    definitions[hint.__name__] = object_of(hint, definitions)
    return {"$ref": f"#/$defs/{hint.__name__}"}


def described(kind: type) -> dict[str, dict]:
    """Descriptions out of the docstring: of each attribute, and of the whole under ""."""
    summary, _, attributes = cleandoc(kind.__doc__ or "").partition("Attributes\n----------\n")
    found = {"": {"description": " ".join(summary.split())}}
    for names, text in re.findall(
        r"^(\w[\w, ]*) : .*\n((?:    .*\n?|\n)+)", attributes, re.MULTILINE
    ):
        for name in names.split(", "):
            found[name] = {"description": " ".join(text.split())}
    return found


if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(), indent=1) + "\n", "utf-8")
