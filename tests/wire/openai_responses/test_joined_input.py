"""A request and the stored conversation that it continues become one input."""

import json
from typing import Any

import msgspec
import pytest

from gateway.errors import BadRequest, TooLarge
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.openai_responses import joined_input as module
from gateway.wire.openai_responses.joined_input import SEALED, Joined, Needs, PastResponse, join, read_needs
from gateway.wire.openai_responses.stored_items import Item

LIMIT = 10_000
NEW = {"type": "message", "role": "user", "content": "And?"}
OLD = {"type": "message", "role": "user", "content": "Hi"}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": "Hello"}
SECRET = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
BARE = {name: value for name, value in SAID.items() if name != "id"}


def body(**said: Any) -> JsonBody:
    return JsonBody.read(json.dumps({"model": "m", "input": [NEW]} | said).encode())


def needs(*, may_store: bool = True, **said: Any) -> Needs:
    return read_needs(body(**said), may_store=may_store)


def past(*output: Any, provider: str = "one") -> PastResponse:
    return PastResponse(provider, json.dumps([OLD]).encode(), json.dumps(output or [SAID]).encode())


def joined(*before: PastResponse, held: tuple[str, ...] = (), limit: int = LIMIT, **said: Any) -> Joined:
    found = {"msg_9": Item.read(msgspec.Raw(json.dumps(SAID | {"id": "msg_9"}).encode()), "x")}
    return join(body(**said), needs(**said), before, held, found, limit)


def sent(made: JsonBody) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.edited())
    return found


@pytest.mark.parametrize(
    ("said", "may_store", "wants", "demanded"),
    [
        ({}, True, True, False),
        ({"store": None}, True, True, False),
        ({"store": True}, True, True, True),
        ({"store": False}, True, False, False),
        ({"store": True}, False, False, False),
    ],
)
def test_what_is_stored(said: dict[str, Any], may_store: bool, wants: bool, demanded: bool) -> None:
    """A response is stored unless the client or the mode says no; it is demanded only by the client's own word."""
    found = needs(may_store=may_store, **said)
    assert (found.wants_store, found.is_demanded) == (wants, demanded)
    assert (found.items is not None) is wants


def test_what_has_to_be_looked_up() -> None:
    """The previous response and the references of the input are named, also where nothing is stored."""
    found = needs(
        store=False, previous_response_id="resp_1", input=[{"type": "item_reference", "id": "a"}, {"id": "b"}]
    )
    assert (found.previous, found.references) == ("resp_1", frozenset({"a", "b"}))
    for alone in ({"type": "item_reference", "id": "a"}, {"id": "a"}, {"id": "a", "type": None}):
        assert needs(store=False, input=[alone]).references == {"a"}
    assert needs(background=True).is_background and not needs(background=True, may_store=False).is_background


@pytest.mark.parametrize(
    ("said", "param", "words"),
    [
        ({"background": True, "store": False}, "background", "need storage"),
        ({"previous_response_id": "msg_1"}, "previous_response_id", "Expected an ID that begins with 'resp'"),
        ({"previous_response_id": 3}, "previous_response_id", "must be a string"),
        ({"conversation": "my-chat"}, "conversation", "'my-chat'. Expected an ID that begins with 'conv'"),
        ({"conversation": {"id": "x"}}, "conversation.id", "Expected an ID that begins with 'conv'"),
        ({"conversation": {}}, "conversation.id", "missing"),
        ({"conversation": ["conv_1"]}, "conversation", "must be a string"),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "conversation", "Mutually exclusive"),
        ({"store": "yes"}, "store", "must be a boolean"),
        ({"input": 3}, "input", "a string or an array"),
    ],
)
def test_needs_that_cannot_be_met(said: dict[str, Any], param: str, words: str) -> None:
    """What the store cannot do is refused with the parameter, before anything is looked up."""
    with pytest.raises(BadRequest, match=words) as caught:
        needs(**said)
    assert caught.value.param == param


