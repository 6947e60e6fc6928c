"""Turns plain YAML data into the classes of `schema`: strict types, every problem with its path.

The classes in `schema` define which keys exist. This file adds the short forms (a secret, an auth, a route, a
target), and flattens the converter's tree of errors into (path, message).
"""

import base64
import hashlib
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import AttributeValidationNote, BaseValidationError, ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from gateway.config.fields import (
    MISSING,
    HeaderValue,
    KeySecret,
    ModelSettings,
    Seconds,
    Secret,
    Share,
    Size,
    StoreUrl,
    Workers,
)
from gateway.config.problems import Path
from gateway.config.provider_schema import Auth, OAuth, Provider, Tls
from gateway.config.scalars import (
    Hook,
    exactly,
    guarded,
    read_date,
    read_duration,
    read_mapping,
    read_rate,
    read_share,
    read_size,
    read_text,
    read_workers,
)
from gateway.config.schema import Rate, Route, Target
from gateway.wire.profile import Profile

ReadSecret = Callable[[str, str], str | None]
NO_READERS: Mapping[str, Callable[[Any], Any]] = {}
_SHA256 = re.compile(r"[0-9a-f]{64}")
AUTH_HEADERS = {"bearer": ("authorization", "Bearer "), "x-api-key": ("x-api-key", ""), "api-key": ("api-key", "")}


