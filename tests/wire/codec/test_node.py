"""Members are read as what they are, and each error names the place and both kinds."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.errors import BadRequest
from gateway.wire.codec.node import Node, decode, wrong_kind


def node(text: str, path: str = "") -> Node:
    return Node.read(text.encode(), path)


READERS: dict[str, Callable[[Node], Any]] = {
    "text": lambda one: one.text("x"),
    "flag": lambda one: one.flag("x"),
    "whole": lambda one: one.whole("x"),
    "number": lambda one: one.number("x"),
    "value": lambda one: one.value("x"),
    "mapping": lambda one: one.mapping("x"),
    "node": lambda one: one.node("x"),
    "items": lambda one: list(one.items("x")),
    "nodes": lambda one: list(one.nodes("x")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", ["{}", '{"x":null}', '{"x": null }', '{"y":1}'])
def test_null_is_absent(reader: str, text: str) -> None:
    """A member that is null reads as one that is not there, in every form."""
    assert READERS[reader](node(text)) in (None, [])
    assert not node(text).has("x") and node(text).raw("x") is None and node(text).kind("x") == "null"


@pytest.mark.parametrize(
    ("reader", "value", "wanted"),
    [
        ("text", '"\\u00e9"', "é"),
        ("text", '""', ""),
        ("flag", "false", False),
        ("whole", "10", 10),
        ("whole", "10.0", 10),
        ("whole", "-3", -3),
        ("whole", "9223372036854775807", 2**63 - 1),
        ("number", "1", 1.0),
        ("number", "0.5", 0.5),
        ("value", "[1,null]", [1, None]),
        ("mapping", '{"a":{"b":1}}', {"a": {"b": 1}}),
        ("items", '[1, "a"]', [(msgspec.Raw(b"1"), "x[0]"), (msgspec.Raw(b'"a"'), "x[1]")]),
    ],
)
def test_values_are_read(reader: str, value: str, wanted: Any) -> None:
    """Each form reads its values exactly; a whole number may be written with a point."""
    found = READERS[reader](node(f'{{"x":{value}}}'))
    assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize(
    ("reader", "value", "message"),
    [
        ("text", "1", "must be a string, not a number"),
        ("text", "[]", "must be a string, not an array"),
        ("flag", '"true"', "must be a boolean, not a string"),
        ("flag", "1", "must be a boolean, not a number"),
        ("whole", "true", "must be a number, not a boolean"),
        ("whole", '"10"', "must be a number, not a string"),
        ("number", "1e999", "must be a number, not one out of range"),
        ("whole", "-1e999", "must be a number, not one out of range"),
        ("mapping", '{"a":1e999}', "must be an object, not a broken one"),
        ("whole", "1.5", "must be a whole number, not a number"),
        ("whole", "1e300", "must be a whole number, not a number"),
        ("whole", "-18446744073709551616", "must be a whole number, not a number"),
        ("number", "{}", "must be a number, not an object"),
        ("mapping", "[]", "must be an object, not an array"),
        ("node", '"x"', "must be an object, not a string"),
        ("items", "{}", "must be an array, not an object"),
        ("nodes", "false", "must be an array, not a boolean"),
    ],
)
def test_the_wrong_kind_is_told_with_its_place(reader: str, value: str, message: str) -> None:
    """A known member of the wrong kind is a bad request that names its path, the kind wanted and the kind found."""
    with pytest.raises(BadRequest) as caught:
        READERS[reader](node(f'{{"x":{value}}}', "messages[3]"))
    assert caught.value.message == f"'messages[3].x' {message}"
    assert (caught.value.param, caught.value.code) == ("messages[3].x", "invalid_type")


def test_a_path_grows_with_the_depth() -> None:
    """Objects in arrays in objects know their whole path, and so does an error in the innermost."""
    body = node('{"messages":[{},{"content":[{"text":1}]}]}')
    inner = [part for message in body.nodes("messages") for part in message.nodes("content")]
    assert [one.path for one in inner] == ["messages[1].content[0]"]
    with pytest.raises(BadRequest, match=r"'messages\[1\]\.content\[0\]\.text' must be a string, not a number"):
        inner[0].text("text")
    source = node('{"source":{"url":"u"}}', "a").node("source")
    assert source is not None and (source.path, source.at("url")) == ("a.source", "a.source.url")


def test_an_item_that_is_not_an_object() -> None:
    """The items before a bad one are still yielded, and the error names the item."""
    nodes = node('{"x":[{"a":1},2]}').nodes("x")
    assert next(nodes).whole("a") == 1
    with pytest.raises(BadRequest, match=r"'x\[1\]' must be an object, not a number"):
        next(nodes)


def test_members_are_looked_at_when_they_are_read() -> None:
    """An unknown member of any kind is ignored, and a member keeps its bytes."""
    one = node('{"known":"a", "odd": [ 1e999, {"b" : 1} ]}')
    assert one.text("known") == "a"
    assert one.raw("odd") == msgspec.Raw(b'[ 1e999, {"b" : 1} ]')


@pytest.mark.parametrize(
    ("value", "kind"),
    [('"a"', "a string"), ("[]", "an array"), ("{}", "an object"), ("true", "a boolean"), ("-1", "a number")],
)
def test_kinds(value: str, kind: str) -> None:
    """A member's kind is told with its article, without reading it."""
    assert node(f'{{"x":{value}}}').kind("x") == kind and node(f'{{"x":{value}}}').has("x")


