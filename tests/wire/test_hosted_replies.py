"""What a provider's own tools have done, seen by clients of the other dialects: searches, pictures, sound.

See docs/wire/replies.md#hosted-tools.
"""

import json
from typing import Any

import pytest
from anthropic.types import Message
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.wire import DIALECTS
from gateway.wire.anthropic_messages.hosted import SEALED, USE_PREFIX
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, says_nothing
from gateway.wire.translation.memo import Drops, Memo
from tests.wire.crossings import PIXEL, chat_request, chunk, cross, event, memo_of, messages_request
from tests.wire.grammar import frames_of, read_chat, read_responses
from tests.wire.hosted import FORMAT, blocks_of, whole

DONE = b"data: [DONE]\n\n"
OF_RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
URL = "https://x.example/a"
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
CITED = {"type": "url_citation", "url": URL, "title": "t", "start_index": 0, "end_index": 1}
SAID = {
    "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": '{"a":1}', "annotations": [CITED]}],
}  # fmt: skip
HOSTED: list[dict[str, Any]] = [
    {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["q"], "results": None},
    {"id": "ci_1", "type": "code_interpreter_call", "status": "completed", "code": "1", "container_id": "c"},
    {"id": "mcp_1", "type": "mcp_call", "name": "f", "arguments": "{}", "server_label": "s"},
    {"id": "mcpl_1", "type": "mcp_list_tools", "server_label": "s", "tools": []},
    {"id": "cmp_1", "type": "compaction", "encrypted_content": "x"},
    {"id": "new_1", "type": "a_kind_of_tomorrow"},
]
DRAWN = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": PIXEL}


def claudes(**more: Any) -> Memo:
    return memo_of("anthropic_messages", messages_request(stream=True) | more)


def items(*output: dict[str, Any]) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": "completed", "model": "up", "output": list(output)}


def streamed(*output: dict[str, Any]) -> bytes:
    """Write a Responses stream of whole items."""
    frames = [event("response.created", response=items() | {"status": "in_progress"})]
    for index, item in enumerate(output):
        frames.append(event("response.output_item.added", output_index=index, item={**item, "content": []}))
        frames.append(event("response.output_item.done", output_index=index, item=item))
    return b"".join([*frames, event("response.completed", response=items(*output))])


