"""Texts that are too long: only the conversation's own is "prompt is too long"; names and ids are shortened."""

import json
import re
from typing import Any

import pytest

from gateway.faults import Fault
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.openai_responses import raw
from gateway.wire.profile import Profile
from gateway.wire.provider_error import read_declined, read_inner
from gateway.wire.translation.memo import Drops
from gateway.wire.translation.names import safe_id, shorten
from tests.wire.crossings import chunk, cross, memo_of, message, write
from tests.wire.grammar import read_messages

LONG = "call_" + "x" * 90
DONE = b"data: [DONE]\n\n"
WORDS = "string too long. Expected a string with maximum length {}, but got a string with length {} instead."


def refusal(place: str | None, code: str = "string_above_max_length", named: str | None = None) -> dict[str, Any]:
    said = f"Invalid '{named or place}': " + WORDS.format(64, 70)
    return {"error": {"message": said, "type": "invalid_request_error", "param": place, "code": code}}


def fault_of(payload: dict[str, Any]) -> Fault:
    return read_declined("openai_responses", 400, {}, json.dumps(payload).encode(), 0.0).fault


@pytest.mark.parametrize(
    "place",
    [
        "input",
        "prompt",
        "messages",
        "input[3].content",
        "input[3].content[0].text",
        "input[12].output",
        "input[12].output[0].text",
        "input[1].arguments",
        "messages[1].content",
        "messages[10].content[2].text",
        "messages[1].tool_calls[0].function.arguments",
    ],
)
def test_a_long_conversation_is_too_long(place: str) -> None:
    """A string of the conversation itself that is too long is TOO_LONG: a shorter conversation helps."""
    assert fault_of(refusal(place)) is Fault.TOO_LONG
    assert fault_of(refusal(None, named=place)) is Fault.TOO_LONG
    assert read_inner("openai_chat", refusal(place)["error"]).fault is Fault.TOO_LONG


@pytest.mark.parametrize(
    "place",
    [
        "input[3].call_id",
        "input[3].id",
        "input[3].name",
        "messages[1].tool_calls[0].id",
        "messages[1].tool_calls[0].function.name",
        "messages[2].tool_call_id",
        "messages[2].name",
        "tools[0].name",
        "tools[0].function.name",
        "tools[0].function.description",
        "tools[0].input_schema",
        "metadata.session",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "stop",
        "input_text_name",
        "text.format.name",
        "",
    ],
)
def test_a_long_name_is_not(place: str) -> None:
    """Of any other member it is the caller's mistake; a client must not compact on it."""
    assert fault_of(refusal(place)) is Fault.CALLER
    assert fault_of(refusal(None, named=place)) is Fault.CALLER
    assert read_inner("openai_chat", refusal(place)["error"]).fault is Fault.CALLER
    error = read_declined("openai_responses", 400, {}, json.dumps(refusal(place)).encode(), 0.0)
    status, body = DIALECTS["anthropic_messages"].write_error(error, "req_1", 0.0)
    assert status == 400 and b"prompt is too long" not in body and b"string too long" in body


def test_context_length_exceeded_is_too_long_wherever_it_stands() -> None:
    """The code that names the context says enough."""
    assert fault_of(refusal("user", "context_length_exceeded")) is Fault.TOO_LONG


@pytest.mark.parametrize("longest", [40, 64])
def test_what_is_shortened_stays_distinct(longest: int) -> None:
    """Long ids and keys keep their beginning and end in a digest: the same text the same way, others otherwise."""
    for made in (safe_id, shorten):
        texts = ["x" * 90 + end for end in "ab"] + ["x" * (longest + 1), "x" * longest]
        short = [made(text, longest) for text in texts]
        assert len(set(short)) == 4 and all(len(text) <= longest for text in short)
        assert short == [made(text, longest) for text in texts] and short[-1] == "x" * longest
        assert [made(text, longest) for text in short] == short
    assert re.fullmatch(r"a_b_[0-9a-f]{16}", safe_id("a.b"))
    assert shorten("ä.b" * 30)[:47] == ("ä.b" * 30)[:47]


