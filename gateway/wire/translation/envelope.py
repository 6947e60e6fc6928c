"""Envelopes: carry an upstream's reasoning through a client of another dialect, signed against forgery.

A reasoning model wants its reasoning back in the next request, with a signature or sealed text of its provider.
Clients keep the conversation, so the reasoning has to travel through the client. A Messages client stores one
signature per thinking block, a Responses client one encrypted content per reasoning item; both return it
unread. If the upstream speaks another dialect, the gateway puts an envelope in that place: all of the Reasoning
block except a text that the client keeps anyway, compressed, behind a MAC. In the history of the next request
the gateway opens the envelope and restores the block (docs/wire/conversation.md#reasoning-round-trip).

A summary of the earlier conversation that the gateway has made travels in the same way (`seal_summary`), in the place
where a Responses client keeps a provider's compaction.

The MAC covers the owner, so that an envelope opens only for the owner whose reply it was in. It does not
encrypt: the content has either been shown to the client, or sealed by the provider.
"""

import base64
import hashlib
import hmac
import zlib
from typing import Any, TypeVar

import msgspec
from attrs import evolve, frozen

from gateway.wire.neutral import Block, Reasoning, Request

PREFIX = "gw1."
PREFIXES = (PREFIX, "gw0.")  # gw0 never opens
QUOTED = tuple(b'"' + prefix.encode() for prefix in PREFIXES)  # how an envelope begins in JSON
_MAC_BYTES = 16
_MAX_BYTES = 8 * 1024 * 1024
Payload = TypeVar("Payload")


class _Said(msgspec.Struct):
    # The members of a Reasoning under one letter each, because clients send envelopes with every request.
    o: str = ""  # origin
    p: tuple[str, ...] | None = None  # parts
    s: bool = False  # is_summary
    g: str | None = None  # signature
    e: str | None = None  # sealed
    i: str | None = None  # id


_SAID = msgspec.json.Decoder(_Said)


class _Summary(msgspec.Struct):
    c: str  # the summary
    w: bool = False  # it holds everything before it


_SUMMARY = msgspec.json.Decoder(_Summary)


@frozen
class Sealer:
    """Writes and opens the envelopes of one owner. An envelope of another owner, or a forged one, does not open."""

    secret: bytes
    owner: str

    def seal(self, block: Reasoning) -> str:
        """Write an envelope. The same block gives the same text.

        A single part is left out, because the client keeps it as plain text beside the envelope.
        """
        payload = {
            "o": block.origin,
            "p": list(block.parts) if len(block.parts) > 1 else None,
            "s": block.is_summary,
            "g": block.signature,
            "e": block.sealed,
            "i": block.id,
        }
        return self._seal({name: value for name, value in payload.items() if value})

    def seal_summary(self, summary: str, *, is_whole: bool = False) -> str:
        """Write the envelope of a summary; `is_whole`: it holds everything before it."""
        return self._seal({"c": summary, **({"w": True} if is_whole else {})})

    def open(self, text: str, visible: str) -> Reasoning | None:
        """Open an envelope; None if it is damaged, forged or another owner's.

        `visible` is the plain text beside the envelope.
        """
        payload = self._open(text, _SAID)
        if payload is None:
            return None
        parts = payload.p if payload.p is not None else (visible,) if visible else ()
        return Reasoning(parts, payload.s, payload.g, payload.e, payload.o, payload.i)

    def open_summary(self, text: str) -> tuple[str, bool] | None:
        """Open the envelope of a summary: (the summary, whether it is whole); None if it does not open."""
        payload = self._open(text, _SUMMARY)
        return None if payload is None else (payload.c, payload.w)

    def _seal(self, payload: dict[str, Any]) -> str:
        packed = zlib.compress(msgspec.json.encode(payload), 9)
        return PREFIX + base64.urlsafe_b64encode(self._mac(packed) + packed).rstrip(b"=").decode()

    def _open(self, text: str, decoder: msgspec.json.Decoder[Payload]) -> Payload | None:
        encoded = text.removeprefix(PREFIX)
        try:
            data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            mac, packed = data[:_MAC_BYTES], data[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(packed)):
                return None
            return decoder.decode(zlib.decompressobj().decompress(packed, _MAX_BYTES))
        except (ValueError, zlib.error, msgspec.MsgspecError):
            return None

    def _mac(self, packed: bytes) -> bytes:
        owner = self.owner.encode()
        return hmac.digest(self.secret, len(owner).to_bytes(4) + owner + packed, hashlib.sha256)[:_MAC_BYTES]


def is_envelope(text: str | None) -> bool:
    """Return whether a signature or sealed text begins as an envelope: `gw1.`, or `gw0.`, which never opens."""
    return text is not None and text.startswith(PREFIXES)


def unseal(request: Request, sealer: Sealer) -> bool:
    """Open all envelopes in a request's history, in place. Return whether any did not open and was removed."""
    is_whole = True
    for index, turn in enumerate(request.turns):
        if any(_carried(block) for block in turn.blocks):
            blocks = tuple(found for block in turn.blocks if (found := _opened(block, sealer)) is not None)
            request.turns[index] = evolve(turn, blocks=blocks)
            is_whole = is_whole and len(blocks) == len(turn.blocks)
    return not is_whole


def _carried(block: Block) -> str | None:
    if not isinstance(block, Reasoning):
        return None
    return next((text for text in (block.signature, block.sealed) if is_envelope(text)), None)


def _opened(block: Block, sealer: Sealer) -> Block | None:
    text = _carried(block)
    return block if text is None else sealer.open(text, block.text if isinstance(block, Reasoning) else "")
