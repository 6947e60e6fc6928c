"""`/responses/input_tokens`: asked by OpenAI clients, and of providers that have it."""

from functools import partial

import msgspec
from attrs import evolve

from gateway.wire import counted
from gateway.wire.crossing import Memo, Setting, Written
from gateway.wire.dialect import ClientSide, UpstreamSide
from gateway.wire.neutral import Reply, Request
from gateway.wire.openai_responses import OPENAI_RESPONSES, SHEDS, read_request
from gateway.wire.openai_responses.items import NAME
from gateway.wire.openai_responses.reader import ResponsesReader
from gateway.wire.openai_responses.reply import ResponsesWriter
from gateway.wire.openai_responses.request import write_request

# SDK type InputTokenCountParams.
_COUNTED = frozenset(
    {"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools", "truncation"}
)


def write_count(reply: Reply, memo: Memo) -> bytes:
    """Write the object of a count (SDK type InputTokenCountResponse)."""
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": counted.tokens(reply)})


def _write(request: Request, setting: Setting, memo: Memo) -> Written:
    return counted.only(write_request(request, setting, memo), _COUNTED)


INPUT_TOKENS = evolve(
    OPENAI_RESPONSES,
    name="openai_input_tokens",
    path="/responses/input_tokens",
    glance=partial(counted.glance, NAME),
    client=ClientSide(read_request, write_count, ResponsesWriter),
    upstream=UpstreamSide(_write, lambda body, _: counted.read_reply(NAME, body), ResponsesReader, SHEDS),
    generates=False,
    probe={},
)
