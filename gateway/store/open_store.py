"""Opens the store that a URL names. What is not configured is never imported, and costs no memory."""

import importlib
from pathlib import Path

from gateway.store.memory import MemoryResponses
from gateway.store.protocol import Responses, StoreUnusable

_REDIS = ("gateway.store.redis", "RedisResponses", "pip install 'aiohttp-llm-gateway[redis]'")
# Scheme -> (module, class, what to do when it cannot be imported).
_SCHEMES = {
    "sqlite": ("gateway.store.sqlite", "SqliteResponses", "use a Python that was built with SQLite"),
    "redis": _REDIS,
    "rediss": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
}


async def open_responses(url: str, file: Path | None) -> Responses:
    """Open the store of responses; `file` is where SQLite's lies. Raises StoreUnusable."""
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return MemoryResponses()
    module, name, hint = _SCHEMES[scheme]
    try:
        store = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise StoreUnusable(f"store.url: {scheme} needs {error.name}: {hint}") from None
    opened: Responses = await store.open(file if scheme == "sqlite" else url)
    return opened
