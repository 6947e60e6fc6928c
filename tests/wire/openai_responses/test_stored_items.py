"""Items of stored conversations: read, listed, shown in pages."""

import json
from typing import Any

import msgspec
import pytest

from gateway.errors import BadRequest
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.openai_responses import stored_items as module
from gateway.wire.openai_responses.stored_items import (
    REFERENCE,
    Item,
    anonymous,
    check_answered,
    listed,
    page,
    read_items,
    read_output,
    response_of,
    shown,
    unrepeated,
    write_items,
)

USER = {"type": "message", "role": "user", "content": "Hi"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "1"}
DIGITS = "0123456789" * 4


def item(payload: Any) -> Item:
    return Item.read(msgspec.Raw(json.dumps(payload).encode()), "input[0]")


def items_of(given: Any) -> list[Item]:
    return read_items(JsonBody.read(json.dumps({"input": given}).encode()))


@pytest.mark.parametrize(
    ("payload", "kind", "name"),
    [
        (USER, "message", None),
        ({"role": "user", "content": "Hi", "id": "msg_1"}, "message", "msg_1"),
        (CALL, "function_call", "fc_1"),
        ({"type": "item_reference", "id": "msg_1"}, REFERENCE, "msg_1"),
        ({"id": "msg_1"}, REFERENCE, "msg_1"),
        ({"type": None, "id": "msg_1"}, REFERENCE, "msg_1"),
        ({}, "", None),
        ({"type": 3, "id": 4}, "", None),
    ],
)
def test_the_kind_of_an_item(payload: Any, kind: str, name: str | None) -> None:
    """An item's kind is its type; without one a role makes a message, and an id alone a reference."""
    assert (item(payload).kind, item(payload).id) == (kind, name)


def test_who_can_read_an_item() -> None:
    """Encrypted content is sealed, but for our own envelopes, which open for any provider."""
    assert item({"type": "reasoning", "encrypted_content": "gAAA"}).is_sealed
    assert not item({"type": "reasoning", "encrypted_content": "gw1.AAAA"}).is_sealed
    assert not item({"type": "reasoning", "encrypted_content": None}).is_sealed


def test_input_is_read_from_each_of_its_forms() -> None:
    """A string becomes a user message, nothing becomes no item, and items keep their bytes."""
    (said,) = items_of("Hi")
    assert json.loads(bytes(said.raw)) == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    }
    assert items_of(None) == [] == read_items(JsonBody({}))
    raw = b'[ {"role" :"user","odd":1.0} ]'
    (kept,) = read_items(JsonBody.of({"input": raw}))
    assert bytes(kept.raw) == b'{"role" :"user","odd":1.0}' and kept.alone() == kept


@pytest.mark.parametrize(
    ("given", "param"), [(3, "input"), ({}, "input"), ([USER, 3], "input[1]"), ([[]], "input[0]"), ([None], "input[0]")]
)
def test_a_wrong_input_has_its_place(given: Any, param: str) -> None:
    """An input or an item of the wrong kind is a BadRequest that names the place."""
    with pytest.raises(BadRequest) as caught:
        items_of(given)
    assert caught.value.param == param


