"""A real vocabulary for counting, when the extra `[tokenizer]` is installed. It is inside the package: no network."""

import importlib
from collections.abc import Callable
from functools import cache


@cache
def counter() -> Callable[[str], int] | None:
    """What counts the o200k tokens of a text; None without the extra."""
    try:
        vocabulary = importlib.import_module("rs_bpe.bpe").openai.o200k_base()
    except ImportError:
        return None

    def count(text: str) -> int:
        found: int = vocabulary.count(text)
        return found

    return count
