"""What an exchange costs: samples that were reckoned by hand, and the prices that come with the gateway."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import yaml

from gateway.accounts.budgets import PICO
from gateway.accounts.prices import PriceBook, cost_of, rates_of
from gateway.config.files import packaged, packaged_file, packaged_prices
from gateway.config.load import load
from gateway.wire import passthrough
from gateway.wire.anthropic_messages import raw as messages
from gateway.wire.dialect import Glance
from gateway.wire.neutral import Usage
from gateway.wire.openai_chat import raw as chat
from gateway.wire.openai_responses import raw as responses
from gateway.wire.profile import Price, Tier
from tests.accounts.price_samples import SAMPLES

LOOK: dict[str, Callable[[bytes], Glance]] = {
    "chat": chat.glance,
    "messages": messages.glance,
    "responses": responses.glance,
    "images": passthrough.glance_images,
    "audio": passthrough.glance,
}


def book(text: str) -> tuple[PriceBook, Any]:
    config = load(text, "t", lambda kind, name: "k" * 30, packaged("presets.yaml"))
    return PriceBook(packaged_prices()), config.providers


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_a_reply_costs_what_its_provider_says(sample: dict[str, Any]) -> None:
    """The cost of a reply is that of its parts at their prices, to the last digit."""
    own = "" if sample["price"] is None else f", models: {{m: {{price: {json.dumps(sample['price'])}}}}}"
    prices, providers = book(f"providers: {{p: {{base_url: 'http://h/v1', speaks: [openai_chat]{own}}}}}")
    usage = LOOK[sample["dialect"]](json.dumps(sample["reply"]).encode()).usage
    cost = cost_of(usage, prices.of(providers["p"], "m"))
    if sample["usd"] is None:
        assert cost is None
        return
    by_hand = re.sub(r"\d+(?:\.\d+)?(?:e\d+)?", r"Fraction('\g<0>')", sample["sum"].partition(" # ")[0])
    assert eval(by_hand, {"Fraction": Fraction}) == Fraction(sample["usd"])
    assert cost is not None and Fraction(cost, PICO) == Fraction(sample["usd"])


def test_every_packaged_price_can_be_read() -> None:
    """The file is YAML, read line by line as it is read whole, and each price has known parts only."""
    whole, lines = yaml.load(packaged_file("prices.yaml"), Loader=yaml.CSafeLoader), packaged_prices()
    assert {family: {glob: yaml.load(one, Loader=yaml.CSafeLoader) for glob, one in models.items()} for family, models in lines.items()} == whole  # fmt: skip
    assert set(whole) <= set(packaged("presets.yaml"))
    for models in whole.values():
        for found in models.values():
            rates_of(Price(**{**found, "tiers": tuple(Tier(**tier) for tier in found.get("tiers", ()))}))


@pytest.mark.parametrize(
    ("family", "models"),
    [
        ("openai", "gpt-5 gpt-5-mini gpt-4o gpt-4o-2024-08-06 gpt-4o-mini gpt-6-sol-2026-10-01 text-embedding-3-small"),
        ("anthropic", "claude-sonnet-4-5 claude-sonnet-4-5-20250929 claude-opus-4-5 claude-haiku-4-5 claude-opus-5"),
        ("gemini", "gemini-2.5-pro gemini-2.5-pro-preview gemini-2.5-flash gemini-2.5-flash-lite"),
        ("deepseek", "deepseek-chat deepseek-reasoner"),
        ("azure", "gpt-4o gpt-5-mini"),
        ("xai", "grok-4 grok-4-0709"),
        ("mistral", "mistral-large-latest"),
    ],
)
def test_well_known_models_have_a_price(family: str, models: str) -> None:
    """The models that people use most have a price for all that a plain call uses."""
    extra = "base_url: 'https://x.openai.azure.com', " if family == "azure" else ""
    prices, providers = book(f"providers: {{p: {{{extra}preset: {family}, auth: {{bearer: {{env: K}}}}}}}}")
    for model in models.split():
        output = None if "embedding" in model else 100
        assert cost_of(Usage(input=100, output=output), prices.of(providers["p"], model)), model
    assert prices.of(providers["p"], "a-model-that-nobody-made") is None


def test_what_the_file_says_replaces_the_packaged_price() -> None:
    """A price of providers.yaml counts alone: what it leaves out is not known, whatever the packaged data say."""
    prices, providers = book(
        "providers: {openai: {auth: {bearer: {env: K}}, models: {gpt-4o: {price: {input: 1, output: 2}}}}}"
    )
    rates = prices.of(providers["openai"], "gpt-4o")
    assert cost_of(Usage(input=10, output=10), rates) == 30 * 10**6
    assert cost_of(Usage(input=10, cache_read=1, output=10), rates) is None
    assert cost_of(Usage(input=10, output=10, tier="priority"), rates) is None, "a tier without a factor"
    assert cost_of(Usage(input=10, cache_read=1, output=10), prices.of(providers["openai"], "gpt-4o-mini")) is not None


def test_the_dearest_that_may_come_is_reserved() -> None:
    """A reservation takes the highest tier and the highest factor."""
    rates = rates_of(Price(input=1, output=2, tiers=(Tier(above=10, input=4),), factors={"priority": 2, "batch": 0.5}))
    assert (rates.dearest["input"], rates.dearest["output"]) == (8 * 10**6, 4 * 10**6)
    assert rates.dearest["audio_input"] == 0