class Converter(cattrs.Converter):
    """A cattrs converter that refuses unknown keys and converts no types.

    `read_secret(kind, name)` returns the secret behind `{env: NAME}` or `{file: PATH}`, None when it is absent.
    """

    def __init__(self, read_secret: ReadSecret) -> None:
        super().__init__(forbid_extra_keys=True, detailed_validation=True)
        self._read_secret = read_secret
        self._register_scalars()
        self._register_containers()
        hook = self.register_structure_hook
        hook(Secret, lambda value, _: self._secret(value))
        hook(KeySecret, lambda value, _: self._key_secret(value))
        hook(Auth, lambda value, _: self._auth(value))
        full_tls = _class_hook(Tls, self)
        hook(Tls, lambda value, kind: full_tls(_with_key(value), kind))
        readers = {"base_url": self.base_url, "proxy": self._proxy}
        hook(Provider, _class_hook(Provider, self, readers))
        full_target = _class_hook(Target, self)
        hook(Target, lambda value, kind: _short_target(value) or full_target(value, kind))
        full_route = _class_hook(Route, self)  # looks up its members' hooks now: after Target's
        hook(Route, lambda value, kind: self._short_route(value) or full_route(value, kind))

    def _register_scalars(self) -> None:
        hook = self.register_structure_hook
        hook(bool, exactly("true or false", bool))
        hook(int, exactly("a whole number", int))
        hook(float, exactly("a number", int, float))
        readers: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
            (str, read_text),
            (date, read_date),
            (Rate, read_rate),
        )
        for kind, read in readers:
            hook(kind, _hook_of(read))
        names: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
            (Seconds, read_duration),
            (Size, read_size),
            (Share, read_share),
            (ModelSettings, self._model_settings),
            (StoreUrl, self._store_url),
            (HeaderValue, self._header_value),
            (Workers, read_workers),
        )
        for kind, read in names:
            self.register_structure_hook_func(_is(kind), _hook_of(read))

    def _register_containers(self) -> None:
        factory = self.register_structure_hook_factory
        factory(attrs.has, lambda kind: _class_hook(kind, self))
        factory(_is_mapping, lambda kind: guarded(self.gen_structure_mapping(kind), dict, "a mapping"))
        factory(_is_tuple, lambda kind: _tuple_hook(kind, self))
        factory(_is_optional, lambda kind: _optional_hook(kind, self))
        self.register_structure_hook_func(lambda kind: kind == dict[str, Any], _hook_of(read_mapping))

    def _secret(self, value: Any) -> Secret:
        origin, found = self._look_up(value)
        return Secret(origin, found)

    def _key_secret(self, value: Any) -> KeySecret:
        if type(value) is dict and set(value) == {"sha256"}:
            digest = value["sha256"]
            if type(digest) is not str or not _SHA256.fullmatch(digest):
                raise ValueError("sha256 must be 64 lower-case hexadecimal digits, in quotes")
            return KeySecret("sha256", bytes.fromhex(digest))
        origin, found = self._look_up(value)
        if not found:
            raise ValueError(f"the secret of a client key is missing: {origin}")
        return KeySecret(origin, hashlib.sha256(found.encode()).digest(), found)

    def _auth(self, value: Any) -> Auth:
        if value == "passthrough":
            return Auth(is_passthrough=True)
        if type(value) is not dict or len(value) != 1 or next(iter(value)) not in (*AUTH_HEADERS, "basic", "oauth"):
            raise ValueError("expected passthrough, or one of bearer, x-api-key, api-key, basic, oauth")
        ((kind, given),) = value.items()
        if kind == "basic":
            return self._basic(given)
        if kind == "oauth":
            return Auth(header="authorization", scheme="Bearer ", oauth=self.structure(given, OAuth))
        header, scheme = AUTH_HEADERS[kind]
        return Auth(header=header, scheme=scheme, secrets=tuple(self._secret(one) for one in _as_list(given)))

    def _basic(self, value: Any) -> Auth:
        """Read a user and a password (RFC 7617). Raises ValueError."""
        if type(value) is not dict or set(value) != {"user", "password"} or type(value["user"]) is not str:
            raise ValueError("expected {user: NAME, password: {env: NAME}}")
        password = self._secret(value["password"])
        sent = password.value and base64.b64encode(f"{value['user']}:{password.value}".encode()).decode()
        return Auth("authorization", "Basic ", (Secret(password.origin, sent),), (password,))

    def _header_value(self, value: Any) -> HeaderValue:
        return self._secret(value) if type(value) is dict else read_text(value)

    def base_url(self, value: Any) -> str:
        """Read a URL, or where it is found; a provider whose URL is missing is disabled. Raises ValueError."""
        if type(value) is not dict:
            return read_text(value)
        origin, found = self._look_up(value)
        return found or MISSING + origin

    def _proxy(self, value: Any) -> str | None:
        """Read a URL, where it is found, or `env` for the usual variables, which `load` looks at. Raises ValueError."""
        if value is None:
            return None
        if type(value) is not dict:
            return read_text(value)
        origin, found = self._look_up(value)
        if not found:  # without its proxy a provider is not asked: the network may not be meant to be left directly
            raise ValueError(f"the proxy's URL is missing: {origin}")
        return found

    def _short_route(self, value: Any) -> Route | None:
        if type(value) is str or type(value) is list:
            return Route(targets=self.structure(_as_list(value), tuple[Target, ...]))
        return None

    def _model_settings(self, value: Any) -> ModelSettings:
        profile = self.structure(value, Profile)
        return ModelSettings({name: getattr(profile, name) for name in value})

    def _store_url(self, value: Any) -> StoreUrl:
        """Read a URL, or `{env: NAME}` or `{file: PATH}` for a URL with a password in it. Raises ValueError."""
        if type(value) is str:
            return StoreUrl(value)
        origin, found = self._look_up(value)
        if not found:
            raise ValueError(f"the store's URL is missing: {origin}")
        return StoreUrl(found)

    def _look_up(self, value: Any) -> tuple[str, str | None]:
        if type(value) is not dict or len(value) != 1 or next(iter(value)) not in ("env", "file"):
            raise ValueError("a secret never stands in the file: write {env: NAME} or {file: PATH}")
        ((kind, name),) = value.items()
        if type(name) is not str or not name:
            raise ValueError(f"{kind} must be a name")
        return f"{kind} {name}", self._read_secret(kind, name)


