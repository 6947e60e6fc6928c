"""What the packaged data does not know of a provider's model list, for `make facts`. It sends nothing."""

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.config.provider_schema import Provider
from gateway.policy.capabilities import Capabilities
from gateway.server.listings import limits_in


def missing_facts(provider: Provider, models: Iterable[Any], capabilities: Capabilities) -> Iterator[str]:
    """Yield a line for each listed model that is not known, and for each whose list gives other limits."""
    for model in models:
        name = model.get("id") if isinstance(model, dict) else None
        if not isinstance(name, str) or not name:
            continue
        known, (context, output) = capabilities.profile(provider, name), limits_in(model)
        if known.context is None and not known.capabilities:
            said = f" (its list says context {context}, output {output})" if context or output else ""
            yield f"{provider.name}:{name}: not known{said}"
            continue
        for word, ours, theirs in (("context", known.context, context), ("max_output", known.max_output, output)):
            if theirs is not None and theirs != ours:
                yield f"{provider.name}:{name}: {word} is {ours} here, {theirs} in its list"
