"""The top-level members of a body are known, their values stay bytes, and an invalid body is always a 400."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.codec.json_body import JsonBody, kind_of, to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(NAMES, VALUES, max_size=6), NAMES, VALUES)
def test_an_edit_changes_only_its_member(body: dict[str, object], name: str, value: object) -> None:
    """An edit leaves every other member the same bytes as before."""
    data = json.dumps(body, ensure_ascii=False).encode()
    before = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    after = msgspec.json.decode(JsonBody.read(data).edited(put={name: to_json(value)}), type=dict[str, msgspec.Raw])

    assert {k: bytes(v) for k, v in after.items() if k != name} == {k: bytes(v) for k, v in before.items() if k != name}
    assert msgspec.json.decode(after[name]) == msgspec.json.decode(to_json(value))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b'"x"', b"null", b"1", b"{", b'{"a":}', b'{"a":1,}', b"{'a':1}", b'{"a":1} x', b'{"a":01}',
        b'{"a":NaN}', b'{"a":Infinity}', b'{"a":"\xff"}', b'{"\xff":1}', b'{"a":"\\ud800"}', b'{"a":' + b"[" * 100_000,
        b'{"a":"\x01"}', b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b'{"a":"x\\q"}',
    ],
)  # fmt: skip
def test_damage_is_a_bad_request(data: bytes) -> None:
    """A body that is not a valid JSON object raises BadRequest `invalid_json`. (EC-15, EC-16)"""
    with pytest.raises(BadRequest) as caught:
        JsonBody.read(data)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize(
    ("member", "words"), [(b"1", "a number"), (b'["x"]', "an array"), (b"{}", "an object"), (b"true", "a boolean")]
)
def test_a_wrong_kind_names_the_member_and_both_kinds(member: bytes, words: str) -> None:
    """A wrong type raises BadRequest with the member, the expected type and the found type."""
    body = JsonBody.read(b'{"model":' + member + b"}")
    with pytest.raises(BadRequest, match=f"'model' must be a string, not {words}") as caught:
        body.text("model")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b' "x"', "a string"),
        (b"\n\t[1]", "an array"),
        (b"\r {}", "an object"),
        (b" null ", "null"),
        (b" true", "a boolean"),
        (b" -1", "a number"),
    ],
)
def test_white_space_before_a_value_is_no_kind(value: bytes, kind: str) -> None:
    """A value that somebody has put in with blanks before it is called what it is, never `a number, not a number`."""
    assert kind_of(value) == kind
    with pytest.raises(BadRequest) as caught:
        JsonBody.of({"x": value}).get("x", dict if kind == "a number" else int, "an integer")
    assert caught.value.message == f"'x' must be an integer, not {kind}"


def test_null_is_absent() -> None:
    """A member that is `null` reads as a missing one."""
    body = JsonBody.read(b'{"model":null,"stream":null}')
    assert body.text("model") is None
    assert body.flag("stream") is False
    assert not body.has("model")
    assert body.without(["model"]).members.keys() == {"stream"}


def test_drop_comes_before_rename_and_put_last() -> None:
    """Edits are applied as drop, rename, put: a renamed member can be overwritten, a dropped one is gone."""
    body = JsonBody.read(b'{"a":1,"b":2,"c":3}')
    assert body.edited({"z": b"9"}, ["a"], {"b": "z", "c": "y"}) == b'{"z":9,"y":3}'


def test_half_a_surrogate_pair_is_called_so() -> None:
    """A lone surrogate is a 400 that names it; the decoder calls it truncated input. (EC-15)"""
    with pytest.raises(BadRequest, match="half of a surrogate pair"):
        JsonBody.read(b'{"model": "a\\ud800b"}')
