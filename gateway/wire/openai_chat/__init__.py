"""OpenAI Chat Completions, and the worker's `/chat`, which differs only in how it says errors."""

from attrs import evolve

from gateway.wire.dialect import Dialect
from gateway.wire.fault import read_declined
from gateway.wire.openai_chat import raw
from gateway.wire.openai_chat.worker import write_worker_error
from gateway.wire.openai_error import write_error

OPENAI_CHAT = Dialect(
    name="openai_chat",
    path="/chat/completions",
    read_error=read_declined,
    write_error=write_error,
    glance=raw.glance,
    watch=raw.watch,
    ask=raw.ask,
    put=raw.put,
    generates=True,
    probe={"messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 16},
)
OPENAI_COMPLETIONS = evolve(OPENAI_CHAT, name="openai_completions", path="/completions", probe={})
WORKER_CHAT = evolve(OPENAI_CHAT, write_error=write_worker_error)
