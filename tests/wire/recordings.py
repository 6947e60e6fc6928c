"""Recorded streams of real providers, read from GATEWAY_CORPUS; without that variable there are none."""

import json
import os
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field, frozen

from gateway.wire.codec.sse import FrameCutter
from gateway.wire.profile import Profile

ROOT = os.environ.get("GATEWAY_CORPUS", "")
# Recorded failures: the provider itself sends an error inside its stream.
FAILED = (
    "tool_use_failed_error_streaming.yaml",
    "tool_use_failed_error_streaming_with_text.yaml",
    "openrouter_stream_error.yaml",
)
# A stream with two `message_start` events: the lane removes the second, on which every SDK would fail.
REPEATED = "duplicate-message-start"
# A server that never sends a finish reason: `no_finish` is set for it.
UNFINISHED = ("snowflake",)
CUTS = 4096


@frozen
class Recording:
    """One recorded stream. `has_framing` is true if its bytes are those of the wire."""

    name: str
    dialect: str
    stream: bytes
    has_framing: bool

    def __str__(self) -> str:
        return self.name


def recordings() -> list[Recording]:
    """Read every recorded stream of the dialects that are translated."""
    root = Path(ROOT)
    return [one for path in sorted(root.rglob("*")) if path.is_file() for one in _read(root, path)] if ROOT else []


def _read(root: Path, path: Path) -> Iterator[Recording]:
    name = str(path.relative_to(root))
    for number, (stream, has_framing) in enumerate(_streams(path)):
        if dialect := _dialect(stream):
            is_bare = dialect != "openai_chat" and not has_framing
            full = _named(stream) if is_bare else stream
            yield Recording(f"{name}#{number}" if number else name, dialect, full, has_framing)


