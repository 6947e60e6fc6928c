"""Writes gateway/data/prices.yaml from the package genai-prices: `make prices`, and CI checks that it can be read.

The package keeps the prices of many providers as data, with the page where each was found. What it has for the presets
of this gateway is written here as plain numbers in dollars per million tokens, the price of today of each model.
"""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import types
from genai_prices.data import providers

TARGET = Path(__file__).parent.parent / "gateway" / "data" / "prices.yaml"
# Presets by the package's name of their provider.
FAMILIES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "deepseek": "deepseek",
    "groq": "groq",
    "mistral": "mistral",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
    "xai": "x-ai",
    "moonshot": "moonshotai",
    "kimi": "moonshotai",
    "zai": "zai",
    "gemini": "google",
    "cohere": "cohere",
}
PARTS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "output_reasoning_mtok": "reasoning",
}
THOUSAND = 1000
# Rates for which a price here has no part: a model that writes pictures at one costs nothing known for its output.
OF_PICTURES = ("output_image_mtok", "output_video_mtok")
OF_TIERS = {"input", "output", "cache_read", "cache_write", "cache_write_1h"}
# The words for a service tier in replies, and how the package names it.
TIERS: Mapping[str, Mapping[str, str]] = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},
}
# A clause for names without this word, which has a glob of its own: what it costs is not known.
UNPRICED, NO_VOICE = "!", r"^(?!.*-[tT][tT][sS](?:$|-))"
HEAD = """\
# Prices in US dollars per million tokens, by preset and model: the first glob that matches counts. What providers.yaml
# says of a model's price replaces all of it. Made by `make prices` from genai-prices {version} (MIT licence) on {day}:
# change nothing here by hand. `tiers` are for prompts above so many tokens, `factors` for the service tier of a reply;
# a tier whose price is no multiple of the usual one is left out, and its replies have no price.
"""


def main() -> int:
    """Write the file; with `--check` only read what is there. Return the exit code."""
    now = datetime.now(UTC)
    known = {provider.id: provider for provider in providers}
    lines = [HEAD.format(version=version("genai-prices"), day=now.date())]
    for family, name in FAMILIES.items():
        lines.append(f"{family}:\n")
        seen: set[str] = set()
        own = known[name]
        others = [known[other] for other in own.fallback_model_providers or ()]
        for model in [model for provider in (own, *others) for model in provider.models]:
            price = price_of(model, now)
            if price is None:
                continue
            for glob in globs_of(model.match):
                if glob not in seen:
                    seen.add(glob)
                    found = price if not glob.startswith(UNPRICED) else {}
                    lines.append(f"  {quoted(glob.removeprefix(UNPRICED))}: {written(found)}\n")
    TARGET.write_text("".join(lines), encoding="utf-8")
    print(f"{TARGET.name}: {len(lines) - 1 - len(FAMILIES)} models")
    return 0


def price_of(model: Any, now: datetime) -> dict[str, Any] | None:
    """Return a model's price of today, with its tiers and factors; None if it has none for tokens."""
    # Some cost less by night: the dearest hour of the day counts.
    hours = [now.replace(hour=hour, minute=0) for hour in range(24)]
    now = max(hours, key=lambda hour: parts_of(model.get_prices(hour)).get("input", Decimal(0)))
    base = parts_of(model.get_prices(now))
    if "input" not in base and "output" not in base:
        return None
    factors = {}
    for tier, context in TIERS.items():
        other = parts_of(model.get_prices(now, dict(context)))
        if other != base and (factor := factor_of(base, other)) is not None:
            factors[tier] = factor
    return base | ({"factors": factors} if factors else {})


def parts_of(price: Any) -> dict[str, Any]:
    """Return the parts of a price that the gateway knows."""
    found: dict[str, Any] = {}
    tiers: dict[int, dict[str, Any]] = {}
    for name, value in vars(price).items():
        part = PARTS.get(name)
        if part is None or value is None:
            continue
        if isinstance(value, types.TieredPrices):
            found[part] = value.base
            for tier in value.tiers:
                if part in OF_TIERS:
                    tiers.setdefault(tier.start, {})[part] = tier.price
        else:
            found[part] = value
    if (pictures := vars(price).get("input_image_mtok")) is not None and isinstance(found.get("input"), Decimal):
        found["input"] = max(found["input"], pictures)
    if any(vars(price).get(name) is not None for name in OF_PICTURES):
        found.pop("output", None)
    if (requests := vars(price).get("requests_kcount")) is not None:
        found["per_request"] = requests / THOUSAND
    if tiers:
        found["tiers"] = [{"above": start, **parts} for start, parts in sorted(tiers.items())]
    return found


def factor_of(base: Mapping[str, Any], other: Mapping[str, Any]) -> Decimal | None:
    """Return by what all parts differ; None if they differ by more than one factor."""
    first, second = dict(flat(base)), dict(flat(other))
    if first.keys() != second.keys():
        return None
    ratios = {second[part] / price for part, price in first.items() if price}
    return round(ratios.pop(), 12).normalize() if len(ratios) == 1 else None


def flat(price: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    """Yield every number of a price with its place."""
    for part, value in price.items():
        if part == "tiers":
            for number, tier in enumerate(value):
                yield from ((f"{number}.{name}", one) for name, one in tier.items() if name != "above")
        else:
            yield part, value


def globs_of(clause: Any) -> Iterator[str]:
    """Yield the names that a clause matches, as globs; nothing for one that a glob cannot say."""
    match clause:
        case types.ClauseOr():
            for one in clause.or_:
                yield from globs_of(one)
        case types.ClauseEquals():
            yield escaped(clause.equals)
        case types.ClauseStartsWith():
            yield f"{escaped(clause.starts_with)}*"
        case types.ClauseEndsWith():
            yield f"*{escaped(clause.ends_with)}"
        case types.ClauseContains():
            yield f"*{escaped(clause.contains)}*"
        case types.ClauseRegex() if (glob := glob_of(clause.regex)) is not None:
            yield glob
        case types.ClauseAnd(and_=[types.ClauseStartsWith(starts_with=begin), types.ClauseRegex(regex=regex)]) if (
            regex == NO_VOICE
        ):
            yield f"{UNPRICED}{escaped(begin)}*-tts*"
            yield f"{escaped(begin)}*"
        case _:
            print(f"not said by any glob: {clause}", file=sys.stderr)


def glob_of(regex: str) -> str | None:
    """Return a regular expression as a glob; None for one that is more than letters, digits and dates."""
    glob = regex.removeprefix("^").replace(r"\d{8}", "[0-9]" * 8).replace(r"\.", ".")
    glob = glob.replace(r"\d{4}-\d{2}-\d{2}", "-".join(["[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2]))
    glob = glob.replace(r"\d", "[0-9]")
    is_whole = glob.endswith("$")
    glob = glob.removesuffix("$")
    return None if set(glob) & set("\\^$.+(){}|?") - {"."} else glob if is_whole else f"{glob}*"


def escaped(name: str) -> str:
    """Return a name whose letters are no glob's."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def quoted(text: str) -> str:
    """Write a key."""
    return f'"{text}"'


def written(price: Mapping[str, Any]) -> str:
    """Write a price in one line."""
    members = []
    for name, value in price.items():
        if name == "tiers":
            members.append(f"tiers: [{', '.join(map(written, value))}]")
        elif isinstance(value, Mapping):
            members.append(f"{name}: {written(value)}")
        else:
            members.append(f"{name}: {value:f}" if isinstance(value, Decimal) else f"{name}: {value}")
    return f"{{{', '.join(members)}}}"


if __name__ == "__main__":
    sys.exit(main())
