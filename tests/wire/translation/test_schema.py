"""Schemas are rewritten into what each dialect takes, and never in place."""

import copy
from typing import Any

import pytest

from gateway.wire.neutral import Format
from gateway.wire.translation.schema import (
    for_structured_output,
    has_union,
    is_strict,
    json_instruction,
    tool_parameters,
    without_unions,
)

EMPTY = {"type": "object", "properties": {}}
TEXT, NUMBER = {"type": "string"}, {"type": "number"}


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        (None, EMPTY),
        ({}, EMPTY),
        ("text", EMPTY),
        ({"$schema": "x", "$id": "y"}, EMPTY),
        ({"properties": None}, EMPTY),
        ({"type": ["object", "null"], "properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        ({"type": "string"}, EMPTY),
        ({"type": "string", "enum": ["a"], "description": "d"}, {**EMPTY, "description": "d"}),
        ({"type": "array", "items": TEXT}, EMPTY),
        ({"type": ["string", "null"], "minLength": 1}, EMPTY),
        ({"type": "null"}, EMPTY),
        ({"type": None, "properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        ({**EMPTY, "description": 1}, EMPTY),
        ({**EMPTY, "description": "d", "required": []}, {**EMPTY, "description": "d", "required": []}),
        ({**EMPTY, "$defs": {"x": TEXT}}, {**EMPTY, "$defs": {"x": TEXT}}),
        ({"oneOf": [{"properties": {"a": TEXT}}], "required": ["a"]}, {"type": "object", "properties": {"a": TEXT}}),
    ],
)
def test_parameters_are_always_an_object_with_properties(schema: Any, wanted: dict[str, Any]) -> None:
    """Whatever a client writes as a tool's parameters, an object schema with properties is sent."""
    before = copy.deepcopy(schema)
    assert tool_parameters(schema) == wanted
    assert schema == before


def test_variants_beside_properties_are_kept() -> None:
    """A union in a schema that has properties of its own is not a tool's whole parameters, and stays."""
    schema = {"type": "object", "properties": {"a": TEXT}, "anyOf": [{"required": ["a"]}]}
    assert tool_parameters(schema) == schema


@pytest.mark.parametrize("union", ["oneOf", "anyOf", "allOf"])
def test_variants_become_one_object(union: str) -> None:
    """Variants become the union of their properties, none required; the schema's own property wins, then the first."""
    schema = {
        "description": "d",
        "required": ["a"],
        "properties": {"a": TEXT},
        union: [{"properties": {"a": NUMBER, "b": NUMBER}}, {"properties": {"b": TEXT, "c": TEXT}}, "odd", TEXT],
    }
    assert has_union(schema)
    assert without_unions(schema) == {
        "description": "d",
        "type": "object",
        "properties": {"a": TEXT, "b": NUMBER, "c": TEXT},
    }


def test_a_schema_without_variants_is_left_alone() -> None:
    """A schema without a union at its top level is the same object afterwards; a union further down does not count."""
    schema = {"type": "object", "properties": {"a": {"anyOf": [TEXT, NUMBER]}}}
    assert not has_union(schema) and without_unions(schema) is schema
    assert not has_union(None)


def closed(required: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed([]), True),
        (closed(["a"], a=TEXT), True),
        (closed(["a", "extra"], a=TEXT), True),
        (closed([], a=TEXT), False),
        ({**closed(["a"], a=TEXT), "additionalProperties": True}, False),
        ({"properties": {"a": TEXT}, "required": ["a"]}, False),
        (EMPTY, False),
        (closed("a", a=TEXT), False),
        (closed([["a"]], a=TEXT), False),
        ({**closed([]), "properties": ["a"]}, False),
        (closed(["a"], a=closed(["b"], b=TEXT)), True),
        (closed(["a"], a=closed([], b=TEXT)), False),
        (closed(["a"], a={"type": "array", "items": closed([], b=TEXT)}), False),
        (closed(["a"], a={"anyOf": [TEXT, closed([], b=TEXT)]}), False),
        ({**closed([]), "$defs": {"x": {"type": "object"}}}, False),
        (TEXT, True),
    ],
)
def test_strict_means_closed_and_all_required(schema: Any, strict: bool) -> None:
    """OpenAI's strict mode needs every object, however deep, closed and with all of its properties required."""
    assert is_strict(schema) is strict


