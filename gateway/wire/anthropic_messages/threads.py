"""Reads the member `thread`: Anthropic holds a conversation, and its client sends the new messages only.

A thread belongs to the account that made it. Its errors are the client's business: on most of them it sends the whole
conversation again (docs/wire/clients.md).
"""

import msgspec

from gateway.wire.anthropic_messages.fallbacks import MEMBER, read_fallbacks
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.dialect import Asked, Thread

THREAD_NOT_FOUND, THREAD_UNSUPPORTED = "thread_not_found", "thread_unsupported_request"


class _Thread(msgspec.Struct):
    type: str = ""
    previous_message_id: str = ""


_THREAD = msgspec.json.Decoder(_Thread)
_NOTHING = Asked()


def ask(body: Body) -> Asked:
    """Read what the gateway carries out itself: the thread that a request begins or continues, and its fallbacks."""
    if not isinstance(body, JsonBody) or not ("thread" in body.members or MEMBER in body.members):
        return _NOTHING
    return Asked(thread=_read_thread(body), fallbacks=read_fallbacks(body))


def _read_thread(body: JsonBody) -> Thread | None:
    """Return the thread, None if there is none. What is not valid is left to the provider to refuse."""
    if not body.has("thread"):
        return None
    try:
        thread = _THREAD.decode(body.members["thread"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Thread(thread.previous_message_id if thread.type == "continue" else "")
