"""All wire formats by name, pure: bytes in, bytes out. One more dialect is one more line here.

- A **dialect** is a record of functions: how a format is spoken with clients, with upstreams, and how its errors look.
- The **neutral** model is a union of what the dialects can say: requests, replies, blocks; **events** are a reply as
  it comes. `fold` and `unfold` go between events and whole replies.
- A **lane** stands between the frames of an upstream and the client: raw if both speak one dialect, else translated.
- A **profile** says what a model can do; a **memo** carries from a request what its reply needs.
- `codec/` cuts and reads bytes; `translation/` is what all dialects share; each dialect is a folder of its own.

May import `errors`.
"""

from attrs import evolve

from gateway.wire import openai_responses
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.dialect import Dialect
from gateway.wire.neutral import Request
from gateway.wire.openai_chat import OPENAI_CHAT, OPENAI_COMPLETIONS
from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.openai_responses.other_endpoints import COMPACT, INPUT_TOKENS
from gateway.wire.passthrough import carried, glance_images

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OPENAI_CHAT,
        ANTHROPIC_MESSAGES,
        COUNT_TOKENS,
        OPENAI_RESPONSES,
        INPUT_TOKENS,
        COMPACT,
        OPENAI_COMPLETIONS,
        carried("openai_embeddings", "/embeddings", limit_class="embeddings", counts_tokens=True),
        carried("openai_moderations", "/moderations"),
        carried("openai_rerank", "/rerank"),
        carried("openai_images_generations", "/images/generations", look=glance_images),
        carried("openai_images_edits", "/images/edits", look=glance_images),
        carried("openai_speech", "/audio/speech", is_json=False),
        carried("openai_transcriptions", "/audio/transcriptions", is_json=False),
        carried("openai_translations", "/audio/translations", is_json=False),
    )
}


def _read_input(body: JsonBody) -> Request:
    """Read a Chat request whose body is a Responses body (`input`); the reply is still a Chat reply."""
    options = body.get("stream_options", dict[str, object], "an object") or {}
    wants_usage = options.get("include_usage") is True
    without = JsonBody({name: raw for name, raw in body.members.items() if name != "stream_options"})
    return evolve(openai_responses.read_request(without), wants_usage=wants_usage)


# Some editors send a Responses body to Chat's path (docs/wire/clients.md#other-clients, Cursor).
assert OPENAI_CHAT.client is not None
CHAT_WITH_INPUT = evolve(
    OPENAI_CHAT, name="openai_chat_with_input", client=evolve(OPENAI_CHAT.client, read_request=_read_input)
)
