"""A real vocabulary for counting, when the extra `[tokenizer]` is installed; it is inside the package: no network.

It lives in a worker process, so that neither its memory nor its time is the daemon's.
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
    """Whether the extra is there."""
    return importlib.util.find_spec(MODULE.partition(".")[0]) is not None


@define
class Tokenizer:
    """One worker that knows o200k, started with the first count."""

    _pool: ProcessPoolExecutor | None = field(default=None, init=False)

    async def count(self, texts: Sequence[str]) -> int:
        """The tokens of all texts together."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return await asyncio.get_running_loop().run_in_executor(self._pool, count_tokens, list(texts))

    def close(self) -> None:
        """Stop the worker."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def count_tokens(texts: Sequence[str]) -> int:
    """Count in this process: what the worker runs."""
    vocabulary = _vocabulary()
    return sum(vocabulary.count(text) for text in texts)


@cache
def _vocabulary() -> Any:
    return importlib.import_module(MODULE).openai.o200k_base()
