"""Schemas for Anthropic: what it refuses is rewritten, or the constraint is left out and told."""

import copy
from typing import Any

import pytest

from gateway.wire.profile import Profile
from gateway.wire.translation.schema import can_constrain, with_defs, without_root_ref
from tests.wire.crossings import chat_request, written

TEXT = {"type": "string"}
NODE = {"type": "object", "properties": {"name": TEXT, "next": {"$ref": "#/$defs/Node"}}}
RECURSIVE: dict[str, Any] = {
    "type": "object",
    "properties": {"head": {"$ref": "#/$defs/Node"}},
    "$defs": {"Node": NODE},
}
OLD: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"$ref": "#/definitions/A"}, "definitions": TEXT},
    "required": ["a"],
    "definitions": {
        "A": {"type": "object", "properties": {"b": {"$ref": "#/definitions/definitions"}}},
        "definitions": TEXT,
    },
}
NEW: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/A"}, "definitions": TEXT},
    "required": ["a"],
    "$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/definitions"}}}, "definitions": TEXT},
}
CHAIN = {"$ref": "#/$defs/d0", "$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3000)} | {"d3000": TEXT}}
REFUSED: dict[str, Any] = {
    "recursive": RECURSIVE,
    "itself": {"type": "object", "properties": {"a": {"$ref": "#"}}},
    "in old words": {
        "type": "object",
        "definitions": {"N": {"items": {"$ref": "#/definitions/N"}}},
        "properties": {"n": {"$ref": "#/definitions/N"}},
    },
    "mutual": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"properties": {"b": {"$ref": "#/$defs/B"}}}, "B": {"properties": {"a": {"$ref": "#/$defs/A"}}}},
    },
    "by a property": {"type": "object", "properties": {"a": {"items": {"$ref": "#/properties/a"}}}},
    "elsewhere": {"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}},
    "nowhere": {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
    "allOf with a reference": {"type": "object", "allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": TEXT}},
    "two unions": {"type": "object", "properties": {"a": {"oneOf": [TEXT], "anyOf": [TEXT]}}},
}
GOOD: dict[str, Any] = {
    "none": {"type": "object", "properties": {}},
    "shared": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/$defs/A"}},
        "$defs": {"A": TEXT},
    },
    "old words": OLD,
    "a chain": CHAIN,
    "a default like one": {"type": "object", "default": {"$ref": "#"}, "properties": {}},
    "escaped": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a~1b%20c"}}, "$defs": {"a/b c": TEXT}},
    "a property of that name": {"type": "object", "properties": {"$ref": TEXT}},
}


def asked(schema: Any, **profile: Any) -> tuple[dict[str, Any], list[str]]:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    out, memo = written("openai_chat", chat_request(response_format=form), Profile(**profile))
    return out, list(memo.drops.names)


def test_definitions_become_defs() -> None:
    """`definitions` and references into it get the newer name; a property or a definition of that name keeps its own."""
    before = copy.deepcopy(OLD)
    assert with_defs(OLD) == NEW and before == OLD
    assert with_defs(NEW) == NEW
    both = {"definitions": {"A": TEXT, "B": TEXT}, "$defs": {"A": {"type": "number"}}}
    assert with_defs(both) == {"$defs": {"A": {"type": "number"}, "B": TEXT}}
    assert with_defs({"const": {"definitions": {}}}) == {"const": {"definitions": {}}}
    nested = {"properties": {"p": {"definitions": {"X": TEXT}, "$ref": "#/properties/p/definitions/X"}}}
    assert with_defs(nested)["properties"]["p"] == {"$defs": {"X": TEXT}, "$ref": "#/properties/p/$defs/X"}


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED)
def test_what_anthropic_refuses(schema: Any) -> None:
    """Recursion, references that lead nowhere and combinations that it refuses are known beforehand."""
    assert not can_constrain(with_defs(schema))


@pytest.mark.parametrize("schema", GOOD.values(), ids=GOOD)
def test_what_anthropic_takes(schema: Any) -> None:
    """Everything else is sent as a constraint, also in older words."""
    assert can_constrain(with_defs(schema))


@pytest.mark.parametrize("schema", GOOD.values(), ids=GOOD)
def test_a_good_schema_is_a_constraint(schema: Any) -> None:
    """A schema that Anthropic takes is sent as one, with $defs, and nothing is lost."""
    out, drops = asked(schema)
    sent = out["output_config"]["format"]["schema"]
    assert "definitions" not in sent and "response_format.json_schema" not in drops
    assert set(sent.get("$defs", {})) == set(schema.get("$defs") or schema.get("definitions") or {})


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED)
def test_a_refused_schema_is_a_plain_tool(schema: Any) -> None:
    """Without thinking and tools the schema is the parameters of a tool that must be called, and that is told."""
    out, drops = asked(schema)
    assert "output_config" not in out and "response_format.json_schema" in drops
    assert out["tool_choice"]["type"] == "tool" and "strict" not in out["tools"][0]
    assert out["tools"][0]["input_schema"]["type"] == "object"


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED)
def test_else_it_is_an_instruction(schema: Any) -> None:
    """Where no tool can be forced the schema stands in an instruction, and that is told."""
    out, drops = asked(schema, tool_choice=("auto",))
    assert "output_config" not in out and "response_format.json_schema" in drops
    assert "JSON schema" in str(out["system"]) and "tools" not in out


@pytest.mark.parametrize(("schema", "strict"), [(RECURSIVE, False), (REFUSED["elsewhere"], False), (OLD, True)])
def test_a_strict_tool_becomes_a_plain_one(schema: Any, strict: bool) -> None:
    """A strict tool whose schema is refused is sent without `strict`, and that is told."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    out, memo = written("openai_chat", chat_request(tools=[tool]), Profile(strict_tools=True))
    assert out["tools"][0].get("strict", False) is strict
    assert ("tools.strict" in memo.drops.names) is not strict
    assert "definitions" not in out["tools"][0]["input_schema"]


def test_a_reference_at_the_top_is_put_in_its_place() -> None:
    """A tool's parameters that are a reference become the object that it names."""
    schema = {"$ref": "#/definitions/A", "definitions": {"A": {"type": "object", "properties": {"x": TEXT}}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    out, _ = written("openai_chat", chat_request(tools=[tool]))
    assert out["tools"][0]["input_schema"]["properties"] == {"x": TEXT}
    assert "$ref" not in out["tools"][0]["input_schema"]
    circle = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert without_root_ref(circle)["$defs"] == circle["$defs"]


def test_large_schemas() -> None:
    """Ten thousand definitions, in a row or in a circle, are judged at once and without recursion."""
    ring = {f"d{n}": {"$ref": f"#/$defs/d{(n + 1) % 10_000}"} for n in range(10_000)}
    assert not can_constrain({"$ref": "#/$defs/d0", "$defs": ring})
