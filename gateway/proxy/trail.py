"""The ids by which a request is found again in the logs of those before and behind the gateway, and of itself.

What a balancer or a tracer gives a request goes into its log line and on to the provider. The gateway adds a mark of
its own, by which it knows a request that has come back: some provider's address is, by whatever ways, the gateway's.
"""

import hashlib
import hmac
import re

from aiohttp import web

from gateway.errors import LoopDetected
from gateway.proxy.exchange import Exchange
from gateway.proxy.snapshot import Snapshot
from gateway.wire.codec.text import printable

LOOP = "x-gateway-loop"
MAX_GATEWAYS = 8  # one behind the other; more than that is a loop whose gateways do not know each other
TRACE, TRACE_STATE = "traceparent", "tracestate"
MAX_ID, MAX_STATE = 128, 512  # letters; the W3C's Trace Context wants room for 512 of the state
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff is none, later versions may have more behind.
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,200})?")


def loop_mark(secret: bytes) -> str:
    """Return what a gateway calls itself in LOOP: the same in all its processes, and telling nothing of the secret."""
    return hmac.new(secret, b"loop", hashlib.sha256).hexdigest()[:16]


def follow(request: web.Request, snapshot: Snapshot, exchange: Exchange, mark: str) -> dict[str, str]:
    """Return the headers that go on to the provider, and note the ids in the log. Raises LoopDetected."""
    headers = request.headers
    trail = {LOOP: mark}
    if (seen := headers.get(LOOP)) is not None:
        marks = seen.split(",")
        if mark in marks or len(marks) >= MAX_GATEWAYS:
            raise LoopDetected
        trail[LOOP] = printable(f"{seen},{mark}", MAX_GATEWAYS * 20)
    name = snapshot.config.server.request_id_header
    if name is not None and (given := printable(headers.get(name, ""), MAX_ID)):
        trail[name] = given
        exchange.note(balancer_id=given)
    if (trace := headers.get(TRACE)) is not None and (found := _TRACE.fullmatch(trace)) is not None:
        trail[TRACE] = trace
        exchange.note(trace=found[1])
        if state := printable(headers.get(TRACE_STATE, ""), MAX_STATE):
            trail[TRACE_STATE] = state
    return trail
