"""`/v1/models` and its kin: the models that a client may use, in the shape that its SDK expects."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from gateway.errors import BadRequest, GatewayError, NotFound, UnknownModel
from gateway.policy.capabilities import own_settings
from gateway.policy.routes import aliases_by_provider, may_use
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.listings import Listing, limits_in, write_manifest
from gateway.server.model_lists import Listed, ModelLists

MODEL_LISTS = web.AppKey("model_lists", ModelLists)
FORMATS = ("openai", "anthropic", "codex", "raw")
MAX_PAGE = 1000
MAX_CREATED = 253_402_300_800  # Unix seconds of the year 10,000, which has no date


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    context = request[CONTEXT]
    shape = _shape(request)
    provider = request.headers.get("provider") or request.query.get("provider")
    if provider is not None and provider not in context.snapshot.config.providers:
        raise NotFound(f"Unknown provider '{provider[:100]}'", param="provider")
    lists = await _lists(request, context, provider)
    if shape == "raw":
        raw = {name: _visible(context, name, one.raw) for name, one in lists.items()}
        return _json(raw.get(provider or "", raw))
    found = list(_listings(request.app[GATEWAY], context, lists, provider))
    if shape == "anthropic":
        return _json(_page(found, request.query))
    if shape == "codex":
        aliases = _aliases(request.app[GATEWAY], context, lists, provider)
        return _json(write_manifest(aliases, request.query.get("client_version", "")))
    return _json({"object": "list", "data": [listing.openai() for listing in found]})


async def show_model(request: web.Request) -> web.Response:
    """GET /v1/models/{id}: an alias, or a model of a provider's list. Raises UnknownModel for any other name."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    shape = _shape(request)
    name = request.match_info["id"]
    known = request.app[MODEL_LISTS].known(context.snapshot, list(context.snapshot.config.providers))
    found = next((one for one in _aliases(gateway, context, known, None) if one.id == name), None)
    if found is None:
        lists = await _lists(request, context, None)
        found = next((one for one in _listings(gateway, context, lists, None) if one.id == name), None)
    if found is None:
        raise UnknownModel(f"The model '{name[:200]}' does not exist", param="model")
    return _json(found.anthropic() if shape == "anthropic" else found.openai())


async def list_aliases(request: web.Request) -> web.Response:
    """GET /v1/aliases: {provider: {alias: model}} of the key, and aliases that the gateway suggests."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    config, owner = context.snapshot.config, context.owner
    routes = {alias: route for alias, route in config.routes.items() if owner is None or may_use(owner.key, alias)}
    aliases = aliases_by_provider(routes)
    suggested = gateway.setup.top_models.get("suggested_aliases", {})
    return _json({"object": "list", "aliases": aliases, "suggested": {"default": suggested}, "total": len(routes)})


async def top_models(request: web.Request) -> web.Response:
    """GET /top-models: the curated list that ships with the gateway."""
    curated, query = request.app[GATEWAY].setup.top_models, request.query
    limit = _number(query, "limit", 10, 50)
    wanted = query.get("provider")
    ranked = [{**model, "ranking": rank} for rank, model in enumerate(curated.get("models", []), 1)]
    chosen = [model for model in ranked if wanted is None or model["provider"] == wanted][:limit]
    answer = {
        "object": "top_models",
        "source": "packaged",
        "last_updated": curated.get("last_updated"),
        "providers": sorted({model["provider"] for model in chosen}),
        "models": chosen,
        "suggested_aliases": curated.get("suggested_aliases", {}),
    }
    if query.get("include_cache_info") == "true":
        answer["cache_info"] = {"source": "packaged", "refreshable": False}
    return _json(answer)


async def _lists(request: web.Request, context: RequestContext, provider: str | None) -> dict[str, Listed]:
    names = [provider] if provider is not None else list(context.snapshot.config.providers)
    refresh = request.query.get("refresh", "").lower() == "true"
    return await request.app[MODEL_LISTS].lists(context.snapshot, names, refresh)


def _listings(
    gateway: Gateway, context: RequestContext, lists: Mapping[str, Listed], provider: str | None
) -> Iterator[Listing]:
    seen = set()
    for listing in _aliases(gateway, context, lists, provider):
        seen.add(listing.id)
        yield listing
    for name, listed in lists.items():
        for model in listed.raw["data"]:
            if isinstance(model, dict) and isinstance(model.get("id"), str) and model["id"]:
                listing = _of_provider(context, name, model)
                if listing.id not in seen and _may_see(context, listing):
                    seen.add(listing.id)
                    yield listing


def _aliases(
    gateway: Gateway, context: RequestContext, lists: Mapping[str, Listed], provider: str | None
) -> Iterator[Listing]:
    """List each alias as the first of its targets whose provider has a credential; none of them: it is left out."""
    config = context.snapshot.config
    for alias in context.snapshot.table.aliases:
        targets = config.routes[alias].targets
        target = next((one for one in targets if gateway.is_live(config.providers[one.provider])), None)
        if target is None or (provider is not None and target.provider != provider):
            continue
        if context.owner is not None and not may_use(context.owner.key, alias):
            continue
        model, started = target.model or alias, int(gateway.lifecycle.started_at)
        said = lists[target.provider].entry(model) if target.provider in lists else {}
        yield _make(context, alias, target.provider, model, started, alias, said)


def _of_provider(context: RequestContext, provider: str, model: Mapping[str, Any]) -> Listing:
    """List a model of a provider's own list by the name that routes to it: its id, or `provider:id`."""
    name = model["id"]
    shown = name if _leads_to(context, name, provider) else f"{provider}:{name}"
    created = model.get("created")
    if not isinstance(created, int) or not 0 <= created < MAX_CREATED:
        created = _unix(model.get("created_at"))
    display = model.get("display_name")
    return _make(context, shown, provider, name, created, display if isinstance(display, str) else name, model)


