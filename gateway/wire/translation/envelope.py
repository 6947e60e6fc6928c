"""Carries reasoning that is not a client's own through that client: signed, so that nobody can make it up.

An Anthropic client has a place for a signature, a Responses client one for encrypted content. When the
upstream is another's, our envelope goes there, with everything that the upstream wants back; in history it is
opened again (TRANSLATION.md 4.5). What is inside was shown or sealed by the provider: the envelope proves
where it comes from and whose it is, it does not hide.
"""

import base64
import hashlib
import hmac
import zlib

import msgspec
from attrs import evolve, frozen

from gateway.wire.neutral import Block, Reasoning, Request

PREFIX = "gw1."
QUOTED = b'"' + PREFIX.encode()  # how an envelope begins in JSON
_MAC_BYTES = 16
_MAX_BYTES = 8 * 1024 * 1024


class _Said(msgspec.Struct):
    o: str = ""
    p: tuple[str, ...] | None = None
    s: bool = False
    g: str | None = None
    e: str | None = None
    i: str | None = None


_SAID = msgspec.json.Decoder(_Said)


@frozen
class Sealer:
    """Seals for one owner: another's envelope, or a forged one, does not open."""

    secret: bytes
    owner: str

    def seal(self, block: Reasoning) -> str:
        """Write an envelope. The same block gives the same text.

        A single part is left out: it stands in the clear beside the envelope.
        """
        payload = {
            "o": block.origin,
            "p": list(block.parts) if len(block.parts) > 1 else None,
            "s": block.is_summary,
            "g": block.signature,
            "e": block.sealed,
            "i": block.id,
        }
        packed = zlib.compress(msgspec.json.encode({name: value for name, value in payload.items() if value}), 9)
        return PREFIX + base64.urlsafe_b64encode(self._mac(packed) + packed).rstrip(b"=").decode()

    def open(self, text: str, visible: str) -> Reasoning | None:
        """Read an envelope; None for one that is not ours, not this owner's, or damaged.

        `visible` is the text that stood beside it.
        """
        encoded = text.removeprefix(PREFIX)
        try:
            data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            mac, packed = data[:_MAC_BYTES], data[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(packed)):
                return None
            payload = _SAID.decode(zlib.decompressobj().decompress(packed, _MAX_BYTES))
        except (ValueError, zlib.error, msgspec.MsgspecError):
            return None
        parts = payload.p if payload.p is not None else (visible,) if visible else ()
        return Reasoning(parts, payload.s, payload.g, payload.e, payload.o, payload.i)

    def _mac(self, packed: bytes) -> bytes:
        owner = self.owner.encode()
        return hmac.digest(self.secret, len(owner).to_bytes(4) + owner + packed, hashlib.sha256)[:_MAC_BYTES]


def is_envelope(text: str | None) -> bool:
    """Whether a signature or sealed text is one of ours."""
    return text is not None and text.startswith(("gw1.", "gw0."))


def unseal(request: Request, sealer: Sealer) -> bool:
    """Open every envelope in a request's history, in place; return whether one did not open and was taken out."""
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
