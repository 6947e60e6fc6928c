"""Replaces a file that only this user may read: a reader sees the old content or the new, never a part."""

import contextlib
import os
from pathlib import Path


def replace_private(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`, with mode 0600. On the disk when this returns. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.touch(0o600)
        fresh.chmod(0o600)
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
