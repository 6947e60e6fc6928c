"""Forms: fields are edited, files stay the same byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.codec.multipart_body import MultipartBody

TYPE = 'multipart/form-data; boundary="abc"'


def form(*parts: bytes) -> bytes:
    return b"".join(b"--abc\r\n" + part + b"\r\n" for part in parts) + b"--abc--\r\n"


def plain(name: str, content: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content


def file(content: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + content


@given(st.binary(max_size=200).filter(lambda data: b"--abc" not in data))
def test_a_file_is_carried_whatever_is_in_it(content: bytes) -> None:
    """A file keeps its bytes, line ends and dashes included."""
    body = MultipartBody.read(form(plain("model", b"whisper"), file(content)), TYPE)
    assert body.edited(put={"model": b'"m"'}) == form(file(content), plain("model", b"m"))


def test_fields_are_read_dropped_renamed_and_put() -> None:
    """Fields are read, dropped, renamed and put as in a JSON body."""
    body = MultipartBody.read(
        form(plain("model", b"a"), plain("stream", b"true"), plain("x", b"1"), plain("y", b"2")), TYPE
    )
    assert body.text("model") == "a"
    assert body.text("nothing") is None
    assert body.flag("stream") is True
    assert body.content_type == TYPE
    edited = body.edited(put={"model": b'"m"', "n": b"3"}, drop=["x"], rename={"y": "z"})
    assert edited == form(plain("stream", b"true"), plain("z", b"2"), plain("model", b"m"), plain("n", b"3"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TYPE),
        (b"--abc\r\nno head", TYPE),
        (form(b"Content-Type: x\r\n\r\ny"), TYPE),
        (form(b"no empty line"), TYPE),
        (form(plain("a", b"b"))[:-8], TYPE),
        (form(plain("a", b"b")), "multipart/form-data"),
        (form(*[plain("a", b"b")] * 1001), TYPE),
    ],
)
def test_broken_framing_is_a_bad_request(data: bytes, kind: str) -> None:
    """Invalid framing raises BadRequest: the reader does not guess."""
    with pytest.raises(BadRequest):
        MultipartBody.read(data, kind)


def test_a_field_that_is_no_utf8_is_named() -> None:
    """A field that is not UTF-8 raises BadRequest with the field's name."""
    with pytest.raises(BadRequest, match="'model' is not UTF-8"):
        MultipartBody.read(form(plain("model", b"\xff")), TYPE).text("model")


def test_a_field_name_cannot_forge_a_head() -> None:
    """A field name with quotes and line ends stays inside its header value."""
    body = MultipartBody.read(form(plain("a", b"1")), TYPE)
    assert b'name="x\\"y"' in body.edited(rename={"a": 'x"\r\ny'})
