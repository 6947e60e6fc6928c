"""What tests of logprobs share: tokens, replies of both OpenAI dialects with them, and what a client gets of these."""

import json
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.wire import DIALECTS
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import chat_request, cross, event, memo_of
from tests.wire.grammar import frames_of, read_chat, read_responses
from tests.wire.responses_to_others import responses_request

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WORD = "message.output_text.logprobs"
DONE = b"data: [DONE]\n\n"
Token = dict[str, Any]
OTHER = {"openai_chat": "openai_responses", "openai_responses": "openai_chat"}
CLIENTS = sorted(OTHER)


def token(text: str | bytes, logprob: float = -0.5, *others: str) -> Token:
    """Return a token as both dialects write it; bytes are a piece of a character."""
    said = text if isinstance(text, bytes) else text.encode()
    likely = [{"token": one, "logprob": -3.5, "bytes": list(one.encode())} for one in others]
    named = said.decode(errors="replace")
    return {"token": named, "logprob": logprob, "bytes": list(said), "top_logprobs": likely}


HELLO = [token("Hel", -0.25, "Hel", "Yo"), token("lo", -0.0, "lo", "p")]


def asked(client: str, profile: Profile | None = None, *, wants: bool = True, **more: Any) -> Memo:
    """Return the memo of a request that wants logprobs, unless told otherwise."""
    wish: dict[str, Any] = {"logprobs": True} if client == "openai_chat" else {"include": [WORD]}
    make = chat_request if client == "openai_chat" else responses_request
    return memo_of(client, make(**(wish if wants else {}), **({"stream": True} | more)), profile)


def chat(content: Any, *tokens: Any, finish: str | None = None, **more: Any) -> bytes:
    """Write a frame of a chat stream whose text has these tokens."""
    choice = {"index": 0, "delta": {"content": content, **more}, "finish_reason": finish}
    choice["logprobs"] = {"content": list(tokens), "refusal": None} if tokens else None
    return b"data: " + json.dumps({"id": "c1", "model": "up", "choices": [choice]}).encode() + b"\n\n"


def chat_stream(*pieces: tuple[str, list[Any]]) -> bytes:
    return b"".join([*(chat(text, *tokens) for text, tokens in pieces), chat(None, finish="stop"), DONE])


def chat_body(text: str | None, tokens: list[Any], **more: Any) -> bytes:
    choice = {"message": {"role": "assistant", "content": text, **more}, "finish_reason": "stop"}
    return json.dumps({"id": "c1", "choices": [{"index": 0, "logprobs": {"content": tokens}, **choice}]}).encode()


def part(text: str, tokens: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": tokens}


def item(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": list(parts)}


def delta(text: str, *tokens: Any) -> bytes:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return event("response.output_text.delta", delta=text, logprobs=list(tokens), **place)


def text_done(text: str, tokens: list[Any]) -> bytes:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return event("response.output_text.done", text=text, logprobs=tokens, **place)


def item_done(*parts: dict[str, Any]) -> bytes:
    return event("response.output_item.done", output_index=0, item=item(*parts))


def completed(*parts: dict[str, Any]) -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    response = {"id": "resp_1", "status": "completed", "usage": usage, "output": [item(*parts)] if parts else []}
    return event("response.completed", response=response)


def responses_stream(*pieces: tuple[str, list[Any]]) -> bytes:
    """Write a Responses stream as OpenAI does: every list once more in `done`, in the item and in the response."""
    text, tokens = "".join(text for text, _ in pieces), [one for _, tokens in pieces for one in tokens]
    added = event("response.output_item.added", output_index=0, item=item() | {"status": "in_progress"})
    ends = text_done(text, tokens) + item_done(part(text, tokens)) + completed(part(text, tokens))
    return b"".join([added, *(delta(text, *tokens) for text, tokens in pieces), ends])


def responses_body(text: str, tokens: Any) -> bytes:
    return json.dumps({"id": "resp_1", "status": "completed", "output": [item(part(text, tokens))]}).encode()


def stream_of(upstream: str, *pieces: tuple[str, list[Any]]) -> bytes:
    return chat_stream(*pieces) if upstream == "openai_chat" else responses_stream(*pieces)


def body_of(upstream: str, text: str, tokens: Any) -> bytes:
    return chat_body(text, tokens) if upstream == "openai_chat" else responses_body(text, tokens)


def streamed(client: str, stream: bytes, memo: Memo | None = None) -> list[tuple[str, list[Token]]]:
    """Return (text, tokens) of each delta that a client gets of the other dialect's stream; check the SDK's types."""
    out = cross(client, stream, memo or asked(client), OTHER[client])
    said = [json.loads(data) for _, data in frames_of(out) if data != "[DONE]"]
    return _chunks(out, said) if client == "openai_chat" else _events(out, said)


def _chunks(out: bytes, said: list[Any]) -> list[tuple[str, list[Token]]]:
    read_chat(out)
    found = []
    for one in said:
        ChatCompletionChunk.model_validate(one)
        (choice,) = one["choices"]
        assert choice["logprobs"] is None or set(choice["logprobs"]) == {"content", "refusal"}
        found.append((choice["delta"].get("content") or "", (choice["logprobs"] or {}).get("content") or []))
    return [one for one in found if any(one)]


def _events(out: bytes, said: list[Any]) -> list[tuple[str, list[Token]]]:
    """All lists of a part agree: what its deltas have together, in `done`, in the part, the item and the response."""
    _, final = read_responses(out)
    for one in said:
        EVENT.validate_python(one)
    parts = [part for one in final["output"] for part in one.get("content", ()) if part["type"] == "output_text"]
    of_kind = {kind: [one for one in said if one["type"].endswith(kind)] for kind in ("text.done", "part.done")}
    assert [one["logprobs"] for one in of_kind["text.done"]] == [one["logprobs"] for one in parts]
    assert [one["part"] for one in of_kind["part.done"] if one["part"]["type"] == "output_text"] == parts
    return [(one["delta"], one["logprobs"]) for one in said if one["type"] == "response.output_text.delta"]


def final_tokens(stream: bytes, memo: Memo | None = None) -> list[Token]:
    """Return the tokens in the last response object that a Responses client gets of a chat stream."""
    _, final = read_responses(cross("openai_responses", stream, memo or asked("openai_responses"), "openai_chat"))
    return [one for said in final["output"] for part in said.get("content", ()) for one in part.get("logprobs", ())]


def whole(client: str, body: bytes, memo: Memo | None = None, *, is_stream: bool = False) -> tuple[Any, Any]:
    """Return (text, tokens or null) of the whole reply that a client gets; check the SDK's types."""
    memo = memo or asked(client)
    reads, writes = DIALECTS[OTHER[client]].upstream, DIALECTS[client].client
    assert reads is not None and writes is not None
    said = json.loads(writes.write_reply(read_whole(reads, body, is_stream, memo), memo))
    if client == "openai_chat":
        ChatCompletion.model_validate(said)
        (choice,) = said["choices"]
        return choice["message"]["content"], choice["logprobs"] and choice["logprobs"]["content"]
    Response.model_validate(said)
    parts = [part for one in said["output"] for part in one.get("content", ())]
    tokens = [one for part in parts for one in part.get("logprobs", ())]
    return "".join(part.get("text", "") for part in parts), tokens