def claude(payload: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Return the blocks that a Messages client gets of a Responses reply, the same streamed and whole."""
    told = whole("anthropic_messages", "openai_responses", payload, claudes(**more))
    Message.model_validate(told)
    stream = cross("anthropic_messages", streamed(*payload["output"]), claudes(**more), "openai_responses")
    assert blocks_of(stream) == told["content"]
    content: list[dict[str, Any]] = told["content"]
    return content


def test_a_web_search_reaches_a_messages_client() -> None:
    """A search is a `server_tool_use` with its result, and its sources are citations of the text."""
    use, result, text = claude(items(SEARCH, SAID))
    assert (use["type"], use["name"], use["input"]) == ("server_tool_use", "web_search", {"query": "q"})
    assert use["id"].startswith("srvtoolu_") and result["tool_use_id"] == use["id"]
    assert (result["type"], result["content"]) == ("web_search_tool_result", [])
    (cited,) = text["citations"]
    assert (cited["type"], cited["url"], cited["title"]) == ("web_search_result_location", URL, "t")
    assert text["text"] == '{"a":1}'


@pytest.mark.parametrize(
    ("action", "query", "urls"),
    [
        ({"type": "search", "queries": ["a", "b"]}, "a", []),
        ({"type": "search", "query": "q", "sources": [{"type": "url", "url": URL}]}, "q", [URL]),
        ({"type": "open_page", "url": URL}, URL, [URL]),
        ({"type": "find_in_page", "url": URL, "pattern": "p"}, URL, [URL]),
        ({"type": "search", "query": None, "sources": [5, {}]}, "", []),
        (None, "", []),
        ("odd", "", []),
    ],
)
def test_actions_of_a_search(action: Any, query: str, urls: list[str]) -> None:
    """Every action of OpenAI's search has a query, and its sources are the results."""
    use, result, _ = claude(items(SEARCH | {"action": action}, SAID))
    assert use["input"] == {"query": query} and [one["url"] for one in result["content"]] == urls


def test_two_searches_and_one_that_failed() -> None:
    """Each search is a pair of its own; a failed one has an error as its result."""
    content = claude(items(SEARCH, SEARCH | {"id": "ws_2", "status": "failed"}, SAID))
    assert [one["type"] for one in content] == ["server_tool_use", "web_search_tool_result"] * 2 + ["text"]
    assert len({one["id"] for one in content if "id" in one}) == 2
    assert content[3]["content"] == {"type": "web_search_tool_result_error", "error_code": "unavailable"}


@pytest.mark.parametrize("item", HOSTED, ids=lambda one: one["type"])
@pytest.mark.parametrize("more", [{}, FORMAT], ids=["text", "json"])
def test_other_hosted_tools_leave_no_brackets(item: dict[str, Any], more: dict[str, Any]) -> None:
    """The text is the model's own, and JSON stays JSON; what is left out is noted."""
    (text,) = claude(items(item, SAID), **more)
    assert json.loads(text["text"]) == {"a": 1}
    memo = claudes(**more)
    whole("anthropic_messages", "openai_responses", items(item, SAID), memo)
    assert item["type"] in memo.drops.names
    stream = cross(
        "openai_chat", streamed(item, SAID), memo_of("openai_chat", chat_request(stream=True)), "openai_responses"
    )
    assert read_chat(stream).text == '{"a":1}'


def test_a_citation_of_a_chat_provider_reaches_a_messages_client() -> None:
    """Annotations of Chat are citations too, streamed and whole."""
    cited = {"type": "url_citation", "url_citation": {"url": URL, "title": "t"}}
    stream = chunk(content="a") + chunk(annotations=[cited]) + chunk("stop") + DONE
    (text,) = blocks_of(cross("anthropic_messages", stream, claudes()))
    payload = {"choices": [{"message": {"content": "a", "annotations": [cited]}, "finish_reason": "stop"}]}
    assert whole("anthropic_messages", "openai_chat", payload, claudes())["content"] == [text]
    assert text["citations"][0]["url"] == URL


def test_our_marks_never_reach_anthropic() -> None:
    """Blocks and citations made here are taken out of a raw history, which Anthropic would refuse with them."""
    content = claude(items(SEARCH | {"action": {"type": "open_page", "url": URL}}, SAID))
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    body = JsonBody.read(json.dumps(messages_request(messages=turns)).encode())
    found = json.loads(DIALECTS["anthropic_messages"].add_members(body, Profile(), Drops())["messages"])
    assert found[1]["content"] == [{"type": "text", "text": '{"a":1}', "citations": None}]
    assert SEALED not in json.dumps(found) and USE_PREFIX not in json.dumps(found)


def test_a_web_search_of_anthropic_reaches_a_responses_client() -> None:
    """Anthropic's search is a `web_search_call` with its query; the result block is no item."""
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    payload = {
        "content": [use, result, {"type": "text", "text": "a"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    told = whole("openai_responses", "anthropic_messages", payload, memo_of("openai_responses", RESPONSES))
    Response.model_validate(told)
    assert [item["type"] for item in told["output"]] == ["web_search_call", "message"]
    assert told["output"][0]["action"] == {"type": "search", "query": "q", "queries": ["q"]}


RESPONSES: dict[str, Any] = {"model": "m", "input": "Hi", "stream": True}
DATA = f"data:image/png;base64,{PIXEL}"
PICTURE = {"type": "image_url", "image_url": {"url": DATA}}
PICTURES: dict[str, dict[str, Any]] = {
    "images": {"images": [PICTURE]},
    "images as text": {"images": [DATA]},
    "a content part": {"content": [PICTURE]},
    "a content part as text": {"content": [{"type": "image_url", "image_url": DATA}]},
    "bare base64": {"images": [{"b64_json": PIXEL}]},
    "beside text": {"content": "", "images": [PICTURE]},
}


def chats(client: str, said: dict[str, Any], memo: Memo) -> tuple[bytes, dict[str, Any]]:
    """Return what a client gets of a Chat message: (streamed, whole)."""
    payload = {"choices": [{"message": {"role": "assistant", **said}, "finish_reason": "stop"}]}
    reads = DIALECTS["openai_chat"].upstream
    assert reads is not None
    assert not says_nothing(read_whole(reads, json.dumps(payload).encode(), False, memo))
    stream = chunk(role="assistant", content="") + chunk(**said) + chunk("stop") + DONE
    return cross(client, stream, memo, "openai_chat"), whole(client, "openai_chat", payload, memo)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_an_item_for_responses_clients(name: str) -> None:
    """A picture of a Chat reply is an `image_generation_call` with its bytes, and every event fits the SDK's types."""
    out, told = chats("openai_responses", PICTURES[name], memo_of("openai_responses", RESPONSES))
    for _, data in frames_of(out):
        OF_RESPONSES.validate_python(json.loads(data))
    for response in (read_responses(out)[1], told):
        (item,) = response["output"]
        assert (item["type"], item["result"], item["output_format"]) == ("image_generation_call", PIXEL, "png")
        assert item["status"] == "completed" and item["id"].startswith("ig_")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_told_to_messages_clients(name: str) -> None:
    """A Messages client reads that there is a picture; the loss is noted; the reply is never empty."""
    memo = claudes()
    out, told = chats("anthropic_messages", PICTURES[name], memo)
    (text,) = told["content"]
    assert "picture" in text["text"] and blocks_of(out) == told["content"] and "images" in memo.drops.names


def test_a_picture_at_a_url_is_told_with_the_url() -> None:
    """Where only a URL is known, both clients get the URL."""
    said = {"content": "a", "images": [{"type": "image_url", "image_url": {"url": URL}}]}
    _, told = chats("anthropic_messages", said, claudes())
    assert URL in told["content"][-1]["text"]
    out, told = chats("openai_responses", said, memo_of("openai_responses", RESPONSES))
    for response in (read_responses(out)[1], told):
        assert URL in json.dumps(response["output"])


def test_a_picture_that_is_repeated_comes_once() -> None:
    """A server that sends its pictures again in a later chunk has sent them once."""
    stream = chunk(images=[PICTURE]) + chunk(images=[PICTURE]) + chunk("stop") + DONE
    _, final = read_responses(cross("openai_responses", stream, memo_of("openai_responses", RESPONSES), "openai_chat"))
    assert len(final["output"]) == 1


def test_a_picture_never_stands_in_json() -> None:
    """A structured answer stays JSON; the picture is noted as lost."""
    memo = claudes(**FORMAT)
    out, told = chats("anthropic_messages", {"content": '{"a":1}', "images": [PICTURE]}, memo)
    assert [one["text"] for one in told["content"]] == ['{"a":1}'] == [one["text"] for one in blocks_of(out)]
    assert "images" in memo.drops.names


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_chat"])
def test_a_picture_of_a_responses_provider(client: str) -> None:
    """An `image_generation_call` reaches a Chat client as `images` and a Messages client as a text."""
    memo = claudes() if client == "anthropic_messages" else memo_of(client, chat_request(stream=True))
    out = cross(client, streamed(DRAWN), memo, "openai_responses").decode()
    told = json.dumps(whole(client, "openai_responses", items(DRAWN), memo))
    for said in (out, told):
        assert ("(The model sent a picture" if client == "anthropic_messages" else DATA) in said


SOUND = {"id": "audio_1", "data": "UklGRg==", "expires_at": 1}


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_responses"])
@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (SOUND | {"transcript": "Hello."}, "Hello."),
        (SOUND, "(The model answered with sound, which this API cannot carry.)"),
    ],
)
def test_sound_is_told_by_its_transcript(client: str, audio: dict[str, Any], text: str) -> None:
    """Of a spoken answer both clients get the transcript, or a text that says what it was; the loss is noted."""
    memo = claudes() if client == "anthropic_messages" else memo_of(client, RESPONSES)
    out, told = chats(client, {"content": None, "audio": audio}, memo)
    assert text in json.dumps(told) and text.encode() in out and "audio" in memo.drops.names


@pytest.mark.parametrize("audio", [{}, None, {"data": ""}, {"transcript": ""}, [], 5])
def test_an_empty_sound_is_nothing(audio: Any) -> None:
    """An empty `audio` object adds no text and loses nothing."""
    memo = claudes()
    out, told = chats("anthropic_messages", {"content": "a", "audio": audio}, memo)
    assert [one["text"] for one in told["content"]] == ["a"] == [one["text"] for one in blocks_of(out)]
    assert not memo.drops.names


def test_sound_in_pieces() -> None:
    """A transcript that comes in pieces is one text, whatever stands between its pieces."""
    frames = [
        {"id": "a"},
        {"data": "AA=="},
        {"transcript": "Hel"},
        {"data": "AA=="},
        {"transcript": "lo."},
        {"expires_at": 1},
    ]
    stream = b"".join(chunk(audio=one) for one in frames) + chunk("stop") + DONE
    assert [one["text"] for one in blocks_of(cross("anthropic_messages", stream, claudes()))] == ["Hello."]
