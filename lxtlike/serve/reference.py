"""The page that documents the API: OpenAPI in words, with nothing from a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

Schema = Mapping[str, Any]

_BOUNDS = {
    "minLength": "of at least {:g} characters",
    "maxLength": "of at most {:g} characters",
    "minItems": "at least {:g}",
    "minimum": "from {:.0f}",
    "maximum": "to {:.0f}",
}


def reference(openapi: Schema) -> str:
    """A page that lists every operation of an OpenAPI document with its parameters, its body and its answers."""
    environment = Environment(
        loader=PackageLoader("lxtlike.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"kind": partial(kind, openapi), "resolved": partial(resolved, openapi)}
    return environment.get_template("reference.html").render(api=openapi, operations=list(operations(openapi)))


def operations(openapi: Schema) -> Iterator[dict[str, Any]]:
    """Each operation with its method and path, and the schema of the JSON it takes (None: none)."""
    for path, item in openapi["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            yield {
                "method": method.upper(),
                "path": path,
                "parameters": (),
                "description": "",
                **operation,
                "body": content.get("application/json", {}).get("schema"),
            }


def resolved(openapi: Schema, schema: Schema) -> Schema:
    """The schema that a reference refers to; any other one itself."""
    if "$ref" not in schema:
        return schema
    found: Schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def kind(openapi: Schema, schema: Schema) -> str:
    """A schema in words: ``integer from 1 to 512``."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(kind(openapi, one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    words = [str(schema.get("type", "anything"))]
    if "items" in schema:
        words.append(f"of {kind(openapi, schema['items'])}")
    words += [said.format(schema[bound]) for bound, said in _BOUNDS.items() if bound in schema]
    return " ".join(words)
