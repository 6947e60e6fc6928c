"""One model of `/v1/models` in the shapes of its readers: OpenAI's, Anthropic's ModelInfo, Codex's manifest.

What a model can do comes from its profile; what its provider's own list says of it stands above the packaged data, and
below what providers.yaml says.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from attrs import field, frozen

from gateway.config.provider_schema import Provider
from gateway.server.codex_instructions import INSTRUCTIONS
from gateway.wire.profile import Profile

# What providers call a model's context and its longest output in their lists: OpenRouter and Together, Groq, Mistral,
# vLLM, Anthropic, the gateway itself.
CONTEXT = ("context_length", "context_window", "max_context_length", "max_model_len", "max_input_tokens")
OUTPUT = ("max_output_tokens", "max_completion_tokens", "max_tokens")
# Members of Anthropic's ModelInfo that are handed on from its own list.
_MODEL_INFO = ("capabilities", "lifecycle", "deprecated_at", "retires_at", "line", "max_input_tokens", "max_tokens")
# Codex brings its own, better entries for the names of OpenAI's models, and would replace them by ours.
CODEX_KNOWS = ("gpt-*", "codex-*", "o[134]*")
# Codex refuses a whole manifest for an effort that it does not know. Its catalogue names this version as the
# least one for models with `max`.
_MAX_SINCE = (0, 142)
# The values of `thinking.type`, besides disabled, that a profile's word for it stands for.
_THINKING: Mapping[str, Sequence[str]] = {
    "none": (),
    "budget": ("enabled",),
    "adaptive": ("adaptive",),
    "both": ("adaptive", "enabled"),
    "always": ("adaptive",),
}
_EFFORTS = {
    "minimal": "Hardly any reasoning",
    "low": "Fast, with light reasoning",
    "medium": "Balanced",
    "high": "Thorough",
    "xhigh": "More thorough still",
    "max": "As thorough as it can",
}


def limits_in(entry: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return (context, output) in tokens that an entry of a provider's list gives, None for what it does not say."""
    nested = entry.get("top_provider")  # OpenRouter's
    places = [entry, nested] if isinstance(nested, dict) else [entry]
    context, output = (_first(places, names) for names in (CONTEXT, OUTPUT))
    return context, output


def _first(places: Iterable[Mapping[str, Any]], names: Sequence[str]) -> int | None:
    found = (place.get(name) for place in places for name in names)
    return next((value for value in found if type(value) is int and value > 0), None)


@frozen
class Listing:
    """One model under the name `id` that clients send. `said` is its entry in the provider's own list, empty if none.

    `context` and `max_output` are in tokens, None if nobody knows them.
    """

    id: str
    provider: Provider
    model: str
    created: int
    profile: Profile
    context: int | None
    max_output: int | None
    display_name: str
    said: Mapping[str, Any] = field(factory=dict)

    @property
    def chats(self) -> bool:
        """Whether it may be asked for text: known models only if they are no embeddings or the like."""
        return not self.profile.capabilities or "chat" in self.profile.capabilities

    def openai(self) -> dict[str, Any]:
        """OpenAI's shape, with the limits under the names that clients look for, and the older `permission`, `root`."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": self.provider.name,
            "permission": [],
            "root": self.model,
            "parent": None,
            "context_length": self.context,
            "context_window": self.context,
            "max_output_tokens": self.max_output,
            "max_completion_tokens": self.max_output,
            "capabilities": list(self.profile.capabilities),
        }

    def anthropic(self) -> dict[str, Any]:
        """Anthropic's shape (SDK type ModelInfo); of a model in Anthropic's own list, what stands there."""
        shown = {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "created_at": datetime.fromtimestamp(self.created, UTC).isoformat().replace("+00:00", "Z"),
            "lifecycle": "active",
            "deprecated_at": None,
            "retires_at": None,
            "line": None,
            "max_input_tokens": self.context,
            "max_tokens": self.max_output,
            "capabilities": capabilities_of(self.profile, "anthropic_messages" in self.provider.speaks),
        }
        if isinstance(self.said.get("capabilities"), dict):
            shown |= {name: self.said[name] for name in _MODEL_INFO if name in self.said}
            shown |= {"max_input_tokens": self.context, "max_tokens": self.max_output}
        return shown

    def codex(self, priority: int, client_version: str) -> dict[str, Any]:
        """Codex's shape: an entry of its `models_cache.json`, with every member that its reader requires."""
        profile = self.profile
        known = [name for name in profile.efforts if name in _EFFORTS] if "reasoning" in profile.capabilities else []
        efforts = [name for name in known if name != "max" or _version(client_version) >= _MAX_SINCE]
        sees = profile.image and "vision" in profile.capabilities
        return {
            "slug": self.id,
            "display_name": self.display_name,
            "description": f"{self.model} ({self.provider.name})",
            "default_reasoning_level": "medium" if "medium" in efforts else next(iter(efforts), None),
            "supported_reasoning_levels": [{"effort": name, "description": _EFFORTS[name]} for name in efforts],
            "shell_type": "default",
            "visibility": "list",
            "supported_in_api": True,
            "priority": priority,
            "upgrade": None,
            "base_instructions": INSTRUCTIONS,
            "supports_reasoning_summaries": bool(efforts),
            "support_verbosity": profile.verbosity,
            "apply_patch_tool_type": "freeform",
            "truncation_policy": {"mode": "tokens", "limit": 10_000},
            "supports_parallel_tool_calls": profile.parallel_flag,
            "context_window": self.context,
            "experimental_supported_tools": [],
            "input_modalities": ["text", "image"] if sees else ["text"],
        }


