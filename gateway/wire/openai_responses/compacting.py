"""`/responses/compact`: a conversation made short by the provider that will go on with it. Carried, never crossed."""

from attrs import evolve

from gateway.wire.openai_responses import OPENAI_RESPONSES

COMPACT = evolve(
    OPENAI_RESPONSES,
    name="openai_compact",
    path="/responses/compact",
    client=None,
    upstream=None,
    generates=False,
    probe={},
)
