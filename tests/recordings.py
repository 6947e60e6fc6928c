"""Recorded streams of real providers, read through GATEWAY_CORPUS; without it, no recordings."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from attrs import frozen

ROOT = os.environ.get("GATEWAY_CORPUS", "")


@frozen
class Recording:
    """One stream. `has_framing` says that its bytes are those of the wire."""

    name: str
    dialect: str
    stream: bytes
    has_framing: bool

    def __str__(self) -> str:
        return self.name


def recordings() -> list[Recording]:
    """Every recorded stream in the dialects that are translated."""
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
    """Some files hold the replies of several turns: each ends with its dialect's last event."""
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
    """Chunks without their framing get the event line that Anthropic sends."""
    kinds = [(json.loads(frame[6:])["type"], frame) for frame in stream.split(b"\n\n") if frame]
    return b"".join(b"event: " + kind.encode() + b"\n" + frame + b"\n\n" for kind, frame in kinds)