def write_manifest(listings: Iterable[Listing], client_version: str) -> dict[str, Any]:
    """Write Codex's manifest: the models that can chat, except those that Codex has entries of its own for."""
    chosen = [one for one in listings if one.chats and not any(fnmatchcase(one.id, known) for known in CODEX_KNOWS)]
    return {"models": [one.codex(place, client_version) for place, one in enumerate(chosen, 1)]}


def capabilities_of(profile: Profile, is_native: bool) -> dict[str, Any] | None:
    """Write Anthropic's ModelCapabilities: what a Messages client may ask of a model through the gateway.

    `is_native`: its provider speaks Messages; elsewhere thinking is translated into efforts. None of an unknown model.
    """
    if not profile.capabilities:
        return None
    hosted, sees = profile.hosted_tools, "vision" in profile.capabilities
    thinks = "reasoning" in profile.capabilities
    ways = _THINKING[profile.thinking if is_native else "both" if thinks else "none"]
    levels = {
        name: _supported(thinks and name in profile.efforts) for name in ("low", "medium", "high", "xhigh", "max")
    }
    # Anthropic's own API has all of these, and no other server has any.
    is_whole = is_native and "code_execution" in hosted
    types = {name: _supported(name in ways) for name in ("adaptive", "enabled")}
    types["disabled"] = _supported(
        profile.can_disable_thinking if is_native else not thinks or "none" in profile.efforts
    )
    return {
        "batch": _supported(False),
        "citations": _supported(is_whole),
        "code_execution": _supported(is_whole),
        "context_management": _supported(is_whole),
        "effort": _supported(any(one["supported"] for one in levels.values())) | levels,
        "image_input": _supported(profile.image and sees),
        "pdf_input": _supported(profile.pdf and sees),
        "server_tools": _supported("web_search" in hosted or "code_execution" in hosted)
        | {name: _supported(name in hosted) for name in ("web_search", "code_execution")},
        "structured_outputs": _supported(profile.json_schema),
        "thinking": _supported(bool(ways)) | {"types": types | {"between_tools": _supported(False)}},
    }


def _supported(is_supported: bool) -> dict[str, Any]:
    return {"supported": is_supported}


def _version(text: str) -> tuple[int, ...]:
    """Read `0.171.0` or `0.172.0-alpha.3` as numbers; an empty tuple, older than all, for anything else."""
    parts = text.partition("-")[0].split(".")
    return (
        tuple(map(int, parts)) if all(part.isascii() and part.isdecimal() and len(part) < 9 for part in parts) else ()
    )
