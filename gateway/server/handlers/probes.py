"""Endpoints for load balancers, operators and their scripts. None of them ever calls a provider."""

from typing import Any

import msgspec
import yaml
from aiohttp import web

from gateway import __version__
from gateway.clock import write_time
from gateway.proxy.context import CONTEXT
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.handlers.rests import list_rests
from gateway.server.middleware.authenticate import may_operate
from gateway.server.siblings import merge, siblings_of
from gateway.store.protocol import StoreState
from gateway.upstream.credentials import hash_id
from gateway.wire import DIALECTS
from gateway.wire.anthropic_messages.request import STANDARD_OUTPUT

PUBLIC = "public"  # member of the query: what everybody may see, from one worker to another
WORST = ("healthy", "degraded", "unhealthy", "draining")
# The paths that `GET /` lists, by name; filled by `server/routes`.
SHOWN: web.AppKey[dict[str, str]] = web.AppKey("shown", dict)


async def root(request: web.Request) -> web.Response:
    """GET /: the version, the state, a summary of the configuration and the list of endpoints."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    config = context.snapshot.config
    return _json(
        {
            "status": "ok",
            "state": "draining" if gateway.lifecycle.is_draining else "running",
            "service": "gateway",
            "message": f"gateway v{__version__}",
            "version": __version__,
            "timestamp": write_time(gateway.clock.time()),
            "config": {
                "base_url": f"{request.scheme}://{request.host}",
                "max_tokens_limit": _most_output(context.snapshot),
                "api_key_configured": any(provider.is_live for provider in config.providers.values()),
                "client_api_key_validation": bool(config.keys),
                "default_provider": config.default_provider,
                "aliases": len(config.routes),
                "providers": sum(map(gateway.is_live, config.providers.values())),
                "max_body": config.server.max_body,
            },
            "endpoints": request.app[SHOWN],
        }
    )


async def livez(request: web.Request) -> web.Response:
    """GET /livez: always 200, which shows that the event loop turns."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: 503 while starting, draining, or with no target that has a credential."""
    gateway = request.app[GATEWAY]
    if not gateway.lifecycle.is_started:
        return web.Response(status=503, text="starting\n")
    if gateway.lifecycle.is_draining:
        return web.Response(status=503, text="draining\n")
    if not _has_live_target(gateway):
        return web.Response(status=503, text="no target has a credential\n")
    return web.Response(text="ready\n")


