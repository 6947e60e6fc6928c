"""Samples for the other endpoints: embeddings, moderation, rerank, images, audio, the model list."""

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

MODELS = ("demo", "tools", "parallel_tools", "reasoning", "refusal", "length", "empty")
# A WAV file without a sample in it.
SOUND = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36, b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 0)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def embeddings(request: Mapping[str, Any]) -> dict[str, Any]:
    """One vector per input; the same input always gives the same vector."""
    given = request.get("input")
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    size = request.get("dimensions") or 8
    data = []
    for index, one in enumerate(inputs):
        vector = _vector(json.dumps(one), size)
        if request.get("encoding_format") == "base64":
            encoded: Any = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        else:
            encoded = vector
        data.append({"object": "embedding", "index": index, "embedding": encoded})
    tokens = sum(max(1, len(json.dumps(one)) // 4) for one in inputs)
    return {
        "object": "list",
        "data": data,
        "model": request.get("model"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def moderations(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result that flags nothing."""
    result = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.0001}}
    return {"id": "modr-mock", "model": request.get("model"), "results": [result]}


def rerank(request: Mapping[str, Any]) -> dict[str, Any]:
    """The documents in their own order, with falling scores."""
    documents = request.get("documents") or []
    results = [{"index": index, "relevance_score": round(1 / (index + 1), 4)} for index in range(len(documents))]
    return {"id": "rerank-mock", "results": results[: request.get("top_n") or None], "usage": {"total_tokens": 3}}


def images(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image of one pixel, whatever the prompt."""
    return {"created": 1_750_000_000, "data": [{"b64_json": PIXEL}], "usage": {"input_tokens": 5, "output_tokens": 7}}


def transcription(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same text for every recording."""
    return {"text": "Hello from the mock provider.", "model": request.get("model")}


def models() -> dict[str, Any]:
    """The model list."""
    data = [{"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "mock"} for name in MODELS]
    return {"object": "list", "data": data}


def _vector(seed: str, size: int) -> list[float]:
    digest = hashlib.sha256(seed.encode()).digest()
    return [round(digest[index % 32] / 255 - 0.5, 6) for index in range(size)]
