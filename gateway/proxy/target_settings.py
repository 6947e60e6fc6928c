"""What a target's settings and those of its provider come to: where a call goes, and how long it is waited for."""

from functools import lru_cache
from urllib.parse import quote

from attrs import evolve, fields
from yarl import URL

from gateway.config.fields import ORIGIN
from gateway.config.provider_schema import NO_OVERRIDES, Provider, TargetTimeouts, Timeouts
from gateway.config.schema import Target


def url_of(base: str, provider: Provider, dialect: str, model: str) -> URL:
    """Return where a call goes: the path of its dialect below the base URL, with the model in it if it has a place."""
    path = provider.speaks[dialect]
    if "{model}" in path:
        path = path.replace("{model}", quote(model, safe=""))
    url = _parsed(base, path)
    return url.with_query(provider.query) if provider.query and not url.raw_query_string else url


@lru_cache(256)
def _parsed(base: str, path: str) -> URL:
    if path.startswith(ORIGIN):
        base, path = str(URL(base, encoded=True).origin()), path.removeprefix(ORIGIN)
    return URL(base + path, encoded=True)


def timeouts_of(provider: Provider, target: Target) -> Timeouts:
    """Put the target's timeouts over the provider's."""
    if target.timeouts is NO_OVERRIDES:
        return provider.timeouts
    own = {found.name: getattr(target.timeouts, found.name) for found in fields(TargetTimeouts)}
    return evolve(provider.timeouts, **{name: value for name, value in own.items() if value is not None})
