"""Requests made from the SDKs' own types: one for every member of every object, nested ones too.

Nothing here lists members: a new release of an SDK brings its new members into the walk by itself.
"""

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NotRequired, Required, get_args, get_origin

import typing_extensions
from attrs import define, field, frozen
from typing_extensions import is_typeddict

from tests.wire.crossings import PIXEL

# Strings that a reader checks, by the member's name.
_TEXTS = {
    "call_id": "call_1", "tool_call_id": "call_1", "tool_use_id": "call_1", "name": "tool_1", "tool_name": "tool_1",
    "arguments": '{"a":1}', "url": "https://a.example/p.png", "image_url": "https://a.example/p.png",
    "file_url": "https://a.example/p.pdf", "file_data": "data:application/pdf;base64,JVBERi0=", "data": PIXEL,
    "encrypted_content": "sealed", "id": "id_1",
}  # fmt: skip
_PLAIN: dict[Any, tuple[Any, Any]] = {bool: (True, False), int: (7, 90_000), float: (0.5, 0.25)}
Build = Callable[[Any], dict[str, Any]]


@frozen
class Case:
    """A request with one member of one object (`given`), and the same without it, or with another value.

    `place` is the way to the member by names, `kinds` the `type` or `role` of the objects that it stands in.
    """

    place: str
    kinds: tuple[str, ...]
    value: Any
    given: dict[str, Any]
    other: dict[str, Any]


def cases(params: Any, skip: Iterable[str] = ()) -> Iterator[Case]:
    """Yield the cases of an SDK's request type, a TypedDict; members of the request in `skip` are left out."""
    walk = _Walk()
    for name, hint in hints(params).items():
        if name not in skip:
            yield from walk.member({}, name, hint, dict, _Place(name))


def hints(shape: Any) -> Mapping[str, Any]:
    return typing_extensions.get_type_hints(shape, include_extras=True)


@frozen
class _Place:
    """Where a member stands: the way to it by names, and the kinds and types of the objects around it."""

    path: str
    kinds: tuple[str, ...] = ()
    shapes: tuple[Any, ...] = ()


@define
class _Walk:
    """One walk. An object that stands at several places inside objects of one type is walked at the first."""

    _seen: set[tuple[Any, ...]] = field(factory=set, init=False)

    def _object(self, shape: Any, build: Build, place: _Place) -> Iterator[Case]:
        first = place.path.partition(".")[0]
        key = first, place.shapes[-1:], place.path.rpartition(".")[2], shape
        if shape in place.shapes or key in self._seen:
            return
        self._seen.add(key)
        least = minimal(shape)
        kind = str(least.get("type") or least.get("role") or "")
        for name, hint in hints(shape).items():
            inner = _Place(f"{place.path}.{name}", (*place.kinds, kind), (*place.shapes, shape))
            yield from self.member(least, name, hint, build, inner)

    def member(self, around: Mapping[str, Any], name: str, hint: Any, build: Build, place: _Place) -> Iterator[Case]:
        """Yield the cases of one member of an object that is made of `around`, and of all objects in it."""

        def put(value: Any) -> dict[str, Any]:
            return build({**around, name: value})

        for choice in choices(hint):
            inner, is_list = (get_args(choice)[0], True) if _is_list(choice) else (choice, False)
            for value in values(choice, name):
                other = build({key: old for key, old in around.items() if key != name})
                if name in around:
                    other = put(_other(choice, value))
                if name != "type":
                    yield Case(place.path, place.kinds, value, put(value), other)
            for shape in choices(inner):
                if is_typeddict(shape):
                    yield from self._object(shape, (lambda one: put([one])) if is_list else put, place)


def choices(hint: Any) -> list[Any]:
    """Return the alternatives of a type: those of unions, without None."""
    if get_origin(hint) in (Required, NotRequired, typing.Annotated):
        return choices(get_args(hint)[0])
    if get_origin(hint) in (typing.Union, types.UnionType):
        return [one for part in get_args(hint) for one in choices(part)]
    if isinstance(hint, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return choices(hint.__value__)
    return [] if hint in (None, type(None)) else [hint]


def values(choice: Any, name: str) -> list[Any]:
    """Return values of a type, of which at least one is not the default."""
    if choice is bool:
        return [True, False]
    if get_origin(choice) is Literal:
        return list(get_args(choice))
    if _is_list(choice):
        return [[one] for inner in choices(get_args(choice)[0]) for one in values(inner, name)]
    least = minimal(choice, name)
    if least == {}:  # all members are optional
        least = {key: values(choices(hint)[0], key)[0] for key, hint in hints(choice).items()}
    return [least]


def _other(choice: Any, value: Any) -> Any:
    """Return another value of a required member."""
    if choice is str or isinstance(value, str):
        return f"{value}2"
    if choice in _PLAIN:
        return _PLAIN[choice][1]
    return {"other": 1} if isinstance(value, dict) else []


def minimal(choice: Any, name: str = "") -> Any:
    """Return a value of a type with no more than the required members."""
    if get_origin(choice) is Literal:
        return get_args(choice)[0]
    if is_typeddict(choice):
        return {key: minimal(choices(hint)[0], key) for key, hint in hints(choice).items() if _is_required(choice, key)}
    if _is_list(choice):
        inside = choices(get_args(choice)[0])
        return [minimal(inside[0], name)] if inside else []
    if choice in _PLAIN:
        return _PLAIN[choice][0]
    if choice is str:
        return _TEXTS.get(name, f"word_{name}")
    return {"key": "value"}


def _is_required(shape: Any, name: str) -> bool:
    return name in shape.__required_keys__ or get_origin(hints(shape)[name]) is Required


def _is_list(choice: Any) -> bool:
    origin = get_origin(choice)
    return isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping)
