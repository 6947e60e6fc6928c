"""Writes finished log lines in a thread of its own: a reader that stops, or a disk that hangs, stops nothing else.

The event loop hands lines over and never waits. What is handed over and not yet written is bounded; lines beyond that
are dropped and counted, and their number is written once the reader reads again.
"""

import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO

MAX_BYTES = 4 * 1024 * 1024  # that wait for the reader: some 10,000 lines
LAST_WAIT_S = 1.0  # for a reader at the end of the process


class LogWriter:
    """The end of the log: `hand_over` takes lines, a thread writes them to `out`.

    `finish` makes the bytes that are written from lines, such as without secrets; `say_dropped` the line that says how
    many were dropped. `is_shared`: other processes write to `out` as well, so that each write is whole lines, and few
    enough of them that the kernel does not take them apart.
    """

    def __init__(
        self,
        out: IO[bytes],
        finish: Callable[[Sequence[bytes]], bytes],
        say_dropped: Callable[[int], bytes],
        *,
        is_shared: bool = False,
    ) -> None:
        self._out = out
        self._is_shared = is_shared
        self._finish, self._say_dropped = finish, say_dropped
        self._changed = threading.Condition()
        self._waiting: deque[Sequence[bytes]] = deque()
        self._bytes = 0  # handed over and not yet written
        self._unsaid = 0  # lines dropped since the number was last written
        self._thread: threading.Thread | None = None
        self.dropped = 0  # lines, since the start of the process

    def hand_over(self, lines: Sequence[bytes]) -> None:
        """Take lines, or drop all of them if too much waits already. Never waits."""
        size = sum(map(len, lines))
        with self._changed:
            if self._bytes and self._bytes + size > MAX_BYTES:
                self.dropped += len(lines)
                self._unsaid += len(lines)
                return
            self._waiting.append(lines)
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float = LAST_WAIT_S) -> bool:
        """Wait until all lines are written, for `seconds` at most. Return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._bytes, seconds)

    def close(self) -> None:
        """Wait until all lines are written, LAST_WAIT_S at most, and end the thread. More lines start another one."""
        self.wait()
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _write_all(self) -> None:
        mine = threading.current_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._thread is not mine)
                if self._thread is not mine:
                    return
                batches, self._waiting = self._waiting, deque()
            for lines in batches:
                self._write(self._finish(lines))
                with self._changed:
                    self._bytes -= sum(map(len, lines))
                    unsaid = 0
                    if not self._bytes:  # it flows again
                        unsaid, self._unsaid = self._unsaid, 0
                    self._changed.notify_all()
                if unsaid:
                    self._write(self._finish([self._say_dropped(unsaid)]))

    def _write(self, data: bytes) -> None:
        """Write all of `data`. If the reader has closed the pipe, it is lost and the daemon goes on."""
        try:
            for piece in _pieces(data) if self._is_shared else (data,):
                self._write_piece(piece)
            self._out.flush()
        except (OSError, ValueError):
            return

    def _write_piece(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written: int | None = self._out.write(left)
            if written is None:  # somebody has made the pipe non-blocking: it is full
                time.sleep(0.05)
            else:
                left = left[written:]


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut at line ends, into pieces of at most PIPE_BUF bytes (a longer line is one of its own)."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
        end = end or data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end