def _leads_to(context: RequestContext, name: str, provider: str) -> bool:
    try:
        target = context.snapshot.table.resolve(name).route.targets[0]
    except GatewayError:
        return False
    return target.provider == provider and target.model == name


def _visible(context: RequestContext, provider: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Return a provider's own list as it is, or with the models only that the client's key may use."""
    if context.owner is None or context.owner.key.has_all_routes:
        return raw
    models = [model for model in raw["data"] if isinstance(model, dict) and isinstance(model.get("id"), str)]
    return {
        "object": "list",
        "data": [one for one in models if _may_see(context, _of_provider(context, provider, one))],
    }


def _may_see(context: RequestContext, listing: Listing) -> bool:
    if context.owner is None:
        return True
    try:
        return may_use(context.owner.key, context.snapshot.table.resolve(listing.id).access)
    except GatewayError:  # no name that leads anywhere
        return False


def _make(
    context: RequestContext,
    shown: str,
    provider_name: str,
    model: str,
    created: int,
    display: str,
    said: Mapping[str, Any],
) -> Listing:
    capabilities, provider = context.snapshot.capabilities, context.snapshot.config.providers[provider_name]
    profile, own = capabilities.profile(provider, model), own_settings(provider, model)
    context_said, output_said = limits_in(said)
    return Listing(
        id=shown,
        provider=provider,
        model=model,
        created=created,
        profile=profile,
        context=profile.context if "context" in own else context_said or profile.context,
        max_output=profile.max_output if "max_output" in own else output_said or profile.max_output,
        display_name=display,
        said=said,
    )


def _unix(text: Any) -> int:
    try:
        return max(0, int(datetime.fromisoformat(text).timestamp()))
    except (TypeError, ValueError, OverflowError):
        return 0


def _shape(request: web.Request) -> str:
    """Choose the shape: by query, by path, else by the signs of an Anthropic SDK (docs/endpoints.md#model-lists)."""
    shape = request.query.get("format")
    if shape is not None:
        if shape not in FORMATS:
            raise BadRequest(f"'format' must be one of {', '.join(FORMATS)}", param="format")
        return shape
    headers = request.headers
    if "client_version" in request.query:
        return "codex"
    if "/openai/" in request.path:
        return "openai"
    if "anthropic-version" in headers:
        return "anthropic"
    agent = headers.get("User-Agent", "").lower()
    is_anthropic = agent.startswith(("anthropic", "claude-cli", "claude-code"))
    return "anthropic" if "x-api-key" in headers and "Authorization" not in headers and is_anthropic else "openai"


def _page(found: list[Listing], query: Mapping[str, str]) -> dict[str, Any]:
    """Anthropic's paging: `after_id` and `before_id` are exclusive."""
    limit = _number(query, "limit", 20, MAX_PAGE)
    ids = [listing.id for listing in found]
    start, stop = 0, len(found)
    if (after := query.get("after_id")) in ids:
        start = ids.index(after) + 1
    if (before := query.get("before_id")) in ids:
        stop = ids.index(before)
        start = max(start, stop - limit)
    page = found[start:stop][:limit]
    return {
        "data": [listing.anthropic() for listing in page],
        "has_more": start + len(page) < stop,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise BadRequest(f"'{name}' must be a number from 1 to {most}", param=name)
    return int(text)


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
