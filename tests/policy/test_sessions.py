"""Which conversation a request belongs to."""

import json
from typing import Any

import pytest

from gateway.policy.sessions import MAX_ID, session_key, session_of
from gateway.wire.codec.json_body import JsonBody

UUID = "7f0c1c5e-9f4b-4a6e-9a59-0c4f6e0c7a11"
CLAUDE = f"user_ab12_account_{UUID[::-1]}_session_{UUID}"
NEWER = json.dumps({"device_id": "d", "account_uuid": "a", "session_id": UUID})
TURN = [{"role": "user", "content": "Hi"}]


def name_of(headers: dict[str, str] | None = None, **members: Any) -> str:
    body = JsonBody.read(json.dumps({"messages": TURN, **members}).encode())
    return session_of(headers or {}, body)


@pytest.mark.parametrize(
    ("headers", "members", "name"),
    [
        ({"session-id": "s", "thread-id": "t"}, {"prompt_cache_key": "k"}, "header:s"),
        ({"thread-id": "t"}, {}, "header:t"),
        ({"x-claude-code-session-id": "c"}, {"metadata": {"user_id": CLAUDE}}, "header:c"),
        ({}, {"metadata": {"user_id": CLAUDE}, "prompt_cache_key": "k"}, f"user:{UUID}"),
        ({}, {"metadata": {"user_id": NEWER}}, f"user:{UUID}"),
        ({}, {"prompt_cache_key": "k"}, "key:k"),
        ({"session-id": "x" * 9999}, {}, f"header:{'x' * MAX_ID}"),
    ],
)
def test_the_clients_own_id_comes_first(headers: dict[str, str], members: dict[str, Any], name: str) -> None:
    """A header, then the session in Claude Code's user id, then `prompt_cache_key`."""
    assert name_of(headers, **members) == name


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"metadata": {"user_id": "somebody@example.com"}},
        {"metadata": None},
        {"metadata": {"user_id": 7}},
        {"metadata": "x"},
        {"prompt_cache_key": None},
        {"prompt_cache_key": ""},
        {"prompt_cache_key": 7},
    ],
)
def test_else_its_beginning_counts(members: dict[str, Any]) -> None:
    """Without a session's id the beginning names it; a user is no session, and what is not valid is passed over."""
    assert name_of(**members) == name_of() and name_of().startswith("prefix:")


def test_nothing_to_go_by() -> None:
    """A request without turns belongs to no conversation."""
    assert session_of({}, JsonBody.read(b'{"model": "m"}')) == ""


def test_keys_are_apart() -> None:
    """The same session of another owner or on another route is another one, however the names are cut."""
    keys = {session_key(*names) for names in (("a", "b", "c"), ("b", "a", "c"), ("ab", "", "c"), ("", "ab", "c"))}
    assert len(keys) == 4
