"""Frames of chat and Messages streams, and what becomes of them in the other dialect."""

from typing import Any

from gateway.wire.translation.memo import Memo
from tests.wire.crossings import chat_request, chunk, cross, memo_of
from tests.wire.grammar import Told, read_chat, read_messages

DONE = b"data: [DONE]\n\n"


STOP = chunk("stop") + DONE


def claude(*frames: bytes, memo: Memo | None = None) -> Told:
    """Return what an Anthropic client gets of a chat stream."""
    return read_messages(cross("anthropic_messages", b"".join(frames), memo))


def openai(*frames: bytes, memo: Memo | None = None, wants_usage: bool = False) -> Told:
    """Return what an OpenAI client gets of a Messages stream."""
    memo = memo or memo_of("openai_chat", chat_request(stream=True, stream_options={"include_usage": wants_usage}))
    return read_chat(cross("openai_chat", b"".join(frames), memo), wants_usage)


def tools(*calls: dict[str, Any]) -> bytes:
    return chunk(tool_calls=list(calls))


def fragment(arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {name: more.pop(name) for name in ("name",) if name in more}
    return {"function": function | ({} if arguments is None else {"arguments": arguments}), **more}
