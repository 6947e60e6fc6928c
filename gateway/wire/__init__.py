"""All wire formats by name. A dialect more is one line here."""

from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES, COUNT_TOKENS
from gateway.wire.dialect import Dialect
from gateway.wire.opaque import carried
from gateway.wire.openai_chat import OPENAI_CHAT, OPENAI_COMPLETIONS
from gateway.wire.openai_responses import OPENAI_RESPONSES

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OPENAI_CHAT,
        ANTHROPIC_MESSAGES,
        COUNT_TOKENS,
        OPENAI_RESPONSES,
        OPENAI_COMPLETIONS,
        carried("openai_embeddings", "/embeddings"),
        carried("openai_moderations", "/moderations"),
        carried("openai_rerank", "/rerank"),
        carried("openai_images_generations", "/images/generations"),
        carried("openai_images_edits", "/images/edits"),
        carried("openai_speech", "/audio/speech", is_json=False),
        carried("openai_transcriptions", "/audio/transcriptions", is_json=False),
        carried("openai_translations", "/audio/translations", is_json=False),
    )
}