def test_references_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More references than are looked up are refused; the same one twice counts once."""
    monkeypatch.setattr(module, "MAX_REFERENCES", 2)
    assert len(needs(input=[{"id": "a"}, {"id": "b"}, {"id": "a"}]).references) == 2
    with pytest.raises(BadRequest, match="refers to 3 items"):
        needs(input=[{"id": "a"}, {"id": "b"}, {"id": "c"}])


def test_the_past_comes_before_the_new() -> None:
    """The whole chain stands before the new input, without the ids that only we know."""
    made = joined(past(), past(), previous_response_id="resp_2")
    assert sent(made.body)["input"] == [OLD, BARE, OLD, BARE, NEW]
    assert "previous_response_id" not in sent(made.body)
    assert json.loads(made.input) == [NEW] and json.loads(made.joined) == [OLD, BARE, OLD, BARE, NEW]


def test_nothing_is_stored_at_the_provider() -> None:
    """A stored request goes up with `store: false` and asks for encrypted reasoning; an own `include` is kept."""
    made = joined(include=["x"], background=True)
    up = sent(made.body)
    assert (up["store"], up["include"], up["stream"]) == (False, ["x", SEALED], True)
    assert "background" not in up and made.plain_include == b'["x"]'
    already = joined(include=[SEALED])
    assert sent(already.body)["include"] == [SEALED] and already.plain_include is None


def test_a_request_without_the_store_stays_as_it_is() -> None:
    """A request that neither stores nor refers to anything keeps its input byte for byte."""
    raw = JsonBody.read(b'{"store":false,"input":[ {"role" :"user"} ],"odd":1.0}')
    made = join(raw, read_needs(raw, may_store=True), (), (), {}, 1)
    assert made.body.edited() == b'{"store":false,"input":[ {"role" :"user"} ],"odd":1.0}'
    assert made.readable is None


def test_references_are_replaced() -> None:
    """A reference becomes what it refers to; one to an item of the chain is left out, one to nothing is refused."""
    made = joined(past(), held=("msg_1",), input=[{"id": "msg_1"}, {"id": "msg_9"}, NEW])
    assert sent(made.body)["input"] == [OLD, BARE, SAID | {"id": "msg_9"}, NEW]
    assert json.loads(made.input) == [SAID | {"id": "msg_9"}, NEW] and made.given == ("msg_9",)
    with pytest.raises(BadRequest, match="Item with id 'msg_7' not found") as caught:
        joined(input=[NEW, {"id": "msg_7"}])
    assert caught.value.param == "input[1].id"


def test_what_another_provider_sealed_is_left_out_for_the_rest() -> None:
    """Only the provider that has sealed reasoning gets it back; for one that can read all, the body is the same."""
    made = joined(past(SECRET, SAID), past(), previous_response_id="resp_2")
    assert made.readable is not None
    assert made.readable("one") is made.body and SECRET in sent(made.body)["input"]
    assert sent(made.readable("two"))["input"] == [OLD, BARE, OLD, BARE, NEW]


def test_a_call_of_the_past_needs_its_output() -> None:
    """A call of the chain without an output is refused; within the new input alone, the provider says so. (EC-260)"""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    with pytest.raises(BadRequest, match="No tool output found for function call c"):
        joined(past(call))
    assert joined(past(call), input=[{"type": "function_call_output", "call_id": "c", "output": "1"}])
    assert joined(input=[call])


def test_a_conversation_is_bounded() -> None:
    """A conversation, or what references add to one, beyond the bytes that were allowed is TooLarge."""
    size = len(joined(past()).joined)
    assert joined(past(), limit=size)
    with pytest.raises(TooLarge, match=f"larger than {size - 1} bytes: begin a new one"):
        joined(past(), limit=size - 1)
    with pytest.raises(TooLarge):
        joined(input=[{"id": "msg_9"}], limit=20)
