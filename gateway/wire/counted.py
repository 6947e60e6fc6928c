"""Counts of tokens, for which some dialects have a path of its own (TRANSLATION.md 11)."""

from collections.abc import Set
from typing import Any

import msgspec
from attrs import evolve

from gateway.errors import Unreadable
from gateway.wire.crossing import Written
from gateway.wire.dialect import Glance
from gateway.wire.fault import read_inner
from gateway.wire.neutral import Reply, Stop, StopReason, Usage


def glance(name: str, body: bytes) -> Glance:
    """Look at a count in the dialect `name`. Raises UpstreamFault when it is none."""
    _read(name, body)
    return Glance()


def read_reply(name: str, body: bytes) -> Reply:
    """A count as a reply that says nothing. Raises UpstreamFault when it is none."""
    return Reply("", "", (), Stop(StopReason.END), Usage(input=_read(name, body)))


def only(written: Written, names: Set[str]) -> Written:
    """What of a request may be counted: nothing is asked to be said."""
    kept = {name: value for name, value in written.members.items() if name in names}
    return evolve(written, members=kept, must_stream=False)


def tokens(reply: Reply) -> int:
    """The count that a reply stands for."""
    return (reply.usage.input if reply.usage is not None else None) or 0


def _read(name: str, body: bytes) -> int:
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unreadable("The provider's count is not a JSON object") from None
    if said.get("error") is not None:
        raise read_inner(name, said["error"])
    if type(said.get("input_tokens")) is not int:
        raise Unreadable("The provider's answer holds no count of tokens")
    return int(said["input_tokens"])
