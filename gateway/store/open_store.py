"""Opens the store that a URL names. Imports only the configured store's module, which saves memory."""

import importlib
from pathlib import Path

from gateway.store.counters import SharedCounters
from gateway.store.protocol import Responses, StoreUnusable
from gateway.store.schemes import split_scheme


async def open_responses(url: str, file: Path | None, held: int | None = None) -> Responses:
    """Open the store of responses. `file` is the database file of a store that has one. Raises StoreUnusable.

    `held` is the descriptor of the file's lock, if the process above this one has claimed it.
    """
    scheme, _ = split_scheme(url)
    if scheme is None:
        raise StoreUnusable(f"store.url: nothing here can open {url.partition(':')[0]}:")
    try:
        store = getattr(importlib.import_module(scheme.module), scheme.name)
    except ModuleNotFoundError as error:
        raise StoreUnusable(f"store.url: {url.partition(':')[0]} needs {error.name}: {scheme.hint}") from None
    opened: Responses = await (store.open(url, file) if held is None else store.open(url, file, held))
    return opened


def open_counters(url: str, machine: str = "") -> SharedCounters | None:
    """Open the counters that several gateways share in a store; None for a store of one gateway's own.

    `machine` names the gateway that this process is a worker of. Raises StoreUnusable.
    """
    scheme, _ = split_scheme(url)
    if scheme is None or not scheme.counters:
        return None
    module, _, name = scheme.counters.rpartition(".")
    opened: SharedCounters = getattr(importlib.import_module(module), name).open(url, machine)
    return opened
