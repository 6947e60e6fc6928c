"""Content parts of a Chat reply that no other dialect can hold: told, noted, and never an empty finished reply."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import PIXEL, chunk, cross, memo_of, messages_request
from tests.wire.grammar import read_messages, read_responses
from tests.wire.streams import DONE

FORMAT = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}
PICTURES: list[dict[str, Any]] = [
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    {"type": "image", "image": PIXEL},
    {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"},
    {"type": "output_image", "b64_json": PIXEL},
]
OTHERS = [
    ({"type": "video_url", "video_url": {"url": "https://x.example/v.mp4"}}, "with a video"),
    ({"type": "file", "file": {"file_id": "f"}}, "with a file"),
    ({"type": "document_url", "document_url": "https://x.example/d"}, "with 'document_url'"),
]


def responses() -> Memo:
    return memo_of("openai_responses", {"model": "m", "input": "Hi", "stream": True})


def claudes(**more: Any) -> Memo:
    return memo_of("anthropic_messages", messages_request(stream=True) | more)


def whole(client: str, payload: dict[str, Any], memo: Memo) -> dict[str, Any]:
    writes, reads = DIALECTS[client].client, DIALECTS["openai_chat"].upstream
    assert writes is not None and reads is not None
    reply = read_whole(reads, json.dumps(payload).encode(), False, memo)
    found: dict[str, Any] = json.loads(writes.write_reply(reply, memo))
    return found


def payload(part: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": [part]}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("part", PICTURES)
def test_a_picture_in_any_form(part: dict[str, Any]) -> None:
    """A picture is one, whichever member holds it; streamed and whole."""
    told = whole("openai_responses", payload(part), responses())
    stream = cross("openai_responses", chunk(content=[part]) + chunk("stop") + DONE, responses(), "openai_chat")
    for output in (told["output"], read_responses(stream)[1]["output"]):
        assert [(one["type"], one["result"]) for one in output] == [("image_generation_call", PIXEL)]


@pytest.mark.parametrize(("part", "words"), OTHERS)
def test_other_parts_are_told(part: dict[str, Any], words: str) -> None:
    """A text says what there was, and the header does; streamed and whole alike."""
    memo = claudes()
    (block,) = whole("anthropic_messages", payload(part), memo)["content"]
    assert block["text"] == f"(The model answered {words}, which this API cannot carry.)"
    assert part["type"] in memo.drops.names
    stream = cross("anthropic_messages", chunk(content=[part]) + chunk("stop") + DONE, claudes())
    assert read_messages(stream).text == block["text"]


def test_no_words_of_ours_in_structured_json() -> None:
    """Where JSON was asked for, only the header says it."""
    part, _ = OTHERS[0]
    stream = chunk(content=[part, {"type": "text", "text": "{}"}]) + chunk("stop") + DONE
    assert read_messages(cross("anthropic_messages", stream, claudes(**FORMAT))).text == "{}"


@pytest.mark.parametrize("part", [{"type": "file", "file": {}}, {"type": "reference", "reference_ids": [1]}, {}, 5])
def test_an_empty_part_is_nothing(part: Any) -> None:
    """Parts that say nothing, and Mistral's references, leave no words."""
    stream = chunk(content=[{"type": "text", "text": "a"}, part]) + chunk("stop") + DONE
    assert read_messages(cross("anthropic_messages", stream, claudes())).text == "a"
