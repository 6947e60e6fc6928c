"""Feeds every reader of foreign bytes with mutated input: `make fuzz` for long, CI for a minute.

An input that breaks a promise is saved in `corpus/<reader>/`, where tests/security/test_fuzz.py tries it for ever.
"""

# ruff: noqa: T201 - a program, whose output is for people
import argparse
import contextlib
import hashlib
import random
import sys
import time
from pathlib import Path

from gateway.errors import GatewayError
from tests.security.readers import READERS, Reader

CORPUS = Path(__file__).with_name("corpus")
MAX_SIZE = 4096
MAX_SECONDS = 1.0  # for one input of MAX_SIZE: a reader that takes longer is no longer linear
TOKENS = [
    b'"',
    b"\\",
    b"\\u",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\r\n",
    b"\n\n",
    b"\r",
    b"--b",
    b"--",
    b"data:",
    b"<think>",
]
TOKENS += [
    b"</think>",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b'filename="',
    b"name=",
    b"1e999",
    b"null",
    b"\\ud83d",
    b"\xf0\x9f\x98\x80",
]


def corpus_of(reader: Reader) -> list[bytes]:
    """Return a reader's seeds and what broke it before."""
    saved = sorted((CORPUS / reader.name).glob("*")) if (CORPUS / reader.name).is_dir() else []
    return [*reader.seeds, *(path.read_bytes() for path in saved)]


def attempt(reader: Reader, data: bytes) -> None:
    """Feed a reader. Raises AssertionError, or whatever it raised, if a promise is broken."""
    begun = time.perf_counter()
    with contextlib.suppress(GatewayError):
        reader.read(data)
    assert time.perf_counter() - begun < MAX_SECONDS, "too slow"


def mutated(data: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """Change a few places: bytes flipped, tokens put in, pieces cut, doubled, or taken from another input."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at, end = sorted((dice.randint(0, len(out)), dice.randint(0, len(out))))
        match dice.randint(0, 5):
            case 0 if out:
                out[min(at, len(out) - 1)] = dice.randint(0, 255)
            case 1:
                out[at:at] = dice.choice(TOKENS)
            case 2:
                del out[at : min(end, at + 16)]
            case 3:
                out[at:at] = bytes(out[at:end]) * dice.randint(1, 3)
            case 4:
                other = dice.choice(others)
                out[at:at] = other[dice.randint(0, len(other)) :][:64]
            case _:
                out[at:at] = bytes(dice.randint(0, 255) for _ in range(dice.randint(1, 4)))
    return bytes(out[:MAX_SIZE])


def fuzz(reader: Reader, seconds: float, seed: int) -> tuple[int, bytes | None, Exception | None]:
    """Feed a reader for some seconds; return how many inputs were tried, and the one that broke a promise."""
    dice, pool, tried, until = random.Random(seed), corpus_of(reader), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutated(dice.choice(pool), dice, pool)
        tried += 1
        try:
            attempt(reader, data)
        except Exception as error:
            return tried, data, error
        if tried % 50 == 0 and len(pool) < 500:
            pool.append(data)
    return tried, None, None


def main() -> int:
    """Fuzz all readers, each for its part of the time. Return 1 if one was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all readers together")
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randint(0, 2**32)
    print(f"seed {seed}")
    is_broken = False
    for reader in READERS:
        tried, data, error = fuzz(reader, arguments.seconds / len(READERS), seed)
        print(f"{reader.name}: {tried} inputs{'' if error is None else f', broken by {error!r}'}")
        if data is not None:
            is_broken = True
            path = CORPUS / reader.name / hashlib.sha256(data).hexdigest()[:16]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"  saved as {path}", file=sys.stderr)
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
