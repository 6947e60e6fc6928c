"""Putting one value into a body whose other bytes stay as they came."""

import json

import pytest

from gateway.wire.codec.json_body import JsonBody


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"model":"a"}', b'{"model":"NEW"}'),
        (
            b' \n{ "x" : 1.50 ,\t"model" :  "a" , "y":[ 1,2 ] }\r\n',
            b' \n{ "x" : 1.50 ,\t"model" :  "NEW" , "y":[ 1,2 ] }\r\n',
        ),
        (b'{"x":"\\u00fc, \\"model\\": 1","model":"a"}', b'{"x":"\\u00fc, \\"model\\": 1","model":"NEW"}'),
        (b'{"x":{"model":"a"},"model":"a"}', b'{"x":{"model":"a"},"model":"NEW"}'),
        (b'{"m\\u006fdel":"a", "x":1e400}', b'{"m\\u006fdel":"NEW", "x":1e400}'),
        ('{"ü":"日本", "model" : "ä"}'.encode(), '{"ü":"日本", "model" : "NEW"}'.encode()),
        (b'{"model":"a","model":"b"}', None),  # twice: written anew, so that no parser reads the other one
        (b'{"x":1,"x":1,"model":"a"}', None),
        (b'{"x":1}', None),
        (b"{}", None),
    ],
)
def test_every_other_byte_is_kept(body: bytes, wanted: bytes | None) -> None:
    """Only the value changes; None where it is not sure that nothing else is read."""
    assert JsonBody.read(body).with_value("model", b'"NEW"') == wanted


def test_a_changed_body_is_written_anew() -> None:
    """A body whose members have changed since it was read has no bytes to keep."""
    body = JsonBody.read(b'{"x":1,"model":"a"}').without(["x"])
    assert body.with_value("model", b'"NEW"') is None
    assert json.loads(body.edited({"model": b'"NEW"'})) == {"model": "NEW"}
