"""Estimates tokens of what is not read otherwise: requests on their way, and replies that were cut short.

For reservations, which are settled by what was used, and for exchanges that end without the provider's own count.
"""

import math
import re

from gateway.wire.translation.tokens import estimate

PER_BLOB = 1000  # tokens: of a picture or a file, whose base64 is not text
FIRST_OUTPUT = 1000  # of a key of which nothing is known yet
# It begins where no such letter is before it: else each letter of a long word would be tried anew.
_BLOB = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{2000,}={0,2}")
# The members in which the dialects' deltas and replies hold what the model has said.
_SAID = re.compile(
    rb'"(?:content|text|delta|partial_json|arguments|thinking|reasoning|reasoning_content|refusal)"\s*:\s*'
    rb'"([^"\\]*(?:\\.[^"\\]*)*)"'
)
LARGE, LETTERS_OF_LARGE = 1 << 20, 0.8  # bytes of a reply that is not looked at, and how many of them are text
_CHARACTERS = 4  # of a token


def tokens_of_request(body: bytes) -> int:
    """Estimate the tokens of a request, a picture or file at PER_BLOB."""
    text, blobs = _BLOB.subn(b" ", body) if len(body) > 2000 else (body, 0)
    return max(1, estimate(text.decode("utf-8", "replace"))) + blobs * PER_BLOB


def tokens_in_reply(body: bytes) -> int:
    """Estimate the tokens of what a whole reply says."""
    letters = letters_in(body) if len(body) <= LARGE else len(body) * LETTERS_OF_LARGE
    return math.ceil(letters / _CHARACTERS)


def letters_in(data: bytes) -> int:
    """Count the bytes of text in a reply or a frame of one."""
    return sum(found.end(1) - found.start(1) for found in _SAID.finditer(data))


def tokens_said(size: int, frames: int, last: bytes) -> int:
    """Estimate the tokens of a stream that was cut: `frames` of together `size` bytes, of which one is known.

    The frames of a provider differ in their texts only, so the rest of the known one is taken off all of them.
    """
    beside = max(0, len(last) - letters_in(last))
    return -(-max(0, size - frames * beside) // _CHARACTERS)
