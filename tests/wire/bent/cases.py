"""Makes replies, and the ways in which a provider may bend them: from a seed, always the same ones.

A case is what a model meant, and a word for each axis along which its server bends the telling. Bends keep the
meaning, so what a client reads is known without reading the bent bytes; `cut` alone takes something away, and an
honest error is right then.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, frozen

PLAIN = "plain"
Axes = Mapping[str, Sequence[str]]
TEXTS, CALLS = ("text", "thought"), ("weather", "search", "write_file", "ask")
KINDS = ("t", "c", "ht", "tc", "cc", "hc", "htc", "tcc", "ctc", "hccc", "tct", "tcctc")
# How the frames are written, in all dialects.
FRAMES: Axes = {
    "lines": (PLAIN, "crlf", "no_space", "bom", "comments", "ids", "several_data"),
    "letters": (PLAIN, "escaped", "halves", "nan"),
    "cut": (PLAIN, "frames", "bytes", "last"),
    "chunks": (PLAIN, "bytes", "some"),
}


@frozen
class Piece:
    """One block of what the model meant: `kind` is text, thought or call; of a call `text` are the arguments."""

    kind: str
    text: str
    name: str = ""


@frozen
class Case:
    """A reply and its bends. `end` is end, length or filtered; calls make it tools."""

    dialect: str
    seed: int
    pieces: tuple[Piece, ...]
    end: str
    bends: Mapping[str, str]

    def __getitem__(self, axis: str) -> str:
        return self.bends.get(axis, PLAIN)

    def __str__(self) -> str:
        return f"{self.dialect}:{self.seed}"

    @property
    def calls(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.kind == "call"]

    @property
    def told_end(self) -> str:
        end = "end" if self["finish"] == "absent" else self.end
        return "tools" if end == "end" and self.calls else end

    @property
    def content(self) -> tuple[str, str, list[tuple[str, str]]]:
        """What clients must read, as `plain.Said.content` says it."""
        said = ["".join(piece.text for piece in self.pieces if piece.kind == kind) for kind in TEXTS]
        calls = [(call.name, json.dumps(json.loads(call.text), sort_keys=True)) for call in self.calls]
        return said[0], said[1], sorted(calls)


def make(dialect: str, seed: int, axes: Axes, is_clear: Callable[[Case], bool]) -> Case:
    """Make the case of a seed: one to five pieces, at most three bends, of which anybody can read what is meant."""
    dice = random.Random(f"{dialect} {seed}")
    pieces = pieces_of(dice.choice(KINDS), dice)
    chosen = dice.sample(sorted(axes), dice.choice([1, 1, 2, 2, 3]))
    bends = {axis: dice.choice(axes[axis][1:]) for axis in chosen}
    case = Case(dialect, seed, pieces, dice.choice(["end", "end", "end", "length", "filtered"]), bends)
    while not is_clear(case):
        case = evolve(case, bends=dict(list(case.bends.items())[1:]))
    return case


def pieces_of(kinds: str, dice: random.Random) -> tuple[Piece, ...]:
    """Make the pieces of a word such as `htc`: a thought, a text, a call."""
    words = {"t": "text", "c": "call", "h": "thought"}
    return tuple(_piece(words[kind], number, dice) for number, kind in enumerate(kinds))


def _piece(kind: str, number: int, dice: random.Random) -> Piece:
    words = " ".join(
        dice.choice(["grün", "\U0001f600 ok", "two", "x{y}", '"q"', "日本"]) for _ in range(dice.randrange(4))
    )
    said = f"{kind[0]}{number}.{dice.randrange(1000)} {words}."
    if kind != "call":
        return Piece(kind, said)
    return Piece(kind, json.dumps({"a": said, "n": number}, ensure_ascii=False), dice.choice(CALLS))


def smaller(case: Case) -> list[Case]:
    """Return the cases that are one bend or one piece smaller, for finding the smallest that fails."""
    fewer = [
        evolve(case, bends={name: word for name, word in case.bends.items() if name != axis}) for axis in case.bends
    ]
    if len(case.pieces) > 1:
        places = range(len(case.pieces))
        fewer += [evolve(case, pieces=(*case.pieces[:at], *case.pieces[at + 1 :])) for at in places]
    return fewer + ([evolve(case, end="end")] if case.end != "end" else [])


@define
class Ink:
    """Writes the frames of a case."""

    case: Case

    def cut(self, text: str) -> list[str]:
        """Cut a text in up to four pieces, none of them empty; between the halves of a pair if the case says so."""
        dice = random.Random(f"{self.case.seed} {text}")
        if self.case["letters"] == "halves":
            text = "".join(_halves(letter) for letter in text)
            split = next((at + 1 for at, letter in enumerate(text) if "\ud800" <= letter < "\udc00"), None)
            return [part for part in (text[:split], text[split:]) if part] if split else [text]
        places = sorted(dice.sample(range(1, len(text)), min(len(text) - 1, dice.randrange(4))))
        return [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]

    def json(self, payload: Any) -> str:
        if self.case["letters"] == "nan" and isinstance(payload, dict):
            payload = {**payload, "score": float("nan"), "worst": float("-inf")}
        escapes = self.case["letters"] in ("escaped", "halves")
        indent = 1 if self.case["lines"] == "several_data" else None
        return json.dumps(payload, ensure_ascii=escapes, indent=indent)

    def frame(self, payload: Any, event: str = "") -> bytes:
        """Write one frame, as the case's server writes its lines."""
        style = self.case["lines"]
        data = payload if isinstance(payload, str) else self.json(payload)
        space = "" if style == "no_space" else " "
        lines = [f"event:{space}{event}"] if event else []
        lines += ["id: 7", "retry: 10"] if style == "ids" else []
        lines += [f"data:{space}{line}" for line in data.split("\n")]
        lines += [": beside"] if style == "comments" else []
        end = "\r\n" if style == "crlf" else "\n"
        before = ": before\n\n" if style == "comments" else ""
        return (before + end.join([*lines, "", ""])).encode()

    def stream(self, frames: Sequence[bytes]) -> bytes:
        """Join the frames, and take away what the case cuts off."""
        dice = random.Random(self.case.seed)
        begin = b"\xef\xbb\xbf" if self.case["lines"] == "bom" else b""
        match self.case["cut"]:
            case "frames":
                return begin + b"".join(frames[: dice.randrange(1, len(frames))])
            case "bytes":
                full = begin + b"".join(frames)
                return full[: dice.randrange(1, len(full))]
            case "last":
                return begin + b"".join(frames).rstrip()
        return begin + b"".join(frames)

    def chunks(self, stream: bytes) -> list[bytes]:
        """Cut a stream into the chunks in which it arrives."""
        dice = random.Random(self.case.seed)
        match self.case["chunks"]:
            case "bytes":
                return [stream[at : at + 1] for at in range(len(stream))]
            case "some":
                places = sorted(dice.randrange(len(stream)) for _ in range(20))
                return [stream[start:stop] for start, stop in zip([0, *places], [*places, len(stream)], strict=True)]
        return [stream]

    def body(self, payload: Any) -> bytes:
        """Write a whole reply."""
        full = self.json(payload).encode()
        return full[: len(full) // 2] if self.case["cut"] in ("bytes", "frames") else full


def _halves(letter: str) -> str:
    if ord(letter) < 0x10000:
        return letter
    pair = letter.encode("utf-16-le")
    return "".join(chr(int.from_bytes(pair[at : at + 2], "little")) for at in (0, 2))
