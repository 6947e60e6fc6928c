"""Writes files that only this user may read: a reader sees the old content or the new, never a part."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

# What others may have of a directory in which such files lie: nothing that lets them put a file of theirs there.
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def replace_private(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`, with mode 0600. On the disk when this returns. Raises OSError.

    The new file gets a name that nobody can guess, and is made only if nothing has that name, not even a link.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask says
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def touch_private(path: Path) -> None:
    """Make an empty file with mode 0600 if there is none. Raises OSError, also for a link or a foreign file."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def private_directory(path: Path) -> None:
    """Make a directory for such files with mode 0700, or mend one of ours that others may write to.

    Raises PermissionError for a foreign one: whoever may write there can put files of theirs in place of ours.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_mode & _OTHERS_WRITE:
        if found.st_uid != os.geteuid():
            raise PermissionError(1, "others may write there: chmod go-w", str(path))
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS_WRITE)
