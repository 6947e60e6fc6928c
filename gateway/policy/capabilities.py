"""Finds what each (provider, model) can do: packaged data, overridden by providers.yaml."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from attrs import define, field, fields

from gateway.config.provider_schema import Provider
from gateway.wire.profile import Price, Profile

_KNOWN = frozenset(found.name for found in fields(Profile))


@define
class Capabilities:
    """Profiles by provider and model.

    `packaged` is data/models.yaml: {family or "*": {model glob: settings}}. The settings of every glob that matches
    are merged, and a later one wins: first family "*", then the provider's family, then providers.yaml, each in
    the order of its file.
    """

    packaged: Mapping[str, Mapping[str, Mapping[str, Any]]]
    _found: dict[tuple[str, str], Profile] = field(factory=dict, init=False)

    def profile(self, provider: Provider, model: str) -> Profile:
        """Return what `model` can do at `provider`. Cached: configurations are replaced, never changed."""
        place = (provider.name, model)
        if (profile := self._found.get(place)) is None:
            settings: dict[str, Any] = {}
            for family in ("*", provider.family):
                for pattern, packaged in self.packaged.get(family, {}).items():
                    if fnmatchcase(model, pattern):
                        settings |= packaged
            profile = _build(settings | own_settings(provider, model))
            if len(self._found) < 10_000:  # clients invent names under a glob or default route: bound the cache
                self._found[place] = profile
        return profile


# The path where a provider of a dialect makes compactions, which shows that it makes them everywhere in that dialect.
_COMPACTS = dict.fromkeys(("openai_responses", "openai_compact", "openai_input_tokens"), "openai_compact")


def makes_compactions(dialect: str, provider: Provider, profile: Profile) -> bool:
    """Return whether a provider makes compactions itself for clients of its own `dialect`, and reads them back."""
    return profile.compaction or _COMPACTS.get(dialect) in provider.speaks


def own_settings(provider: Provider, model: str) -> dict[str, Any]:
    """Return what providers.yaml itself says of a model."""
    settings: dict[str, Any] = {}
    for pattern, own in provider.models.items():
        if fnmatchcase(model, pattern):
            settings |= own
    return settings


def _build(settings: Mapping[str, Any]) -> Profile:
    price = settings.get("price")
    values = {name: value for name, value in settings.items() if name in _KNOWN}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    if isinstance(price, dict):
        values["price"] = Price(**price)
    return Profile(**values)
