"""`/messages/count_tokens`: asked by Anthropic clients, and of providers that have it."""

from functools import partial

import msgspec
from attrs import evolve

from gateway.wire import counted
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES, SHEDS, read_request
from gateway.wire.anthropic_messages.messages import NAME
from gateway.wire.anthropic_messages.reader import MessagesReader
from gateway.wire.anthropic_messages.reply import MessagesWriter
from gateway.wire.anthropic_messages.request import write_request
from gateway.wire.crossing import Memo, Setting, Written
from gateway.wire.dialect import ClientSide, UpstreamSide
from gateway.wire.json_body import JsonBody
from gateway.wire.neutral import Reply, Request

# SDK type MessageCountTokensParams.
_COUNTED = frozenset({"model", "messages", "system", "thinking", "tool_choice", "tools", "output_config"})


def read(body: JsonBody) -> Request:
    """Read a request that asks for a count: it has no cap on its answer. Raises BadRequest with the place."""
    members = body.members if body.has("max_tokens") else body.members | {"max_tokens": msgspec.Raw(b"1")}
    return read_request(JsonBody(dict(members)))


def write_count(reply: Reply, memo: Memo) -> bytes:
    """Write {"input_tokens": n}."""
    return msgspec.json.encode({"input_tokens": counted.tokens(reply)})


def _write(request: Request, setting: Setting, memo: Memo) -> Written:
    return counted.only(write_request(request, setting, memo), _COUNTED)


COUNT_TOKENS = evolve(
    ANTHROPIC_MESSAGES,
    name="anthropic_count_tokens",
    path="/messages/count_tokens",
    glance=partial(counted.glance, NAME),
    client=ClientSide(read, write_count, MessagesWriter),
    upstream=UpstreamSide(_write, lambda body, _: counted.read_reply(NAME, body), MessagesReader, SHEDS),
    generates=False,
    probe={},
)
