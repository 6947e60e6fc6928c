"""Counts tokens with a real vocabulary (o200k), if the extra `[tokenizer]` is installed.

The vocabulary comes with that package, so nothing is downloaded. It is loaded in a worker process, which keeps its
memory and its CPU time out of the daemon.
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

from attrs import define, field

MODULE = "rs_bpe.bpe"


def is_installed() -> bool:
    """Whether the extra `[tokenizer]` is installed."""
    return importlib.util.find_spec(MODULE.partition(".")[0]) is not None


@define
class Tokenizer:
    """One worker process that counts with o200k. The first count starts it."""

    _pool: ProcessPoolExecutor | None = field(default=None, init=False)

    async def count(self, texts: Sequence[str]) -> int:
        """Return the tokens of all texts together. Raises OSError or BrokenExecutor if the worker fails."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return await asyncio.get_running_loop().run_in_executor(self._pool, count_tokens, list(texts))

    def close(self) -> None:
        """Stop the worker."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def count_tokens(texts: Sequence[str]) -> int:
    """Count in the calling process. The worker runs this."""
    vocabulary = _vocabulary()
    return sum(vocabulary.count(text) for text in texts)


@cache
def _vocabulary() -> Any:
    return importlib.import_module(MODULE).openai.o200k_base()
