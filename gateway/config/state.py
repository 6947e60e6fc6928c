"""Finds the state directory, where files lie that outlive the process: the store's, and the gateway's own secret."""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from gateway.config.schema import Config
from gateway.store.private_file import private_directory, replace_private
from gateway.store.schemes import split_scheme

CONTROL = "control.sock"  # in the state directory: the running gateway's operators' pages, for its own user
DEFAULT = "state"


def find_state_dir(config: Config, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return where files lie that outlive the process; None for `memory:`, which keeps nothing.

    For SQLite it is the directory of the database file; else `$STATE_DIRECTORY`, or `state` beside the configuration.
    """
    scheme, rest = split_scheme(config.store.url)
    if scheme is None or not (scheme.has_file or scheme.is_shared):
        return None
    return _placed(Path(rest) if scheme.has_file else Path(DEFAULT, "x"), config, environ).parent


def state_dir(config: Config, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return what `find_state_dir` does, created if it is missing.

    Raises OSError when it cannot be created or written to, or when others may write to it.
    """
    found = find_state_dir(config, environ)
    if found is not None:
        private_directory(found)
        if not os.access(found, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13), str(found))
    return found


def sqlite_file(config: Config, state: str | None) -> Path | None:
    """Return the file of an SQLite store, None for another store. `state` is the state directory, None if unknown."""
    scheme, rest = split_scheme(config.store.url)
    if scheme is None or not scheme.has_file:
        return None
    return Path(state, Path(rest).name) if state is not None else _placed(Path(rest), config, os.environ)


def own_secret(state: Path | None) -> bytes:
    """Return the secret that signs values which clients carry for the gateway. Raises OSError.

    It is made at the first start and kept in the state directory; without one it lasts as long as the process.
    """
    if state is None:
        return secrets.token_bytes(32)
    path = state / "secret"
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_bytes():
            return found
    made = secrets.token_hex(32).encode()
    replace_private(path, made)
    return made


def _placed(path: Path, config: Config, environ: Mapping[str, str]) -> Path:
    """Return where a relative path of the file lies: never below the folder that the gateway happens to run in.

    Under systemd its last part is in `$STATE_DIRECTORY`. Elsewhere the path begins beside the configuration file, or
    where nothing can be written there, its last part is in `$XDG_STATE_HOME/gateway` (the XDG Base Directory
    Specification; `~/.local/state` by default).
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if path.is_absolute():
        return path
    if given:
        return Path(given) / path.name
    if config.folder:
        beside = Path(config.folder, path)
        nearest = next(one for one in beside.parents if one.exists())
        if os.access(nearest, os.W_OK | os.X_OK):
            return beside
    home = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "gateway" / path.name