def test_the_number_of_items_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More items than one request may have are refused."""
    monkeypatch.setattr(module, "MAX_ITEMS", 2)
    assert len(items_of([USER, USER])) == 2
    with pytest.raises(BadRequest, match="has 3 items"):
        items_of([USER] * 3)


def test_output_is_read_as_json_and_as_items() -> None:
    """The output keeps its bytes; a missing one is empty, and one that is no list is an error."""
    raw = msgspec.Raw(b'[{"id":"a" }]')
    assert read_output(raw)[0] == b'[{"id":"a" }]' and read_output(raw)[1][0].id == "a"
    assert read_output(None) == read_output(msgspec.Raw(b"null")) == (b"[]", [])
    with pytest.raises(msgspec.MsgspecError):
        read_output(msgspec.Raw(b"{}"))
    with pytest.raises(BadRequest):
        read_output(msgspec.Raw(b"[1]"))


def test_ids_that_mean_nothing_elsewhere_are_taken_off() -> None:
    """Messages and calls are sent again without their ids; the id of reasoning belongs to what is sealed in it."""
    past = [item(USER | {"id": "msg_1"}), item(CALL), item({"type": "reasoning", "id": "rs_1"}), item(USER)]
    sent = json.loads(write_items(anonymous(past)))
    assert sent == [USER, {k: v for k, v in CALL.items() if k != "id"}, {"type": "reasoning", "id": "rs_1"}, USER]


def test_every_call_needs_its_output() -> None:
    """A call without an output is refused in the words of the real API. (EC-260)"""
    check_answered([item(CALL), item(OUTPUT)])
    check_answered([item({"type": "web_search_call", "id": "ws_1"})])
    for payload, words in (
        (CALL, "function call c"),
        ({"type": "local_shell_call", "call_id": "c"}, "local shell call c"),
    ):
        with pytest.raises(BadRequest, match=f"No tool output found for {words}\\."):
            check_answered([item(payload), item(OUTPUT | {"call_id": "other"})])


def test_an_item_without_an_id_gets_one_that_names_its_response() -> None:
    """Listed ids are the items' own or made of the response's id, the side and the index."""
    given, output = json.dumps([USER, OUTPUT]).encode(), json.dumps([CALL, {"type": "reasoning"}]).encode()
    names = [name for name, _ in listed(f"resp_{DIGITS}", given, output)]
    assert names == [f"msg_{DIGITS}_i0", f"item_{DIGITS}_i1", "fc_1", f"rs_{DIGITS}_o1"]
    assert [response_of(name) for name in names] == [f"resp_{DIGITS}"] * 2 + [None, f"resp_{DIGITS}"]


@pytest.mark.parametrize(
    "name", ["msg_1", f"{DIGITS}_i0", f"msg_{DIGITS}", f"msg_{DIGITS}_x0", f"msg_{DIGITS}_i0_2", ""]
)
def test_other_ids_name_no_response(name: str) -> None:
    """An id that `listed` did not make names no response."""
    assert response_of(name) is None


def test_an_id_that_comes_again_gets_a_number() -> None:
    """Repeated ids are numbered from two on, without taking an id that is there already."""
    found = unrepeated((name, item(USER)) for name in ("a", "a", "b", "a_2", "a"))
    assert list(found) == ["a", "a_2", "b", "a_2_2", "a_3"]
    assert list(unrepeated((name, item(USER)) for name in ("a", "a_2", "a"))) == ["a", "a_2", "a_3"]


def test_a_type_that_is_null_is_shown() -> None:
    """An item whose type is null, or missing, is shown as what it is."""
    for missing in ({}, {"type": None}):
        assert json.loads(bytes(shown("x", item({"role": "user", "content": "Hi", **missing}))))["type"] == "message"


def test_an_item_is_shown_in_full() -> None:
    """A listed item has its id first, a status, and a message's text as a part of its role's kind."""
    entry = json.loads(bytes(shown("msg_1", item(USER))))
    assert entry == USER | {"id": "msg_1", "status": "completed", "content": [{"type": "input_text", "text": "Hi"}]}
    said = json.loads(bytes(shown("x", item({"role": "assistant", "content": "Yes", "status": "incomplete"}))))
    assert said["content"] == [{"type": "output_text", "text": "Yes"}]
    assert (said["type"], said["status"]) == ("message", "incomplete")


@pytest.mark.parametrize(
    ("asked", "names", "has_more"),
    [
        ({"limit": 2, "is_rising": True}, ["a", "b"], True),
        ({"limit": 2, "is_rising": False}, ["d", "c"], True),
        ({"limit": 4, "is_rising": True}, ["a", "b", "c", "d"], False),
        ({"limit": 2, "is_rising": True, "after": "b"}, ["c", "d"], False),
        ({"limit": 2, "is_rising": False, "after": "b"}, ["a"], False),
        ({"limit": 2, "is_rising": True, "before": "c"}, ["a", "b"], False),
        ({"limit": 9, "is_rising": True, "after": "d"}, [], False),
    ],
)
def test_pages(asked: dict[str, Any], names: list[str], has_more: bool) -> None:
    """A page begins behind its cursor, in either direction, and says whether more follow."""
    given: dict[str, Any] = {"after": None, "before": None}
    found = json.loads(page({name: item(USER) for name in "abcd"}, **(given | asked)))
    assert ([entry["id"] for entry in found["data"]], found["has_more"]) == (names, has_more)
    assert (found["first_id"], found["last_id"]) == ((names[0], names[-1]) if names else (None, None))


@pytest.mark.parametrize("param", ["after", "before"])
def test_a_cursor_must_be_an_item(param: str) -> None:
    """A cursor that is no item's id is a BadRequest that names its parameter."""
    cursors: dict[str, Any] = {"after": None, "before": None, param: "nope"}
    with pytest.raises(BadRequest) as caught:
        page({"a": item(USER)}, 1, is_rising=True, **cursors)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")
