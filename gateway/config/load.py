"""Turns the text of providers.yaml into a Config, or into every problem with its place.

Pure: the caller passes the text, the presets and the function that looks up secrets.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from attrs import evolve
from cattrs.errors import BaseValidationError

from gateway.config.checks import check, split_url
from gateway.config.fields import ORIGIN
from gateway.config.problems import ConfigError, Path, problem_at
from gateway.config.provider_schema import Provider
from gateway.config.route_targets import Expander
from gateway.config.schema import Config
from gateway.config.structure import Converter, ReadSecret, problems_of
from gateway.config.warnings import warnings_of
from gateway.config.yaml_marks import Text, parse
from gateway.wire import DIALECTS

# Mappings of a provider: the file's entries are added to the preset's. Any other member replaces the preset's.
_JOINED = ("headers", "query", "set", "rename", "timeouts", "models")
_VERSION = "/v1"
PROXY_OF_ENVIRONMENT = "env"
_ENDS_WITH_VERSION = re.compile(r"/v\d\w*/*$")
# Each round removes the wrong values. A mapping that has lost a required key so is wrong in the next round, and so on
# up through the nesting: the schema is less than eight levels deep.
MAX_ROUNDS = 8
# Stands in a list for a removed item until all are removed: the indices of the other paths stay right.
_GONE = object()


def load(
    text: str, name: str, read_secret: ReadSecret, presets: Mapping[str, Any], *, listen: Sequence[str] = ()
) -> Config:
    """Read the text of providers.yaml. Raises ConfigError with every problem.

    `name` is the file's name in the messages; `presets` maps a preset's name to the settings of a known provider;
    `listen` stands for `server.listen`, unless it is empty.
    """
    found = parse(text)
    config = _structure(found, read_secret, presets, listen) if found.is_readable else None
    if config is None or found.problems:
        raise ConfigError(name, found.problems)
    warnings = sorted(
        (problem_at(found.marks, path, message) for path, message in warnings_of(config, found.data)),
        key=lambda one: (one.line, one.column),
    )
    return evolve(config, warnings=tuple(warnings), places=found.marks)


def _structure(
    found: Text, read_secret: ReadSecret, presets: Mapping[str, Any], listen: Sequence[str]
) -> Config | None:
    """Turn the data into a checked Config, and note every problem in `found`.

    An operator wants to see all problems in one run, but cattrs makes no Config from data with an error in it. So
    each wrong value is noted and removed, and the rest is structured again, until a Config comes out; only then
    can the checks across values run. None when nothing is left to check; the Config is used only without problems.
    """
    converter = Converter(read_secret)
    data = _with_presets(found.data if found.data is not None else {}, presets, found, converter)
    for _ in range(MAX_ROUNDS):
        try:
            config: Config = converter.structure(data, Config)
        except (BaseValidationError, ValueError) as error:
            wrong = list(problems_of(error))
            for path, message in wrong:
                found.complain(path, message)
            if any(not path for path, _ in wrong):
                return None
            data = _without(data, [path for path, _ in wrong])
        else:
            if listen:
                config = evolve(config, server=evolve(config.server, listen=tuple(listen)))
            return _finish(config, found, read_secret)
    return None


def _finish(config: Config, found: Text, read_secret: ReadSecret) -> Config:
    given = found.data.get("providers") if isinstance(found.data, dict) else None
    families = given if isinstance(given, dict) else {}
    providers = {
        name: evolve(
            provider,
            name=name,
            family=(families[name] or {}).get("preset", name),
            proxy=_proxy(provider, read_secret),
        )
        for name, provider in config.providers.items()
    }
    routes = Expander(config.routes, families, found).expand_all()
    config = evolve(config, providers=providers, routes=routes)
    for path, message in check(config, families):
        found.complain(path, message)
    return config


def _proxy(provider: Provider, read_secret: ReadSecret) -> str | None:
    """Return a provider's proxy; for `env` that of the usual variables, unless NO_PROXY has its host."""
    if provider.proxy != PROXY_OF_ENVIRONMENT:
        return provider.proxy

    def look_up(name: str) -> str | None:
        return read_secret("env", name.lower()) or read_secret("env", name.upper())

    url = split_url(provider.base_url)
    if url is None or not url.hostname:
        return None
    if _is_left_out(url.hostname, look_up("no_proxy") or ""):
        return None
    return look_up(f"{url.scheme}_proxy") or look_up("all_proxy")


