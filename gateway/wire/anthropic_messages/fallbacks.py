"""Reads the member `fallbacks`: models that may answer in place of one that refuses, each with its own settings."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.wire.codec.json_body import JsonBody, is_null, to_json
from gateway.wire.dialect import Fallback

MEMBER = "fallbacks"
_SETTINGS = ("max_tokens", "thinking", "speed")  # taken whole; `output_config` is merged, one field at a time
_ENTRIES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_fallbacks(body: JsonBody) -> tuple[Fallback, ...]:
    """Return the fallbacks of a request, in order. What is not valid is left to the provider to refuse."""
    if not body.has(MEMBER):
        return ()
    raw = body.members[MEMBER]
    if bytes(raw).strip() == b'"default"':
        return (Fallback(),)
    try:
        entries = _ENTRIES.decode(raw)
        named = [(msgspec.json.decode(entry["model"], type=str), entry) for entry in entries if "model" in entry]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    return tuple(Fallback(model, entry) for model, entry in named if model)


def with_fallback(body: JsonBody, fallback: Fallback) -> JsonBody:
    """Return the request as the fallback's model is asked it: with its own settings, and without `fallbacks`."""
    put: dict[str, bytes] = {}
    drop = {MEMBER}
    for name in _SETTINGS:
        if (value := fallback.settings.get(name)) is None:
            continue
        if not is_null(value):
            put[name] = bytes(value)
        elif name != "max_tokens":  # null: the request's own
            drop.add(name)
    if (own := fallback.settings.get("output_config")) is not None:
        merged = {} if is_null(own) else {**_fields(body.members.get("output_config")), **_fields(own)}
        kept = {name: value for name, value in merged.items() if not is_null(value)}
        drop |= set() if kept else {"output_config"}
        put |= {"output_config": to_json(kept)} if kept else {}
    members: dict[str, Any] = {name: bytes(raw) for name, raw in body.members.items() if name not in drop}
    return JsonBody.of(members | put)


def _fields(raw: msgspec.Raw | None) -> Mapping[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(raw) if raw is not None and not is_null(raw) else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
