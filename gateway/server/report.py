"""What `gateway routes` prints: how model names are resolved. It sends nothing to a provider."""

from collections.abc import Iterator

from gateway.config.provider_schema import Provider
from gateway.config.schema import Route, Target
from gateway.policy.routes import Resolved
from gateway.proxy.plan.choose import upstream_dialect
from gateway.proxy.snapshot import Snapshot
from gateway.wire import DIALECTS
from gateway.wire.dialect import Dialect


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
