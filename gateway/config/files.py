"""Where texts come from: the configuration file, secrets, packaged data, the state directory.

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
from gateway.store.private_file import replace_private


def read_config(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration file. Raises ConfigError, also when it cannot be read."""
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


def state_dir(config: Config, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The directory for what outlives the process, None for a store without one.

    Beside the SQLite file; else systemd's `$STATE_DIRECTORY`. Created when missing; raises OSError.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    scheme, _, rest = config.store.url.partition(":")
    if scheme == "memory":
        return None
    if scheme == "sqlite":
        found = sqlite_path(rest, environ).parent
    elif given:
        found = Path(given)
    else:
        found = Path("state")
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(found, os.W_OK | os.X_OK):
        raise PermissionError(13, os.strerror(13), str(found))
    return found


def own_secret(state: Path | None) -> bytes:
    """What signs what clients carry for us: made once and kept in the state directory. Raises OSError."""
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
    """The file behind `sqlite:PATH`; a relative one lies in `$STATE_DIRECTORY` when systemd gives one."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    path = Path(rest)
    if path.is_absolute() or not given:
        return path
    return Path(given) / path.name


def sqlite_file(config: Config, state: str | None) -> Path | None:
    """The file of an SQLite store, None for another store; `state` is the state directory, where it is known."""
    scheme, _, rest = config.store.url.partition(":")
    if scheme != "sqlite":
        return None
    return Path(state, Path(rest).name) if state is not None else sqlite_path(rest)


def _read_file(name: str, config_path: str, environ: Mapping[str, str]) -> str | None:
    """Read a secret's file: relative to systemd's credentials, else to the configuration file.

    The unit loads a whole folder (`LoadCredential=gateway:…`), and systemd puts that id before the names.
    """
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    base = Path(credentials) if credentials else Path(config_path).parent
    for path in (base / name, base / f"gateway_{name}"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return path.read_text(encoding="utf-8").strip() or None
    return None