def _is_left_out(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names a host: itself, a domain that it is in, or `*`; a port behind a name is not looked at."""
    names = [name.strip().lower().partition(":")[0].lstrip("*").lstrip(".") for name in no_proxy.split(",")]
    given = [name.strip() for name in no_proxy.split(",")]
    return "*" in given or any(name and (host == name or host.endswith(f".{name}")) for name in names)


def _without(data: Any, paths: Iterable[Path]) -> Any:
    """Copy `data` without the values at `paths`."""
    copied = deepcopy(data)
    for *above, last in sorted(paths, key=len, reverse=True):
        inner = copied
        for step in above:
            inner = _step_into(inner, step)
        if isinstance(inner, dict):
            inner.pop(last, None)
        elif isinstance(inner, list) and isinstance(last, int):
            inner[last] = _GONE
    return _swept(copied)


def _step_into(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) else None


def _swept(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _swept(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_swept(value) for value in data if value is not _GONE]
    return data


def _with_presets(data: Any, presets: Mapping[str, Any], found: Text, converter: Converter) -> Any:
    """Merge each provider with its preset; the file wins. The converter reports values of a wrong shape."""
    providers = data.get("providers") if isinstance(data, dict) else None
    if not isinstance(providers, dict):
        return data
    looked_up = {name: _with_base_url(given, converter) for name, given in providers.items()}
    merged = {name: _with_preset(name, given, presets, found) for name, given in looked_up.items()}
    return data | {"providers": merged}


def _with_base_url(given: Any, converter: Converter) -> Any:
    """Look up a base URL that is a secret: where it leads decides what of the preset holds there."""
    base = given.get("base_url") if isinstance(given, dict) else None
    if not isinstance(base, dict):
        return given
    try:
        return given | {"base_url": converter.base_url(base)}
    except ValueError:
        return given  # the converter says what is wrong with it


def _with_preset(name: str, given: Any, presets: Mapping[str, Any], found: Text) -> Any:
    if given is None:
        given = {}  # `mock:` without a value: all settings are the preset's
    if not isinstance(given, dict):
        return given
    path = ("providers", name)
    own = {key: value for key, value in given.items() if key != "preset"}
    chosen = given.get("preset", name)
    if not isinstance(chosen, str) or ("preset" in given and chosen not in presets):
        found.complain((*path, "preset"), f"unknown preset: one of {', '.join(sorted(presets))}")
        chosen = ""
    preset = _moved(presets.get(chosen, {}), own.get("base_url"))
    if "auth" in presets.get(chosen, {}) and "auth" not in preset and "auth" not in own:
        found.complain(path, f"missing key 'auth': the usual one of '{chosen}' is not sent to another host")
    if "base_url" not in own and "base_url" not in preset and (chosen in presets or "preset" in given):
        found.complain(path, f"missing key 'base_url': preset '{chosen}' has none of its own")
        preset["base_url"] = "http://missing.invalid"
    for key in _JOINED:
        if isinstance(own.get(key), dict) and isinstance(preset.get(key), dict):
            own[key] = preset[key] | own[key]
    merged = preset | own
    if "speaks" in merged:
        merged["speaks"] = _speaks(merged["speaks"], merged.get("base_url"), (*path, "speaks"), found)
        paths = merged["speaks"].values() if isinstance(merged["speaks"], dict) else ()
        if paths and all(isinstance(one, str) and one.startswith(f"{_VERSION}/") for one in paths):
            merged.setdefault("lists_models", f"{_VERSION}/models")  # it begins where all else does
    return merged


def _moved(preset: Mapping[str, Any], base: Any) -> dict[str, Any]:
    """Copy a preset without what does not hold at `base`, a base URL that stands in the file (None: it has none).

    Another host never gets the usual credential. Under another path the preset's `{origin}` paths lead nowhere.
    """
    kept = dict(preset)
    usual, other = (split_url(url) if isinstance(url, str) else None for url in (preset.get("base_url"), base))
    if usual is None or other is None:
        return kept
    if other.netloc != usual.netloc:
        kept.pop("auth", None)
    if other.path.rstrip("/") != usual.path and isinstance(kept.get("speaks"), dict):
        kept["speaks"] = {name: path for name, path in kept["speaks"].items() if not path.startswith(ORIGIN)}
    return kept


def _speaks(given: Any, base: Any, path: tuple[str, ...], found: Text) -> Any:
    """Turn a list of dialects into {dialect: path}, with each dialect's usual path. A mapping stays as it is.

    Anthropic's SDK is given its `base` without /v1, OpenAI's with it: both are understood, for a mapping too. A base
    such as https://api.example/anthropic is one of Anthropic's SDK: only one that ends with a version has it.
    """
    if not isinstance(given, list | dict):
        return given
    known = [name for name in given if isinstance(name, str) and name in DIALECTS]
    for name in given:
        if name not in known:
            found.complain(path, f"unknown dialect {name!r}: one of {', '.join(DIALECTS)}")
    paths = {name: given[name] if isinstance(given, dict) else DIALECTS[name].path for name in known}
    if (url := split_url(base) if isinstance(base, str) else None) is None or url.scheme not in ("http", "https"):
        return paths
    has_version, is_versioned = url.path.rstrip("/").endswith(_VERSION), _ENDS_WITH_VERSION.search(url.path)
    for name, one in paths.items():
        if has_version and isinstance(one, str) and one.startswith(f"{_VERSION}/"):
            paths[name] = one.removeprefix(_VERSION)
        elif not is_versioned and isinstance(given, list) and DIALECTS[name].is_anthropic:
            paths[name] = _VERSION + one
    return paths