def _streams(path: Path) -> Iterator[tuple[bytes, bool]]:
    if path.name.endswith(".chunks.txt"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        yield from ((reply, False) for reply in _replies(lines))
    elif path.suffix in (".sse", ".txt") and path.name != "SOURCE.txt":
        data = path.read_bytes()
        if b"data:" in data:
            yield data, True
    elif path.suffix in (".yaml", ".yml"):
        for interaction in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("interactions", ()):
            body = (interaction.get("response") or {}).get("body") or {}
            text = body.get("string") if isinstance(body, dict) else body
            if isinstance(text, str) and re.search(r"^data:", text, re.MULTILINE):
                yield text.encode(), True


def _replies(lines: list[str]) -> Iterator[bytes]:
    """Split a file with the replies of several turns: each ends with its dialect's last event."""
    reply: list[str] = []
    for line in lines:
        reply.append(f"data: {line}\n\n")
        if re.match(r'\{"type": ?"(message_stop|response\.(completed|incomplete|failed))"', line):
            yield "".join(reply).encode()
            reply.clear()
    if reply:
        yield "".join(reply).encode()


def _dialect(stream: bytes) -> str | None:
    for line in stream.splitlines():
        if not line.startswith(b"data:") or line[5:].strip() in (b"", b"[DONE]"):
            continue
        try:
            said = json.loads(line[5:])
        except ValueError:
            return None
        if not isinstance(said, dict):
            return None
        if said.get("type") in ("message_start", "ping", "error") and "sequence_number" not in said:
            return "anthropic_messages"
        if str(said.get("type", "")).startswith("response.") or (
            said.get("type") == "error" and "sequence_number" in said
        ):
            return "openai_responses"
        return "openai_chat" if "choices" in said else None
    return None


def _named(stream: bytes) -> bytes:
    """Give chunks without framing the event line that Anthropic sends."""
    kinds = [(json.loads(frame[6:])["type"], frame) for frame in stream.split(b"\n\n") if frame]
    return b"".join(b"event: " + kind.encode() + b"\n" + frame + b"\n\n" for kind, frame in kinds)


def frames(chunks: list[bytes]) -> list[bytes]:
    """Return the frames of a stream that came in chunks."""
    cutter = FrameCutter()
    found = [frame for chunk in chunks for frame in cutter.feed(chunk)]
    return [*found, tail] if (tail := cutter.end()) else found


@cache
def cuts(recording: Recording) -> list[bytes]:
    """Assert that the frames are the same for cuts up to 4 KiB, at 200 seeded places and byte by byte.

    A lane's output depends on its frames alone: return one list of chunks to fold the reply from.
    """
    stream = recording.stream
    whole = frames([stream])
    dice = random.Random(recording.name)
    places = [*range(1, min(CUTS, len(stream))), *(dice.randrange(len(stream)) for _ in range(200))]
    for place in places:
        head = stream[: place + CUTS]  # the bytes behind it do not affect the cut
        assert frames([head[:place], head[place:]]) == frames([head])
    assert frames([stream[at : at + 1] for at in range(len(stream))]) == whole
    sizes = sorted(dice.randrange(len(stream)) for _ in range(200))
    pieces = [stream[start:stop] for start, stop in zip([0, *sizes], [*sizes, len(stream)], strict=True)]
    assert frames(pieces) == whole
    return pieces


def profile_of(recording: Recording) -> Profile:
    """Return what the gateway has to know of the recorded server."""
    return Profile(no_finish=any(word in recording.name for word in UNFINISHED))


@define
class Said:
    """The content of a recording, read in the simplest way."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(factory=list)
    output: int | None = None


def naive(recording: Recording) -> Said:
    """Read a recording in the simplest way."""
    said = Said()
    calls: dict[Any, list[str]] = {}
    for line in recording.stream.decode().splitlines():
        if not line.startswith("data:") or line[5:].strip() in ("[DONE]", ""):
            continue
        event = json.loads(line[5:])
        if recording.dialect == "openai_chat":
            _naive_chat(event, said, calls)
        elif recording.dialect == "openai_responses":
            _naive_responses(event, said, calls)
        else:
            _naive_messages(event, said, calls)
    said.calls = [(name, arguments) for name, arguments in calls.values()]
    return said


def _naive_chat(event: dict[str, Any], said: Said, calls: dict[Any, list[str]]) -> None:
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        content = delta.get("content")
        if isinstance(content, list):
            said.text += "".join(part.get("text", "") for part in content if part["type"] == "text")
            thoughts = [part["thinking"] for part in content if part["type"] == "thinking"]
            said.reasoning += "".join(inner["text"] for thought in thoughts for inner in thought)
        else:
            said.text += content or ""
        details = "".join(one.get("text") or one.get("summary") or "" for one in delta.get("reasoning_details") or ())
        said.reasoning += details or delta.get("reasoning_content") or delta.get("reasoning") or ""
        for call in delta.get("tool_calls") or ():
            entry = calls.setdefault(call.get("index"), ["", ""])
            entry[0] = entry[0] or call["function"].get("name") or ""
            entry[1] += call["function"].get("arguments") or ""
    for usage in (event.get("usage"), (event.get("x_groq") or {}).get("usage")):
        if usage:
            said.output = usage["completion_tokens"]


def _naive_messages(event: dict[str, Any], said: Said, calls: dict[Any, list[str]]) -> None:
    for number, block in enumerate((event.get("message") or {}).get("content") or ()):
        _naive_messages({"type": "content_block_start", "index": number, "content_block": block}, said, calls)
    delta, block = event.get("delta") or {}, event.get("content_block") or {}
    said.text += delta.get("text", "") + (block.get("text", "") if block.get("type") == "text" else "")
    said.reasoning += delta.get("thinking", "") + block.get("thinking", "")
    if block.get("type") == "tool_use":
        calls[event["index"]] = [block["name"], json.dumps(block["input"]) if block["input"] else ""]
    if "partial_json" in delta and event["index"] in calls:
        calls[event["index"]][1] += delta["partial_json"]
    if event["type"] == "message_delta":
        usage = event["usage"]
        said.output = sum(one["output_tokens"] for one in usage.get("iterations") or [usage])


def _naive_responses(event: dict[str, Any], said: Said, calls: dict[Any, list[str]]) -> None:
    kind, item = event["type"].removeprefix("response."), event.get("item") or {}
    if kind == "output_item.done" and item.get("type") == "message":  # some recordings have lost deltas
        said.text += "".join(part.get("text", "") for part in item["content"])
    elif kind in ("reasoning_summary_text.delta", "reasoning_text.delta"):
        said.reasoning += event["delta"]
    elif kind == "output_item.done" and item.get("type") in ("function_call", "custom_tool_call"):
        calls[event["output_index"]] = [item["name"], item.get("arguments") or item["input"]]
    elif kind in ("completed", "incomplete"):
        said.output = event["response"]["usage"]["output_tokens"]
