"""The pieces of which the JSON Schemas of documents are made: texts, words of a type, lists, records."""

from typing import Any, get_args, get_type_hints

Shape = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
TEXT: Shape = {"type": "string"}
FLAG: Shape = {"type": "boolean"}
NUMBER: Shape = {"type": "integer"}
MOMENT: Shape = {"type": "string", "format": "date-time"}


def words(literal: object) -> Shape:
    """One of the words of a Literal."""
    return {"enum": list(get_args(literal))}


def field(owner: type, name: str) -> Shape:
    """One of the words that a field of a dataclass may have."""
    return words(get_type_hints(owner)[name])


def rows(of: Shape) -> Shape:
    """A list."""
    return {"type": "array", "items": of}


def record(**fields: Shape) -> Shape:
    """An object that has all of these fields."""
    return {"type": "object", "required": list(fields), "properties": fields}


def maybe(shape: Shape) -> Shape:
    """Something, or null."""
    return {"anyOf": [shape, {"type": "null"}]}


def document(title: str, shape: Shape) -> Shape:
    """A whole document."""
    fields = {"version": {"const": 1}, **shape["properties"]}
    return {
        "$schema": DRAFT,
        "title": title,
        **shape,
        "required": ["version", *shape["required"]],
        "properties": fields,
    }
