"""What an exchange costs: prices by provider and model, and the sum for a reply's usage.

Money is counted in whole 1e-12 US dollars (`budgets.PICO`), so that nothing is rounded on the way: a price of dollars
per million tokens with six decimals is a whole number of them per token.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cached_property
from typing import Any

import yaml
from attrs import define, field, frozen

from gateway.accounts.budgets import PICO
from gateway.config.problems import Path, Problem, problem_at
from gateway.config.provider_schema import Provider
from gateway.config.schema import Budget, Config
from gateway.policy.capabilities import own_settings
from gateway.policy.routes import may_use
from gateway.wire.neutral import Usage
from gateway.wire.profile import Price, Tier

MILLION = 10**6
# Prices per token; of them a tier may name all but the last three.
PARTS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output")
MAX_COST = 10**18  # of one attempt, a million dollars: sums of it must fit into 64 bits
MAX_NAMED = 3  # models in a warning
MAX_FOUND = 10_000  # models whose price is remembered: clients invent names under a glob


@frozen(slots=False)
class Rates:
    """A price in PICO per token, picture or request; None: unknown. `tiers` by their threshold, the highest first."""

    parts: Mapping[str, int | None]
    image: int | None
    per_request: int | None
    tiers: tuple[tuple[int, Mapping[str, int | None]], ...] = ()
    factors: Mapping[str, Fraction] = field(factory=dict)

    @property
    def has_no_tokens(self) -> bool:
        """Whether no kind of token has a price."""
        return not any(rate is not None for rate in self.parts.values())

    @property
    def has_usual(self) -> bool:
        """Whether that has a price which nearly every chat uses."""
        return all(self.parts[part] is not None for part in ("input", "output", "cache_read"))

    @cached_property
    def dearest(self) -> Mapping[str, int]:
        """The most that a token of each part may cost; 0 where it is unknown."""
        factor = max([Fraction(1), *self.factors.values()])
        most: dict[str, int] = {}
        for part in PARTS:
            found = [self.parts[part], *(tier[part] for _, tier in self.tiers)]
            most[part] = int(max((one for one in found if one is not None), default=0) * factor)
        return most


def rates_of(price: Price) -> Rates:
    """Turn dollars per million into whole numbers."""
    parts = {part: _rate(getattr(price, part), MILLION) for part in PARTS}
    if parts["reasoning"] is None:
        parts["reasoning"] = parts["output"]
    tiers = sorted(((tier.above, _tier(tier, price, parts)) for tier in price.tiers), key=lambda one: -one[0])
    factors = {name: Fraction(Decimal(repr(factor))) for name, factor in price.factors.items()}
    return Rates(parts, _rate(price.image, 1), _rate(price.per_request, 1), tuple(tiers), factors)


def _tier(tier: Tier, price: Price, base: Mapping[str, int | None]) -> Mapping[str, int | None]:
    own = {part: rate for part in PARTS if (rate := _rate(getattr(tier, part, None), MILLION)) is not None}
    if price.reasoning is None and "output" in own:
        own["reasoning"] = own["output"]
    return {**base, **own}


def _rate(dollars: float | None, units: int) -> int | None:
    return None if dollars is None else round(Decimal(repr(dollars)) * PICO / units)


def cost_of(usage: Usage | None, rates: Rates | None) -> int | None:
    """Return what a reply costs, in PICO; None if a part that was used has no price, or nothing is known of it.

    Where pictures or requests have a price, and no kind of token has one, tokens cost nothing. See
    docs/accounts.md#prices.
    """
    if rates is None:
        return None
    known = [] if rates.per_request is None else [rates.per_request]
    if usage is None:
        return sum(known) if known else None
    if usage.images and rates.image is not None:
        known.append(usage.images * rates.image)
    if (usage.input is not None or usage.output is not None) and not (known and rates.has_no_tokens):
        cost = _of_tokens(usage, rates)
        if cost is None:
            return None
        known.append(cost)
    if not known:
        return None
    if usage.tier is None:
        return min(MAX_COST, sum(known))
    factor = rates.factors.get(usage.tier)
    return None if factor is None else min(MAX_COST, round(sum(known) * factor))


def _of_tokens(usage: Usage, rates: Rates) -> int | None:
    given, read, written, said = usage.input or 0, usage.cache_read or 0, usage.cache_write or 0, usage.output or 0
    parts = rates.parts
    if rates.tiers:
        prompt = given + read + written
        parts = next((tier for above, tier in rates.tiers if prompt > above), parts)
    counts = {"input": given, "output": said, "cache_read": read, "cache_write": written}
    if usage.cache_write_1h or usage.reasoning or usage.input_audio or usage.output_audio:
        # Sound that was read from a cache is counted there.
        heard, hour = min(usage.input_audio or 0, given), min(usage.cache_write_1h or 0, written)
        thought = min(usage.reasoning or 0, said)
        spoken = min(usage.output_audio or 0, said - thought)
        counts = {"input": given - heard, "audio_input": heard, "cache_read": read}
        counts |= {"cache_write": written - hour, "cache_write_1h": hour}
        counts |= {"reasoning": thought, "audio_output": spoken, "output": said - thought - spoken}
    cost = 0
    for part, count in counts.items():
        if count:
            if (rate := parts[part]) is None:
                return None
            cost += count * rate
    return cost


@define
class PriceBook:
    """The prices of a configuration.

    `packaged` is data/prices.yaml: {family: {model glob: price as YAML}}, where the first glob that matches wins. What
    providers.yaml says of a model's price replaces all of that.
    """

    packaged: Mapping[str, Mapping[str, str]]
    _found: dict[tuple[str, str], Rates | None] = field(factory=dict, init=False)

    def of(self, provider: Provider, model: str) -> Rates | None:
        """Return the prices of a model; None if they are unknown."""
        place = (provider.name, model)
        if place in self._found:
            return self._found[place]
        price = own_settings(provider, model).get("price")
        if price is None:
            price = self._packaged(provider.family, model)
        rates = None if price is None else rates_of(price)
        if len(self._found) < MAX_FOUND:
            self._found[place] = rates
        return rates

    def _packaged(self, family: str, model: str) -> Price | None:
        models = self.packaged.get(family) or {}
        text = models.get(model) or next((one for glob, one in models.items() if fnmatchcase(model, glob)), None)
        if text is None:
            return None
        found: dict[str, Any] = yaml.safe_load(text)
        tiers = tuple(Tier(**tier) for tier in found.get("tiers", ()))
        return Price(**{**found, "tiers": tiers})


def price_warnings(config: Config, packaged: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    """Yield every budget in dollars that a route draws on of whose models a price is not known."""
    prices = PriceBook(packaged)
    unpriced: dict[str, list[str]] = {}
    for alias, route in config.routes.items():
        for target in route.targets:
            rates = prices.of(config.providers[target.provider], target.model or "")
            if target.model is not None and not (rates is not None and rates.has_usual):
                unpriced.setdefault(alias, []).append(target.name)
    owners: list[tuple[Path, Budget | None, list[str]]] = [(("budget",), config.budget, list(unpriced))]
    owners += [(("routes", alias, "budget"), config.routes[alias].budget, [alias]) for alias in unpriced]
    for name, key in config.keys.items():
        owners.append((("keys", name, "budget"), key.budget, [alias for alias in unpriced if may_use(key, alias)]))
    for path, budget, aliases in owners:
        names = sorted({target for alias in aliases for target in unpriced[alias]})
        if budget is not None and budget.usd is not None and names:
            more = f" and {len(names) - MAX_NAMED} others" if len(names) > MAX_NAMED else ""
            message = (
                f"a part of the price is not known of {', '.join(names[:MAX_NAMED])}{more}, and counts as nothing: "
                "give them input, output and cache_read in providers.NAME.models"
            )
            yield problem_at(config.places, path, message)