def test_a_needed_text() -> None:
    """A needed string that is missing or null has an error of its own; an empty one is there."""
    assert node('{"x":""}').needed_text("x") == ""
    for text in ("{}", '{"x":null}'):
        with pytest.raises(BadRequest) as caught:
            node(text, "tools[0]").needed_text("x")
        assert (caught.value.message, caught.value.param) == ("'tools[0].x' is missing", "tools[0].x")
        assert caught.value.code == "missing_required_parameter"


def test_the_body_itself_has_no_path() -> None:
    """An error about the body names no parameter."""
    with pytest.raises(BadRequest) as caught:
        node("[1]")
    assert (caught.value.message, caught.value.param) == ("The body must be an object, not an array", None)


def test_a_bad_value_is_refused_by_its_path() -> None:
    """A value of the right kind that cannot be used is refused with the caller's words and code."""
    error = node("{}", "a").refuse("x", "Too odd")
    assert (error.message, error.param, error.code) == ("Too odd", "a.x", "invalid_value")
    assert node("{}").refuse("x", "Too odd", "odd").code == "odd"


def test_deep_nesting_and_bad_bytes_raise_nothing_else() -> None:
    """A value nested a hundred thousand deep, and bytes that are not UTF-8, are bad requests like any other."""
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for raw in (deep, b'"\xff"', b"[" * 100_000):
        with pytest.raises(BadRequest, match="'x' must be odd"):
            decode(raw, object, "x", "odd")
    assert decode(b"[1]", list, "x", "an array") == [1]
    assert wrong_kind("x", "odd", b"null").message == "'x' must be odd, not null"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"a": 1}', ["a"]),
        ('{"a": null}', []),
        ('{"known": "x"}', []),
        ('{"list": [{"known": "x", "b": 1}, {"b": 2, "type": "t", "id": "i"}]}', ["list.b", "list.b"]),
        ('{"list": [{"b": null}, {"b": false}, {"b": []}, {"b": {}}, {"b": ""}]}', []),
        ('{"inner": {"inner": {"c": true}}}', ["inner.c"]),
    ],
)
def test_what_nobody_reads_is_named(text: str, names: list[str]) -> None:
    """Unread members of all objects are named by the first part of their path, but for those that say nothing."""
    body = node(text)
    body.text("known")
    for one in body.nodes("list"):
        one.text("known")
    inner = body.node("inner")
    if inner is not None:
        inner.node("inner")
    assert list(body.unread()) == names


def test_members_can_be_taken_unread() -> None:
    """What is kept as it came counts as read, some members or all, also where an object is read twice."""
    body = node('{"a": {"b": 1, "c": 2, "d": 3}}')
    first, second = body.node("a"), body.node("a")
    assert first is not None
    assert second is not None
    first.take("b")
    second.text("x")
    assert list(body.unread()) == ["a.c", "a.d"]
    second.take()
    assert list(body.unread()) == []