async def health(request: web.Request) -> web.Response:
    """GET /health: status and counts, in YAML or, if the client asks for it, JSON; details for operators only."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    status = health_status(gateway)
    report: dict[str, Any] = {
        "status": status,
        "timestamp": write_time(gateway.clock.time()),
        "version": __version__,
        "api_key_valid": _key_valid(gateway, context.snapshot.config.default_provider),
        "client_api_key_validation": bool(context.snapshot.config.keys),
        "default_provider": context.snapshot.config.default_provider,
        "store": gateway.responses.state.value,
    }
    resting = gateway.selection.rests(context.snapshot, gateway.clock.monotonic())
    dead = _dead_routes(gateway)
    is_public = not may_operate(request, context) or PUBLIC in request.query
    if not is_public:
        report["providers"] = _providers(gateway)
        report["resting"] = {name: round(seconds, 1) for name, seconds in resting.items()}
        report["rests"] = list_rests(gateway)
        report["routes_without_credential"] = dead
        if gateway.reload_problems:
            report["reload_problems"] = gateway.reload_problems
    else:  # counts only: targets may have names that clients made up
        providers = context.snapshot.config.providers.values()
        report["providers"] = {"configured": len(providers), "live": sum(map(gateway.is_live, providers))}
        report["resting"] = len(resting)
        report["routes_without_credential"] = len(dead)
        if gateway.reload_problems:
            report["reload_problems"] = len(gateway.reload_problems)
    if (siblings := siblings_of(request)) is not None:
        others = [
            msgspec.json.decode(part)
            for part in await siblings.ask("/health", format="json", **({PUBLIC: "1"} if is_public else {}))
        ]
        report = _of_all(report, others)
        status = report["status"]
    code = 200 if status in ("healthy", "degraded") else 503
    if request.query.get("format") == "json" or "application/json" in ",".join(request.headers.getall("Accept", ())):
        return _json(report, code)
    text = yaml.safe_dump(report, sort_keys=False, allow_unicode=True)
    return web.Response(status=code, text=text, content_type="application/yaml")


def _of_all(own: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """Join what the workers say: the worst status; what rests anywhere rests, for the longest of the times."""
    reports = [own, *others]
    merged = own | {"status": max((one["status"] for one in reports), key=WORST.index), "workers": len(reports)}
    if isinstance(own["resting"], dict):
        merged["resting"] = {}
        for one in reports:
            for name, seconds in one["resting"].items():
                merged["resting"][name] = max(seconds, merged["resting"].get(name, 0.0))
        merged["rests"] = [rest for one in reports for rest in one["rests"]]
    else:
        merged["resting"] = max(one["resting"] for one in reports)
    found = [one["reload_problems"] for one in reports if one.get("reload_problems")]
    return merged | {"reload_problems": found[0]} if found else merged


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: the metrics in the text format of Prometheus; 404 if `server.expose.metrics` is off."""
    if not request[CONTEXT].snapshot.config.server.expose.metrics:
        raise web.HTTPNotFound
    body = request.app[GATEWAY].telemetry.metrics.expose()
    if (siblings := siblings_of(request)) is not None:
        others = [part.decode() for part in await siblings.ask("/metrics")]
        body = merge([body.decode(), *others, *siblings.left()]).encode()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def health_status(gateway: Gateway) -> str:
    """Return `draining`, `unhealthy`, `degraded` or `healthy`, the first that holds.

    Unhealthy: no target has a credential. Degraded: a route has no target with one, a target is not live, the last
    reload was refused, or the store is not in order.
    """
    snapshot, now = gateway.snapshot, gateway.clock.monotonic()
    if gateway.lifecycle.is_draining:
        return "draining"
    if not _has_live_target(gateway):
        return "unhealthy"
    routes, all_live = snapshot.config.routes.values(), not _dead_routes(gateway)
    rests = gateway.selection.rests(snapshot, now)
    resting = any(target.name in rests for route in routes for target in route.targets)
    is_whole = not gateway.reload_problems and gateway.responses.state is StoreState.OK
    return "healthy" if all_live and not resting and is_whole else "degraded"


def _has_live_target(gateway: Gateway) -> bool:
    config = gateway.snapshot.config
    named = {target.provider for route in config.routes.values() for target in route.targets}
    return any(gateway.is_live(config.providers[name]) for name in named or config.providers)


def _dead_routes(gateway: Gateway) -> list[str]:
    """Return the aliases and globs none of whose targets has a credential: `/v1/models` does not list them."""
    config = gateway.snapshot.config
    return [
        alias
        for alias, route in config.routes.items()
        if not any(gateway.is_live(config.providers[target.provider]) for target in route.targets)
    ]


def _most_output(snapshot: Snapshot) -> int:
    """Return the most output tokens that any route's model is known to write; what is sent by default if none is."""
    config = snapshot.config
    known = (
        snapshot.capabilities.profile(config.providers[target.provider], target.model or alias).max_output
        for alias, route in config.routes.items()
        for target in route.targets
    )
    return max(filter(None, known), default=STANDARD_OUTPUT)


def _providers(gateway: Gateway) -> dict[str, Any]:
    out = {}
    for name, provider in gateway.snapshot.config.providers.items():
        hashes = [f"sha256:{hash_id(secret.value)}" for secret in provider.auth.secrets if secret.value]
        out[name] = {
            "api_format": "anthropic" if all(DIALECTS[one].is_anthropic for one in provider.speaks) else "openai",
            "dialects": list(provider.speaks),
            "live": gateway.is_live(provider),
            "api_key_valid": _key_valid(gateway, name),
            "base_url": provider.base_url,
            "api_key_hash": hashes[0] if len(hashes) == 1 else hashes or None,
        }
    return out


def _key_valid(gateway: Gateway, provider: str | None) -> bool | None:
    """Whether the provider accepted its credential the last time that it was used; None if it was not used yet."""
    return gateway.selection.key_seen_valid.get(provider) if provider is not None else None


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
