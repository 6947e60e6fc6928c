"""The model lists of providers: cached for an hour, in memory and on disk; served stale when a provider fails."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field
from yarl import URL

from gateway.config.provider_schema import Provider, Timeouts
from gateway.errors import Unreadable, UpstreamFault
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.state import Gateway
from gateway.proxy.trail import LOOP
from gateway.store.private_file import replace_private
from gateway.upstream.client import Deadline, Upstream, UpstreamRequest
from gateway.upstream.credentials import Credential

TTL = 3600.0
FAILED_TTL = 30.0
REFRESH_TTL = 10.0  # `refresh=true` is any client's, and a provider's list is not to be fetched for each of them
# Claude Code waits three seconds for a model list (docs/wire/http.md#paths).
PATIENCE = 2.5
MAX_BYTES = 8 * 1024 * 1024
MAX_MODELS = 5_000  # of one provider; the longest known list has some 500
FILE = "models.json"


class Listed(msgspec.Struct):
    """The list that a provider sent, as it came, and when (Unix seconds)."""

    at: float
    raw: dict[str, Any]

    def entry(self, model: str) -> dict[str, Any]:
        """Return what the list says of one model; nothing if the model is not in it."""
        found = (one for one in self.raw["data"] if isinstance(one, dict) and one.get("id") == model)
        return next(found, {})


@define
class ModelLists:
    """The model lists of all providers."""

    gateway: Gateway
    _known: dict[str, Listed] = field(factory=dict, init=False)
    _failed: dict[str, float] = field(factory=dict, init=False)  # Unix seconds of the last failure
    _refreshed: dict[str, float] = field(factory=dict, init=False)  # Unix seconds of the last fetch by `refresh`
    _locks: dict[str, asyncio.Lock] = field(factory=dict, init=False)
    _writing: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _is_read: bool = field(default=False, init=False)

    async def lists(self, snapshot: Snapshot, names: list[str], refresh: bool) -> dict[str, Listed]:
        """Return the lists of those `names` that have one, fresh or stale. All requests are sent at the same time."""
        if not self._is_read:
            self._is_read = True
            self._known = await asyncio.to_thread(_read, self._path)
        providers = [snapshot.config.providers[name] for name in names]
        fetched = await asyncio.gather(*(self._refresh(snapshot, one, refresh) for one in providers if _has_list(one)))
        if any(fetched):
            async with self._writing:
                await asyncio.to_thread(_write, self._path, dict(self._known))
        return self.known(snapshot, names)

    def known(self, snapshot: Snapshot, names: list[str]) -> dict[str, Listed]:
        """Return what is known of the lists of `names` without a request; nothing of a provider that has none now."""
        providers = snapshot.config.providers
        return {name: self._known[name] for name in names if name in self._known and _has_list(providers[name])}

    async def _refresh(self, snapshot: Snapshot, provider: Provider, refresh: bool) -> bool:
        """Fetch a provider's list if it has expired, or if `refresh` is true. Return whether there is a new one."""
        lock = self._locks.setdefault(provider.name, asyncio.Lock())
        asked_at = self.gateway.clock.time()
        async with lock:
            known = self._known.get(provider.name)
            if refresh and self._refreshed.get(provider.name, 0.0) <= asked_at - REFRESH_TTL:
                self._refreshed[provider.name] = asked_at
            else:
                refresh = False
            if known is not None and known.at > asked_at + TTL:  # the clock was put back
                known = None
            if known is not None and (known.at >= asked_at or (not refresh and known.at > asked_at - TTL)):
                return False
            failed_at = self._failed.get(provider.name, 0.0)
            if failed_at >= asked_at or (not refresh and failed_at > asked_at - FAILED_TTL):
                return False  # whoever asks for lists does not decide how often a dead provider is dialled
            try:
                clean, mark = self.gateway.telemetry.redactor.clean, self.gateway.loop_mark
                raw = await fetch_list(self.gateway.upstream, snapshot, provider, clean, mark=mark)
            except UpstreamFault as fault:
                self._failed[provider.name] = self.gateway.clock.time()
                self.gateway.telemetry.logs.log.warning(
                    "model list failed", provider=provider.name, reason=fault.message
                )
                return False
            self._known[provider.name] = Listed(self.gateway.clock.time(), raw)
            return True

    @property
    def _path(self) -> Path | None:
        return Path(self.gateway.setup.state_dir, FILE) if self.gateway.setup.state_dir is not None else None


async def fetch_list(
    upstream: Upstream,
    snapshot: Snapshot,
    provider: Provider,
    clean: Callable[[bytes], bytes],
    *,
    mark: str = "",
    patience: float = PATIENCE,
) -> dict[str, Any]:
    """Ask a provider for its model list. Raises UpstreamFault.

    `clean` takes secrets out of it, which the provider may repeat; `mark` is the gateway's own in LOOP; `patience` is
    in seconds.
    """
    pool = snapshot.credential_pools[provider.name]
    credential: Credential = pool.credentials[0]
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **provider.plain_headers}
    if mark:
        headers[LOOP] = mark
    if credential.header:
        headers[credential.header] = credential.value
    url = URL(snapshot.base_urls[provider.name] + (provider.lists_models or ""), encoded=True)
    request = UpstreamRequest(
        provider=provider.name,
        url=url.with_query(provider.query) if provider.query else url,
        headers=headers,
        body=b"",
        timeouts=Timeouts(connect=provider.timeouts.connect),
        is_stream=False,
        max_connections=provider.max_connections or snapshot.config.server.max_concurrent,
        method="GET",
        outbound=snapshot.outbounds[provider.name],
    )
    deadline = Deadline(asyncio.get_running_loop().time() + patience, patience, "the wait for a model list")
    reply = await upstream.open(request, deadline)
    try:
        return read_list(reply.status, clean(await reply.read(MAX_BYTES, deadline)))
    finally:
        reply.close()


def read_list(status: int, body: bytes) -> dict[str, Any]:
    """Decode a provider's list. Raises UpstreamFault unless it has status 200 and is an object with a list `data`."""
    if status in (401, 403):
        raise Unreadable(f"the provider refuses the credential (status {status})")
    if status != 200:
        raise Unreadable(f"the provider answered with status {status}")
    try:
        found: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unreadable("the provider's model list is not JSON") from None
    models = found.get("data")
    if not isinstance(models, list):
        raise Unreadable("the provider's model list has no data")
    if len(models) > MAX_MODELS:
        found["data"] = models[:MAX_MODELS]
    return found


def _has_list(provider: Provider) -> bool:
    return provider.is_live and not provider.auth.is_passthrough and provider.lists_models is not None


def _read(path: Path | None) -> dict[str, Listed]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Listed]) if path is not None else {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}  # the file is a cache: a list that cannot be read is fetched again


def _write(path: Path | None, known: Mapping[str, Listed]) -> None:
    if path is None:
        return
    try:
        replace_private(path, msgspec.json.encode(known))
    except OSError:
        return  # a full disk loses the file, and nothing else
