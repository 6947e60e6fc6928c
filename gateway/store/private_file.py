"""Writes a file that only this user may read, whole or not at all."""

import contextlib
import os
from pathlib import Path


def replace_private(path: Path, data: bytes) -> None:
    """Put `data` in place of what `path` held, with mode 0600 and on the disk. Raises OSError."""
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
