"""Secrets are blanked out of bytes and texts."""

import msgspec

from gateway.telemetry.redact import Redactor


def test_secrets_are_blanked_also_where_json_escapes_them() -> None:
    """Secrets are blanked, longer ones first, also in JSON's escaped form; very short ones are not."""
    redactor = Redactor(["abc", 'quo"te-key', "secret-key", "secret-key-longer"])
    assert redactor.clean(b"x secret-key-longer y secret-key z abc") == b"x [redacted] y [redacted] z abc"
    assert b"quo" not in redactor.clean(msgspec.json.encode({"a": 'quo"te-key'}))
    redactor.add(["another-one"])
    assert redactor.clean(b"an another-one") == b"an [redacted]"