def history(client: str) -> dict[str, Any]:
    """Return a request whose history holds a call with a long id."""
    user = {"role": "user", "content": "Hi"}
    if client == "openai_responses":
        call: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": LONG, "name": "f", "arguments": "{}"}
        return {"model": "m", "input": [user, call, {"type": "function_call_output", "call_id": LONG, "output": "r"}]}
    if client == "openai_chat":
        call = {"id": LONG, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        turn = {"role": "assistant", "content": None, "tool_calls": [call]}
        return {"model": "m", "messages": [user, turn, {"role": "tool", "tool_call_id": LONG, "content": "r"}]}
    said = {"role": "assistant", "content": [{"type": "tool_use", "id": LONG, "name": "f", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": LONG, "content": "r"}]}
    return {"model": "m", "max_tokens": 9, "messages": [user, said, result]}


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages", "openai_responses"])
@pytest.mark.parametrize(
    ("upstream", "longest"), [("openai_chat", 40), ("anthropic_messages", 64), ("openai_responses", 64)]
)
def test_ids_of_calls_fit_the_upstream(client: str, upstream: str, longest: int) -> None:
    """A call's long id is short upstream, and the same in its result; OpenAI's Chat takes 40 characters."""
    out = json.dumps(write(memo_of(client, history(client)), upstream=upstream))
    found = re.findall(r'"(?:id|call_id|tool_call_id|tool_use_id)": "(call_[^"]+)"', out)
    assert len(found) == 2 and len(set(found)) == 1 and len(found[0]) <= longest
    assert found[0] == safe_id(LONG, longest)


@pytest.mark.parametrize(
    ("upstream", "longest"), [("openai_chat", 64), ("anthropic_messages", 128), ("openai_responses", 64)]
)
def test_names_of_tools_come_back(upstream: str, longest: int) -> None:
    """Long names of a server's tools that differ at their end are short and distinct upstream, and come back whole."""
    names = ["mcp__server__" + "n" * 120 + end for end in "ab"]
    said = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    memo = memo_of("anthropic_messages", said | {"tools": [{"name": name} for name in names]})
    out = write(memo, upstream=upstream)
    sent = [tool.get("name") or tool["function"]["name"] for tool in out["tools"]]
    assert len(set(sent)) == 2 and all(len(name) <= longest for name in sent)
    if upstream == "openai_chat":
        calls = [
            {"index": n, "id": f"c{n}", "type": "function", "function": {"name": name, "arguments": "{}"}}
            for n, name in enumerate(sent)
        ]
        stream = chunk(tool_calls=calls) + chunk("tool_calls") + DONE
        assert [name for _, name, _ in read_messages(cross("anthropic_messages", stream, memo)).calls] == names


def test_a_providers_long_id_is_short_for_the_client() -> None:
    """A long id of a provider's own call reaches no client; what the client sends back is one id upstream."""
    use = {"type": "tool_use", "id": LONG, "name": "f", "input": {}}
    out = cross("openai_chat", message(use, stop="tool_use"))
    assert LONG.encode() not in out and safe_id(LONG).encode() in out


def test_cache_keys_and_names_of_formats_stay_distinct() -> None:
    """Keys and names that differ behind the 64th character are not the same upstream."""
    for upstream in ("openai_chat", "openai_responses"):
        keys, names = set(), set()
        for end in "ab":
            form = {"type": "json_schema", "name": "n" * 70 + end, "schema": {"type": "object"}}
            said = {"model": "m", "input": "Hi", "prompt_cache_key": "k" * 70 + end, "text": {"format": form}}
            out = write(memo_of("openai_responses", said, Profile(cache_key=True)), upstream=upstream)
            keys.add(out["prompt_cache_key"])
            names.add(out["text"]["format"]["name"] if "text" in out else out["response_format"]["json_schema"]["name"])
        assert len(keys) == len(names) == 2 and all(len(text) <= 64 for text in (*keys, *names))


def renamed(*items: dict[str, Any], text: str | None = None) -> list[dict[str, Any]] | None:
    body = JsonBody.read(text.encode() if text else json.dumps({"input": list(items)}).encode())
    found = raw.add_members(body, Profile(), Drops())
    return json.loads(found["input"]) if found else None


def test_raw_items_with_long_ids() -> None:
    """On the raw lane a long id of an item is taken out and a long `call_id` shortened, in call and output alike."""
    call = {"type": "function_call", "id": "fc_" + "a" * 70, "call_id": LONG, "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": LONG, "output": "r"}
    kept = renamed(call, output)
    assert kept is not None and "id" not in kept[0]
    assert kept[0]["call_id"] == kept[1]["call_id"] == safe_id(LONG)
    compact = json.dumps({"input": [call, output]}, separators=(",", ":"))
    assert renamed(text=compact) == kept
    reference = {"type": "item_reference", "id": "msg_" + "a" * 70}
    assert renamed(reference) is None


@pytest.mark.parametrize("size", [40, 64])
def test_raw_items_with_short_ids_are_not_touched(size: int) -> None:
    """An input whose ids are short is sent byte for byte, also if a text in it looks like a long id."""
    item = {"type": "message", "id": "msg_" + "a" * (size - 4), "role": "user", "content": '{"id": "' + "x" * 80}
    assert renamed(item) is None


@pytest.mark.parametrize("prefix", ["gw0.", "gw1."])
def test_raw_histories_lose_both_kinds_of_envelopes(prefix: str) -> None:
    """Reasoning in an envelope, also in one that never opens, does not reach a provider."""
    thought = {"type": "reasoning", "summary": [], "encrypted_content": prefix + "abc"}
    assert renamed(thought, {"type": "message", "role": "user", "content": "a"}) == [
        {"type": "message", "role": "user", "content": "a"}
    ]
    block = {"type": "thinking", "thinking": "hm", "signature": prefix + "abc"}
    said = {"messages": [{"role": "assistant", "content": [block, {"type": "text", "text": "a"}]}]}
    found = DIALECTS["anthropic_messages"].add_members(JsonBody.read(json.dumps(said).encode()), Profile(), Drops())
    assert json.loads(found["messages"])[0]["content"] == [{"type": "text", "text": "a"}]
