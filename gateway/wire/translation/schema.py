"""Rewrites JSON schemas that another dialect would refuse: tool parameters and structured output."""

from typing import Any
from urllib.parse import unquote

import msgspec

from gateway.wire.neutral import Format

# The keywords that Anthropic's own SDK keeps in a schema for structured output (anthropic.lib._parse._transform).
_KEPT = frozenset(
    {
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "$defs",
        "$ref",
        "description",
        "title",
    }
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_UNIONS = ("oneOf", "anyOf", "allOf")
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties"})  # their values are schemas by name
_NEW_NAMES = {"definitions": "$defs"}
_MAX_HOPS, _MAX_NODES = 10, 200_000
_LITERALS = frozenset({"const", "enum", "default", "examples"})  # their values are no schemas


def tool_parameters(schema: Any) -> dict[str, Any]:
    """Rewrite a tool's parameters as every dialect takes them: an object with properties.

    See docs/wire/tools.md#definitions.
    """
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    tidy = {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
    if not may_be_object(schema):
        tidy = {name: value for name, value in tidy.items() if name in ("description", "title", "$defs", "definitions")}
    if any(union in tidy for union in _UNIONS) and "properties" not in tidy:
        tidy = _merge_variants(tidy)
    tidy["type"] = "object"
    if not isinstance(tidy.get("properties"), dict):
        tidy["properties"] = {}
    if "description" in tidy and not isinstance(tidy["description"], str):
        del tidy["description"]
    return tidy


def may_be_object(schema: Any) -> bool:
    """Return whether an object can match a schema by its type. What says otherwise is no tool's parameters."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    return "object" in kind if isinstance(kind, list) else kind in (None, "object")


def with_defs(schema: Any) -> Any:
    """Rewrite `definitions` as `$defs`, and every `$ref` into them: Anthropic knows the newer name only."""
    if isinstance(schema, list):
        return [with_defs(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            inner = {key: with_defs(one) for key, one in value.items()}
            newer = _NEW_NAMES.get(str(name)) or name
            known = out.get(newer, {})
            out[newer] = known | inner if newer == name else inner | known
        elif name == "$ref" and isinstance(value, str):
            out[name] = _pointer(value)
        else:
            out[name] = value if name in _LITERALS else with_defs(value)
    return out


def without_root_ref(schema: dict[str, Any]) -> dict[str, Any]:
    """Put what a `$ref` at the top level names in its place: a tool's parameters must be an object at their top."""
    for _ in range(_MAX_HOPS):
        target = _find(schema, schema["$ref"]) if "$ref" in schema else None
        if not isinstance(target, dict) or target is schema:
            return schema
        schema = target | {name: value for name, value in schema.items() if name != "$ref"}
    return schema


def can_constrain(schema: Any) -> bool:
    """Whether Anthropic can hold a model to a schema: no recursion, and only references that it can follow."""
    if not isinstance(schema, dict):
        return True
    edges: dict[str, set[str]] = {}
    waiting, left = ["#"], _MAX_NODES
    while waiting:
        place = waiting.pop()
        if place in edges:
            continue
        target = _find(schema, place)
        if target is None:
            return False
        edges[place] = set()
        stack = [target]
        while stack:
            node, left = stack.pop(), left - 1
            if left < 0 or (isinstance(node, dict) and not _is_plain(node)):
                return False
            if isinstance(node, dict):
                if isinstance(ref := node.get("$ref"), str):
                    edges[place].add(ref)
                stack += [value for name, value in node.items() if name not in _LITERALS]
            elif isinstance(node, list):
                stack += node
        waiting += edges[place]
    return not _has_circle(edges)


def _is_plain(node: dict[str, Any]) -> bool:
    """Whether a schema has no combination that Anthropic refuses: allOf with a reference, oneOf beside anyOf."""
    parts = node.get("allOf")
    refers = isinstance(parts, list) and any(isinstance(part, dict) and "$ref" in part for part in parts)
    return not refers and not (isinstance(node.get("oneOf"), list) and isinstance(node.get("anyOf"), list))


def _has_circle(edges: dict[str, set[str]]) -> bool:
    """Whether a graph has a circle: what is left when all that leads nowhere is taken away again and again."""
    above: dict[str, list[str]] = {place: [] for place in edges}
    for place, refs in edges.items():
        for ref in refs:
            above[ref].append(place)
    open_ends = {place: len(refs) for place, refs in edges.items()}
    done = [place for place, count in open_ends.items() if not count]
    for place in done:
        for other in above[place]:
            open_ends[other] -= 1
            if not open_ends[other]:
                done.append(other)
    return len(done) < len(edges)


def _find(schema: dict[str, Any], ref: Any) -> Any:
    """Return what a local reference names, None if there is no such place."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    found: Any = schema
    for part in ref.split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name[:9]) < len(found):
            found = found[int(name[:9])]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return None
    return found


def _pointer(ref: str) -> str:
    """Write a local reference with the newer names of keywords; names of properties and definitions stay."""
    parts, is_keyword = [], ref.startswith("#/")
    for part in ref.split("/"):
        parts.append(_NEW_NAMES.get(part, part) if is_keyword else part)
        is_keyword = part == "#" or not (is_keyword and part in _MAPS)
    return "/".join(parts)


def has_union(schema: Any) -> bool:
    """Return whether a schema has oneOf, anyOf or allOf at its top level, which Anthropic refuses."""
    return isinstance(schema, dict) and any(union in schema for union in _UNIONS)


def without_unions(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace variants at the top level of an object schema by the union of their properties, none required."""
    return _merge_variants(schema) if has_union(schema) else schema


def is_strict(schema: Any) -> bool:
    """Return whether OpenAI accepts a schema as strict: every object closed, every property required."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema:
        properties, required = schema.get("properties") or {}, schema.get("required") or []
        if not isinstance(properties, dict) or not isinstance(required, list):
            return False
        named = {name for name in required if isinstance(name, str)}
        if schema.get("additionalProperties") is not False or not named.issuperset(properties):
            return False
    return all(
        all(map(is_strict, value.values())) if name in _MAPS and isinstance(value, dict) else is_strict(value)
        for name, value in schema.items()
        if name not in _LITERALS
    )


def for_structured_output(schema: Any) -> Any:
    """Rewrite a schema for Anthropic's structured output; other constraints move into the description.

    See docs/wire/requests.md#structured-output.
    """
    if isinstance(schema, list):
        return [for_structured_output(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    notes = []
    for name, value in schema.items():
        if name in ("properties", "$defs") and isinstance(value, dict):
            out[name] = {key: for_structured_output(one) for key, one in value.items()}
        elif name == "oneOf" and "anyOf" in schema:  # both hold
            out["allOf"] = [*out.get("allOf", []), {"anyOf": for_structured_output(value)}]
        elif name == "oneOf":
            out["anyOf"] = for_structured_output(value)
        elif name == "allOf" and isinstance(value, list):
            out["allOf"] = [*out.get("allOf", []), *for_structured_output(value)]
        elif name == "$ref" and isinstance(value, str):
            out[name] = value.replace("/oneOf/", "/anyOf/")
        elif name in ("items", "anyOf", "allOf"):
            out[name] = for_structured_output(value)
        elif name in _KEPT or _is_kept(name, value):
            out[name] = value
        elif name not in ("additionalProperties", "$schema", "$id"):
            notes.append(f"{name}: {value}")
    if "enum" in out or "const" in out:
        out.pop("type", None)
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema:
        out["additionalProperties"] = False
    if notes:
        payload = out.get("description")
        out["description"] = (
            (f"{payload}\n\n" if isinstance(payload, str) and payload else "") + "{" + ", ".join(notes) + "}"
        )
    return out


def json_instruction(form: Format) -> str:
    """Write the instruction to reply in JSON, for a model that no parameter makes do so."""
    if form.schema:
        schema = msgspec.json.encode(form.schema).decode()
        return f"Respond with a single JSON object that matches this JSON schema, and nothing else:\n{schema}"
    return "Respond with a single JSON object and nothing else."


def _is_kept(name: str, value: Any) -> bool:
    if name == "format":
        return isinstance(value, str) and value in _FORMATS
    return name == "minItems" and value in (0, 1)


def _merge_variants(schema: dict[str, Any]) -> dict[str, Any]:
    own = schema.get("properties")
    properties: dict[str, Any] = dict(own) if isinstance(own, dict) else {}
    for union in _UNIONS:
        variants = schema.get(union)
        for variant in variants if isinstance(variants, list) else ():
            if isinstance(variant, dict) and isinstance(variant.get("properties"), dict):
                for name, value in variant["properties"].items():
                    properties.setdefault(name, value)
    kept = {name: value for name, value in schema.items() if name not in (*_UNIONS, "required", "properties")}
    return {**kept, "type": "object", "properties": properties}
