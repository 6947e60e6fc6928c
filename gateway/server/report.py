"""What `gateway routes` prints: how model names are resolved. It sends nothing to a provider."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from gateway.accounts.limits import span
from gateway.config.provider_schema import Provider
from gateway.config.schema import Budget, Config, Limit, Route, Target
from gateway.policy.routes import Resolved
from gateway.proxy.plan.choose import upstream_dialect
from gateway.proxy.snapshot import Snapshot
from gateway.upstream.credentials import KEY_ID
from gateway.wire import DIALECTS
from gateway.wire.dialect import Dialect


def write_keys(config: Config, today: date) -> list[dict[str, Any]]:
    """Return the keys with what is set for them, for a table or as JSON; of their secrets only the ids of the log."""
    found = []
    for name, key in config.keys.items():
        limits = key.limits if key.limits is not None else config.limits.key
        found.append(
            {
                "name": name,
                "key_ids": [secret.digest.hex()[:KEY_ID] for secret in key.secret],
                "routes": list(key.routes),
                "labels": key.labels,
                "operator": key.operator,
                "expires": key.expires.isoformat() if key.expires is not None else None,
                "expired": key.expires is not None and key.expires < today,
                "limits": {kind: _limit_words(limit) for kind, limit in limits.items()},
                "budget": _budget_words(key.budget),
            }
        )
    return found


def keys_table(keys: list[dict[str, Any]]) -> str:
    """Write the keys for people."""
    lines = [["key", "ids", "routes", "labels", "expires", "limits", "budget"]]
    for key in keys:
        expires = "-" if key["expires"] is None else f"{key['expires']}{' (expired)' if key['expired'] else ''}"
        labels = " ".join(f"{name}={value}" for name, value in key["labels"].items())
        limits = "; ".join(f"{kind}: {words}" for kind, words in key["limits"].items())
        name = f"{key['name']}{' (operator)' if key['operator'] else ''}"
        cells = [name, " ".join(key["key_ids"]), " ".join(key["routes"]), labels, expires, limits, key["budget"] or ""]
        lines.append([cell or "-" for cell in cells])
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _limit_words(limit: Limit) -> str:
    words = []
    for unit, rate in (("requests", limit.requests), ("tokens", limit.tokens)):
        if rate is not None:
            words.append(f"{rate.amount} {unit}/{span(rate.per)}")
    if limit.burst:
        words.append(f"burst {limit.burst}")
    if limit.concurrent is not None:
        words.append(f"{limit.concurrent} at once")
    return ", ".join(words)


def _budget_words(budget: Budget | None) -> str | None:
    if budget is None:
        return None
    parts = [f"{budget.usd:g} USD"] if budget.usd is not None else []
    parts += [f"{budget.tokens} tokens"] if budget.tokens is not None else []
    return f"{', '.join(parts)} a {budget.per}"


def write_routes(snapshot: Snapshot) -> str:
    """All routes, one line each."""
    lines = []
    width = max((len(alias) for alias in snapshot.config.routes), default=0)
    for alias, route in snapshot.config.routes.items():
        arrow = " -> ".join(
            f"{target.provider}:{target.model or alias}{_mark(snapshot, target)}" for target in route.targets
        )
        lines.append(f"{alias:<{width}}  {route.policy:<13} {arrow}")
    if (provider := snapshot.config.default_provider) is not None:
        lines.append(f"{'(any other)':<{width}}  default       {provider}")
    return "\n".join(lines) or "no routes are configured"


def write_route(snapshot: Snapshot, resolved: Resolved) -> str:
    """One name in detail: its targets in order, missing credentials, raw and translated paths, what is lost."""
    route = resolved.route
    lines = [
        f"{resolved.alias}: {route.policy}, at most {resolved.retry.attempts} attempts in {resolved.retry.within:g} s"
    ]
    for number, target in enumerate(route.targets, 1):
        lines.append(f"  {number}. {target.name}{_mark(snapshot, target)}")
        lines += _lanes(snapshot.config.providers[target.provider])
    lines += _shed(snapshot, route)
    too_long = "  when the context is too long: "
    lines += [f"{too_long}{target.name}{_mark(snapshot, target)}" for target in route.context_fallback]
    return "\n".join(lines)


def _lanes(provider: Provider) -> Iterator[str]:
    """Which client paths reach a provider raw, and which are translated."""
    yield f"     raw: {', '.join(DIALECTS[name].path for name in provider.speaks)}"
    for client, upstream in _crossings(provider):
        yield f"     translated: {client.path} into {upstream.name}"


def _shed(snapshot: Snapshot, route: Route) -> Iterator[str]:
    """What is lost on the way, once for each kind of crossing."""
    providers = [snapshot.config.providers[target.provider] for target in route.targets]
    seen: set[tuple[str, str]] = set()
    for client, upstream in (pair for provider in providers for pair in _crossings(provider)):
        if (client.name, upstream.name) in seen or upstream.upstream is None:
            continue
        if not seen:
            doing = "refuses" if route.on_shed == "refuse" else "drops, and names in x-gateway-dropped,"
            yield f"  what a translation cannot say (on_shed: {route.on_shed} {doing} what is dropped here):"
        seen.add((client.name, upstream.name))
        yield f"   {client.path} into {upstream.name}"
        yield from (f"     - {what}: {how}" for what, how in upstream.upstream.losses_of(client.name).items())


def _crossings(provider: Provider) -> Iterator[tuple[Dialect, Dialect]]:
    """(client's dialect, upstream's) of every translation that a provider needs."""
    for dialect in DIALECTS.values():
        upstream = upstream_dialect(dialect, provider) if dialect.generates else None
        if upstream is not None and upstream is not dialect:
            yield dialect, upstream


def _mark(snapshot: Snapshot, target: Target) -> str:
    provider = snapshot.config.providers[target.provider]
    if provider.auth.is_passthrough:
        return " (client's key)"
    return "" if provider.is_live else " (no credential)"