def test_large_schemas() -> None:
    """A hundred thousand required properties, and as many variants, give the same answers as a few."""
    names = [f"p{number}" for number in range(100_000)]
    assert is_strict(closed(names, **dict.fromkeys(names, TEXT)))
    assert not is_strict(closed(names[1:], **dict.fromkeys(names, TEXT)))
    variants = [{"properties": {name: TEXT}} for name in names]
    assert without_unions({"anyOf": variants}) == {"type": "object", "properties": dict.fromkeys(names, TEXT)}


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        (EMPTY, {**EMPTY, "additionalProperties": False}),
        ({"properties": {}}, {"properties": {}, "additionalProperties": False}),
        ({"type": "object", "additionalProperties": TEXT}, {"type": "object", "additionalProperties": False}),
        ({"oneOf": [EMPTY]}, {"anyOf": [{**EMPTY, "additionalProperties": False}]}),
        ({"oneOf": [TEXT], "anyOf": [NUMBER]}, {"allOf": [{"anyOf": [TEXT]}], "anyOf": [NUMBER]}),
        (
            {"anyOf": [NUMBER], "oneOf": [TEXT], "allOf": [EMPTY]},
            {"anyOf": [NUMBER], "allOf": [{"anyOf": [TEXT]}, {**EMPTY, "additionalProperties": False}]},
        ),
        (
            {"allOf": [NUMBER], "oneOf": [TEXT], "anyOf": [EMPTY]},
            {"allOf": [NUMBER, {"anyOf": [TEXT]}], "anyOf": [{**EMPTY, "additionalProperties": False}]},
        ),
        ({"oneOf": [NUMBER], "allOf": [TEXT]}, {"anyOf": [NUMBER], "allOf": [TEXT]}),
        ({"type": ["object", "null"]}, {"type": ["object", "null"], "additionalProperties": False}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": "array", "items": EMPTY}, {"type": "array", "items": {**EMPTY, "additionalProperties": False}}),
        ({"$defs": {"x": {"minimum": 1}}}, {"$defs": {"x": {"description": "{minimum: 1}"}}}),
        ({"type": "string", "enum": ["a"]}, {"enum": ["a"]}),
        ({"type": "string", "const": "a"}, {"const": "a"}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "odd"}, {"type": "string", "description": "{format: odd}"}),
        ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}),
        ({"type": "array", "minItems": 2}, {"type": "array", "description": "{minItems: 2}"}),
        ({"$schema": "x", "$id": "y", "type": "string"}, TEXT),
        ({"description": "A d.", "maximum": 3, "not": {}}, {"description": "A d.\n\n{maximum: 3, not: {}}"}),
        (True, True),
    ],
)
def test_constraints_become_a_description(schema: Any, wanted: Any) -> None:
    """Anthropic's structured output gets closed objects; what it does not know moves into the description."""
    before = copy.deepcopy(schema)
    assert for_structured_output(schema) == wanted
    assert schema == before


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    """The names of properties are not keywords: `minimum` and `oneOf` stay what the client calls its members."""
    members = {"minimum": TEXT, "oneOf": NUMBER}
    assert for_structured_output({"type": "object", "properties": members})["properties"] == members


def test_the_instruction_carries_the_schema() -> None:
    """A model that no parameter makes write JSON gets told so, with the schema if there is one."""
    assert json_instruction(Format("json_schema", schema=TEXT)).endswith(':\n{"type":"string"}')
    assert json_instruction(Format("json_object")) == "Respond with a single JSON object and nothing else."
