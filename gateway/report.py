"""What `gateway routes` prints: how names are resolved, without asking any provider."""

from collections.abc import Iterator

from gateway.config import Provider, Target
from gateway.lanes import spoken
from gateway.parts import Snapshot
from gateway.routing import Resolved
from gateway.wire import DIALECTS


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
    """One name in detail: targets in order, credentials, what reaches them raw."""
    route = resolved.route
    lines = [
        f"{resolved.alias}: {route.policy}, at most {resolved.retry.attempts} attempts in {resolved.retry.within:g} s"
    ]
    for number, target in enumerate(route.targets, 1):
        lines.append(f"  {number}. {target.name}{_mark(snapshot, target)}")
        lines += _lanes(snapshot.config.providers[target.provider])
    too_long = "  when the context is too long: "
    lines += [f"{too_long}{target.name}{_mark(snapshot, target)}" for target in route.context_fallback]
    return "\n".join(lines)


def _lanes(provider: Provider) -> Iterator[str]:
    """Which client paths reach a provider raw, and which are translated, with what is lost on the way."""
    yield f"     raw: {', '.join(DIALECTS[name].path for name in provider.speaks)}"
    for dialect in DIALECTS.values():
        upstream = spoken(dialect, provider)
        if upstream is None or upstream is dialect or upstream.upstream is None:
            continue
        yield f"     translated: {dialect.path} into {upstream.name}, which cannot say all of it:"
        yield from (f"       - {what}: {how}" for what, how in upstream.upstream.sheds.items())


def _mark(snapshot: Snapshot, target: Target) -> str:
    provider = snapshot.config.providers[target.provider]
    if provider.auth.is_passthrough:
        return " (client's key)"
    return "" if provider.is_live else " (no credential)"
