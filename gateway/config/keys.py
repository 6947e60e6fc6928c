"""Mints client keys: random 256-bit values of which the gateway keeps the SHA-256 only."""

import base64
import hashlib
import re
import secrets


def mint(name: str) -> tuple[str, str]:
    """Return (key, YAML to paste). The prefix lets secret scanners find a key that leaked."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    key = f"gwk_{re.sub('[^A-Za-z0-9]', '', name)[:16] or 'key'}_{secret}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    plain = name if re.fullmatch(r"[A-Za-z][\w.-]*", name) else f'"{name}"'
    return key, f'keys:\n  {plain}:\n    secret: {{sha256: "{digest}"}}\n    routes: ["*"]\n'
