"""Minting client keys."""

import hashlib
import re

from gateway.config.keys import mint


def test_a_minted_key_is_random_and_only_its_hash_is_pasted() -> None:
    """A new key has 256 random bits and a prefix for secret scanners; the YAML has only its hash."""
    key, yaml = mint("lap top")
    assert re.fullmatch(r"gwk_laptop_[A-Za-z0-9_-]{43}", key)
    assert hashlib.sha256(key.encode()).hexdigest() in yaml and key not in yaml
    assert '"lap top":' in yaml and mint("lap top")[0] != key
    assert mint("--")[0].startswith("gwk_key_")
