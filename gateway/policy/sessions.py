"""Says which conversation a request belongs to: the id that its client gives it, else a digest of its beginning.

Pure. The id decides only where a request goes first, never what it may do.
"""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from gateway.wire.codec.json_body import JsonBody
from gateway.wire.stable_prefix import stable_prefix

# Codex sends the first two (older ones with an underscore), Claude Code the last (docs/wire/http.md).
SESSION_HEADERS = ("session-id", "thread-id", "session_id", "conversation_id", "x-claude-code-session-id")
MAX_ID = 256  # characters of an id; clients send UUIDs
# Claude Code's `metadata.user_id`: user_…_account_…_session_UUID, or a JSON object with a member session_id.
_IN_USER = re.compile(r'(?:_session_|"session_id"\s*:\s*")([\w-]{8,64})')


class _Metadata(msgspec.Struct):
    user_id: str = ""


_METADATA = msgspec.json.Decoder(_Metadata)


def session_of(headers: Mapping[str, str], body: JsonBody) -> str:
    """Return a name for the conversation that a request belongs to; empty if it cannot be told.

    The first of these counts: a session header of the client, the session in `metadata.user_id`, `prompt_cache_key`,
    the digest of what the conversation begins with.
    """
    if (named := named_session(headers, body)) is not None:
        return f"{named[0]}:{named[1]}"
    prefix = stable_prefix(body)
    return f"prefix:{prefix}" if prefix else ""


def named_session(headers: Mapping[str, str], body: JsonBody) -> tuple[str, str] | None:
    """Return where a client names the conversation, and its name; None if it does not."""
    for name in SESSION_HEADERS:
        if found := headers.get(name):
            return "header", found[:MAX_ID]
    if found := _in_metadata(body):
        return "user", found
    if (raw := body.members.get("prompt_cache_key")) is not None and (found := _text(raw)):
        return "key", found[:MAX_ID]
    return None


def session_key(owner: str, alias: str, session: str) -> str:
    """Return the name under which a conversation is remembered: no client reaches another key's, or another route's."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (owner, alias, session):
        encoded = part.encode("utf-8", "replace")
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()


def _in_metadata(body: JsonBody) -> str:
    raw = body.members.get("metadata")
    if raw is None:
        return ""
    try:
        found = _IN_USER.search(_METADATA.decode(raw).user_id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return found[1] if found else ""


def _text(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