def problems_of(error: BaseException, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Flatten the converter's tree of errors into (path, message)."""
    if isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(map(str, error.extra_fields)):
            yield (*path, key), f"unknown key '{key}'"
    elif isinstance(error, BaseValidationError):
        noted = [(sub, _note_of(sub)) for sub in error.exceptions]
        wrong = {note.name for sub, note in noted if hasattr(note, "name") and not isinstance(sub, KeyError)}
        for sub, note in noted:
            if isinstance(sub, KeyError) and sub.args[0] in wrong:
                continue  # it is there, and wrong: that is said already
            step = () if note is None else (note.name if hasattr(note, "name") else note.index,)
            yield from problems_of(sub, (*path, *step))
    elif isinstance(error, KeyError):
        yield path[:-1], f"missing key '{error.args[0]}'"
    else:
        yield path, str(error.args[0] if error.args else error)


def _note_of(error: BaseException) -> Any:
    return next((n for n in getattr(error, "__notes__", ()) if hasattr(n, "name") or hasattr(n, "index")), None)


def _short_target(value: Any) -> Target | None:
    """Read `provider:model`, or a bare name, which `route_targets` resolves later. None when it is not a text."""
    if type(value) is not str:
        return None
    provider, colon, model = value.partition(":")
    return Target(provider=provider, model=model if colon else None)


def _with_key(value: Any) -> Any:
    """Let a key's file be written as a secret is: `{file: NAME}`."""
    key = value.get("key") if type(value) is dict else None
    return value | {"key": key["file"]} if type(key) is dict and set(key) == {"file"} else value


def _class_hook(
    kind: type[attrs.AttrsInstance], made: cattrs.Converter, readers: Mapping[str, Callable[[Any], Any]] = NO_READERS
) -> Hook:
    """Make the hook of a class; `readers` read the members whose metadata names one."""
    fields = attrs.fields(kind)
    overrides: dict[str, Any] = {f.name: cattrs.override(omit=True) for f in fields if f.metadata.get("internal")}
    for one in fields:
        if (name := one.metadata.get("read")) is not None:
            overrides[one.name] = cattrs.override(struct_hook=_hook_of(readers[name]))
    unbuilt = [f.name for f in fields if f.metadata.get("unbuilt")]
    inner: Hook = make_dict_structure_fn(
        kind, made, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **overrides
    )

    def structure(value: Any, cls: Any) -> Any:
        refused = [_unbuilt(name) for name in unbuilt if name in value]
        try:
            found = inner(value, cls)
        except ClassValidationError as group:
            raise ClassValidationError(group.message, [*group.exceptions, *refused], kind) from None
        if refused:
            raise ClassValidationError("unbuilt", refused, kind)
        return found

    return guarded(structure, dict, "a mapping")


def _unbuilt(name: str) -> ValueError:
    error = ValueError(f"'{name}' is not built in this version: take it out")
    error.__notes__ = [AttributeValidationNote(name, name, None)]
    return error


def _tuple_hook(kind: Any, made: cattrs.Converter) -> Hook:
    whole = guarded(homogenous_tuple_structure_factory(kind, made), list, "a list")
    if typing.get_args(kind)[0] is not KeySecret:
        return whole

    def one_or_more(value: Any, cls: Any) -> Any:  # a list while a key is rotated
        return whole(value, cls) if type(value) is list else (made.structure(value, KeySecret),)

    return one_or_more


def _optional_hook(kind: Any, made: cattrs.Converter) -> Hook:
    (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))

    def structure(value: Any, _: Any) -> Any:
        return None if value is None else made.structure(value, inner)

    return structure


def _hook_of(read: Callable[[Any], Any]) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        return read(value)

    return structure


def _is(wanted: Any) -> Callable[[Any], bool]:
    def check(kind: Any) -> bool:
        return kind is wanted

    return check


def _origin_of(kind: Any) -> Any:
    return typing.get_origin(kind)


def _is_mapping(kind: Any) -> bool:
    return _origin_of(kind) is dict and kind != dict[str, Any]


def _is_tuple(kind: Any) -> bool:
    return _origin_of(kind) is tuple


def _is_optional(kind: Any) -> bool:
    return _origin_of(kind) in (typing.Union, types.UnionType) and type(None) in typing.get_args(kind)


def _as_list(value: Any) -> list[Any]:
    return value if type(value) is list else [value]
