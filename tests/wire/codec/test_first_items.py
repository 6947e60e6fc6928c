"""The first items of an array, without the rest."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.codec.first_items import first_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]))
def test_each_item_comes_as_it_is_written(values: list[Any], indent: int | None) -> None:
    """Every item of an array is found, whatever brackets and commas its strings hold."""
    array = json.dumps(values, indent=indent).encode()
    assert [json.loads(item) for item in first_items(array)] == values


@pytest.mark.parametrize("text", [b"", b"{}", b'{"a": [1]}', b'"[1, 2]"', b"null", b"7", b"]"])
def test_another_value_has_none(text: bytes) -> None:
    """What is not an array has no items."""
    assert not list(first_items(text))


def test_the_rest_is_not_looked_at() -> None:
    """Items are read one by one: what stands behind the wanted one may be anything."""
    assert next(first_items(b'[{"a": "x]"}, \x00\x00 no json')) == b'{"a": "x]"}'
