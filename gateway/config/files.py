"""Reads the configuration file, secret files and packaged data, and finds the state directory.

The only place that reads files and the environment at start and at reload.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gateway.config.load import load
from gateway.config.problems import ConfigError, Problem
from gateway.config.schema import Config
from gateway.store.private_file import private_directory, replace_private
from gateway.store.schemes import split_scheme

CONTROL = "control.sock"  # in the state directory: the running gateway's operators' pages, for its own user


def read_config(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration file. Raises ConfigError, also when the file cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(path, [Problem(1, 1, "", f"cannot be read: {reason}")]) from None

    def read_secret(kind: str, name: str) -> str | None:
        return environ.get(name) or None if kind == "env" else _read_file(name, path, environ)

    return load(text, path, read_secret, packaged("presets.yaml"))


def packaged(name: str) -> dict[str, Any]:
    """Read a YAML file that ships with the gateway."""
    text = resources.files("gateway").joinpath("data", name).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader) or {}
    return found


def find_state_dir(config: Config, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return where files lie that outlive the process; None for `memory:`, which keeps nothing.

    For SQLite it is the directory of the database file; else systemd's `$STATE_DIRECTORY`; else `state`.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    scheme, rest = split_scheme(config.store.url)
    if scheme is None or not (scheme.has_file or scheme.is_shared):
        return None
    if scheme.has_file:
        return sqlite_path(rest, environ).parent
    return Path(given or "state")


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


def sqlite_path(rest: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file that `sqlite:PATH` names.

    Under systemd a relative path keeps its last part only: `state/gateway.db` is `$STATE_DIRECTORY/gateway.db`.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    path = Path(rest)
    if path.is_absolute() or not given:
        return path
    return Path(given) / path.name


def sqlite_file(config: Config, state: str | None) -> Path | None:
    """Return the file of an SQLite store, None for another store. `state` is the state directory, None if unknown."""
    scheme, rest = split_scheme(config.store.url)
    if scheme is None or not scheme.has_file:
        return None
    return Path(state, Path(rest).name) if state is not None else sqlite_path(rest)


def _read_file(name: str, config_path: str, environ: Mapping[str, str]) -> str | None:
    """Read a secret's file; None when it is missing or empty.

    `name` is relative to systemd's `$CREDENTIALS_DIRECTORY` if set, else to the directory of the configuration file.
    Our unit loads a whole folder (`LoadCredential=gateway:…`); systemd then names each file `gateway_<name>`.
    """
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    base = Path(credentials) if credentials else Path(config_path).parent
    for path in (base / name, base / f"gateway_{name}"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return path.read_text(encoding="utf-8").strip() or None
    return None
