"""Reads the configuration file, secret files and packaged data: at start and at reload, and nothing else does."""

import contextlib
import hashlib
import os
import ssl
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve

from gateway.config.checks import check_to_run
from gateway.config.load import load
from gateway.config.problems import ConfigError, Problem, problem_at
from gateway.config.schema import Config

STDIN = "-"
NO_PASSWORD = ""  # else OpenSSL would ask for one at the terminal


def read_config(path: str, environ: Mapping[str, str] = os.environ, listen: Sequence[str] = ()) -> Config:
    """Read and check a configuration file (`-`: standard input). Raises ConfigError, also when it cannot be read.

    `listen` stands for `server.listen`, unless it is empty.
    """
    try:
        text = sys.stdin.buffer.read().decode() if path == STDIN else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(path, [Problem(1, 1, "", f"cannot be read: {reason}")]) from None

    def read_secret(kind: str, name: str) -> str | None:
        # Without the line end that `export KEY="$(cat file)"` and the secrets of container platforms may bring.
        return environ.get(name, "").strip() or None if kind == "env" else _read_file(name, path, environ)

    config = load(text, path, read_secret, packaged("presets.yaml"), listen=listen)
    config, unusable = _with_tls_files(config, path, environ)
    if unusable:
        raise ConfigError(path, unusable)
    if problems := [problem_at(config.places, where, message) for where, message in check_to_run(config)]:
        raise ConfigError(path, problems)
    return evolve(config, folder="" if path == STDIN else str(Path(path).absolute().parent))


def packaged(name: str) -> dict[str, Any]:
    """Read a YAML file that ships with the gateway."""
    found: dict[str, Any] = yaml.load(packaged_file(name), Loader=yaml.CSafeLoader) or {}
    return found


@cache
def packaged_prices() -> dict[str, dict[str, str]]:
    """Read data/prices.yaml: {family: {model glob: its price as YAML}}.

    The file has one line for each model, and only those that are asked for are read further: all two thousand would
    take a tenth of a second.
    """
    families: dict[str, dict[str, str]] = {}
    models: dict[str, str] = {}
    for line in packaged_file("prices.yaml").decode().splitlines():
        if line.startswith('  "'):
            glob, _, price = line[3:].partition('": ')
            models[glob] = price
        elif line and not line.startswith("#"):
            models = families[line.rstrip(":")] = {}
    return families


def packaged_file(name: str) -> bytes:
    """Read a file that ships with the gateway."""
    return resources.files("gateway").joinpath("data", name).read_bytes()


def _with_tls_files(config: Config, path: str, environ: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """Find the files of each provider's `tls`, and try them: a wrong one is better met here than at the first call."""
    providers, problems = dict(config.providers), []
    for name, provider in config.providers.items():
        if (tls := provider.tls) is None:
            continue
        files: dict[str, Any] = {
            kind: str(_place(given, path, environ))
            for kind in ("ca", "cert", "key")
            if (given := getattr(tls, kind)) is not None
        }
        providers[name] = evolve(provider, tls=evolve(tls, **files, stamp=_stamp(files.values())))
        try:
            context = ssl.create_default_context(cafile=files.get("ca"))
            if "cert" in files:
                context.load_cert_chain(files["cert"], files.get("key"), password=NO_PASSWORD)
        except (OSError, ValueError) as error:  # ssl.SSLError is one
            is_file = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
            reason = "a file is not PEM, has a password, or the key is not that of the certificate"
            reason = f"{error.strerror}" if is_file else reason  # type: ignore[union-attr]  # it is an OSError then
            shown = ", ".join(files.values())
            problems.append(problem_at(config.places, ("providers", name, "tls"), f"{reason} ({shown})"))
    return evolve(config, providers=providers), problems


def _stamp(files: Iterable[str]) -> str:
    """Return a digest of files: after a reload a renewed one makes other connections."""
    digest = hashlib.sha256()
    for name in files:
        with contextlib.suppress(OSError, ValueError):
            digest.update(Path(name).read_bytes())
    return digest.hexdigest()


def _place(name: str, config_path: str, environ: Mapping[str, str]) -> Path:
    """Return where a file lies that is named like a secret's: the first place where there is one."""
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    beside = Path(config_path).absolute().parent / name
    bases = [Path(credentials)] if credentials else []
    return next((one for base in bases for one in (base / name, base / f"gateway_{name}") if one.exists()), beside)


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
