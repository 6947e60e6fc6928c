"""Secrets are blanked out of bytes and texts."""

import base64

import msgspec

from gateway.telemetry.redact import Redactor


def test_secrets_are_blanked_also_where_json_escapes_them() -> None:
    """Secrets are blanked, longer ones first, also in JSON's escaped form; very short ones are not."""
    redactor = Redactor(["abc", 'quo"te-key', "secret-key", "secret-key-longer"])
    assert redactor.clean(b"x secret-key-longer y secret-key z abc") == b"x [redacted] y [redacted] z abc"
    assert b"quo" not in redactor.clean(msgspec.json.encode({"a": 'quo"te-key'}))
    redactor.add(["another-one"])
    assert redactor.clean(b"an another-one") == b"an [redacted]"


def test_secrets_are_blanked_inside_base64() -> None:
    """A secret is blanked wherever it stands in what was encoded, in both alphabets; `deep` asks for that look."""
    secret = "sk-\u00ff\u00fe>>??-0123456789"
    redactor = Redactor([secret], deep=True)
    for before in ("", "u:", "us:", "use:", "user:"):
        for behind in ("", "x", "xy", "xyz"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                encoded = encode((before + secret + behind).encode())
                cleaned = redactor.clean(b"Basic " + encoded)
                assert b"[redacted]" in cleaned and len(cleaned) < len(encoded)
    plain = base64.b64encode(secret.encode())
    assert Redactor([secret]).clean(plain) == plain
    assert Redactor(["short1"], deep=True).clean(b"c2hvcnQx") == b"c2hvcnQx"  # too short to tell from a word


def test_lines_are_cleaned_together_and_alone() -> None:
    """Lines without an escape are looked at in one go, the others one by one: with the same result."""
    redactor = Redactor(['quo"te-key', "plain-key"])
    assert b"\n".join(redactor.clean_lines([b"a plain-key", b"b"])) == b"a [redacted]\nb"
    assert list(redactor.clean_lines([b"a plain-key", rb"quo\"te-key"])) == [b"a [redacted]", b"[redacted]"]
