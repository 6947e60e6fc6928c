"""Shared by tests of what a provider's own tools have done, as clients of other dialects see it."""

import json
from typing import Any

from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from gateway.wire import DIALECTS
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from tests.wire.grammar import frames_of

OF_MESSAGES: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
FORMAT = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}


def whole(client: str, upstream: str, payload: dict[str, Any], memo: Memo) -> dict[str, Any]:
    writes, reads = DIALECTS[client].client, DIALECTS[upstream].upstream
    assert writes is not None and reads is not None
    found: dict[str, Any] = json.loads(
        writes.write_reply(read_whole(reads, json.dumps(payload).encode(), False, memo), memo)
    )
    return found


def blocks_of(stream: bytes) -> list[dict[str, Any]]:
    """Return the content that a Messages stream builds; assert that the SDK knows every event."""
    blocks: list[dict[str, Any]] = []
    for _, data in frames_of(stream):
        said = json.loads(data)
        if said["type"] != "ping":
            OF_MESSAGES.validate_python(said)
        if said["type"] == "content_block_start":
            assert said["index"] == len(blocks)
            blocks.append(dict(said["content_block"]))
        elif said["type"] == "content_block_delta":
            block, delta = blocks[said["index"]], said["delta"]
            match delta["type"]:
                case "text_delta":
                    block["text"] += delta["text"]
                case "input_json_delta":
                    block["input"] = json.loads(delta["partial_json"])
                case "citations_delta":
                    block.setdefault("citations", []).append(delta["citation"])
    return blocks
