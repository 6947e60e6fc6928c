"""What can go wrong at a provider, and in which words a client is told of it once no target is left."""

from enum import StrEnum


class Fault(StrEnum):
    """What went wrong upstream. `health.CONSEQUENCES` decides what follows from it for targets and credentials."""

    CONNECT = "connect"  # DNS, refused, TLS: nothing was sent
    TRANSIENT = "transient"  # 408, 425, 5xx
    OVERLOADED = "overloaded"  # 503, 529
    LIMITED = "limited"  # 429
    QUOTA = "quota"  # the account has no money left
    CREDENTIALS = "credentials"  # 401, or a 403 about the key
    REFUSED = "refused"  # 403 about the model or the content
    MISSING = "missing"  # 404: no such model or deployment
    ADDRESS = "address"  # 404: no API at the configured address
    CALLER = "caller"  # the request itself is wrong
    TOO_LONG = "too_long"  # the conversation does not fit
    TOO_LARGE = "too_large"  # the server's own limit: a 413, or a page in place of an error
    FILTERED = "filtered"  # the provider's content policy
    SLOW = "slow"  # no first byte in time, or the exchange's total time is over
    IMPATIENT = "impatient"  # the client's own timeout is over, which says nothing about the target
    BROKEN = "broken"  # cut, stalled or unreadable
    BAD_CALL = "bad_call"  # the model wrote a tool call that its own provider refuses
    EMPTY = "empty"  # a finished reply without anything in it
    BUSY = "busy"  # our own connection limit for this provider


# (status, type, code) for the client once no target is left (docs/wire/errors.md#when-no-target-is-left). A provider's
# 401 about our credential is sent as a 502: the client's own key is good.
TOLD: dict[Fault, tuple[int, str, str | None]] = {
    Fault.LIMITED: (429, "requests", "rate_limit_exceeded"),
    Fault.OVERLOADED: (503, "server_error", "service_unavailable"),
    Fault.QUOTA: (503, "server_error", "service_unavailable"),
    Fault.CREDENTIALS: (502, "server_error", "upstream_auth_error"),
    Fault.REFUSED: (403, "permission_error", None),
    Fault.MISSING: (404, "invalid_request_error", "model_not_found"),
    Fault.CALLER: (400, "invalid_request_error", None),
    Fault.TOO_LONG: (400, "invalid_request_error", "context_length_exceeded"),
    Fault.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Fault.FILTERED: (400, "invalid_request_error", "content_filter"),
    Fault.BAD_CALL: (400, "invalid_request_error", "tool_use_failed"),
}
OWN_MESSAGE = {
    Fault.CREDENTIALS: "The provider refused the gateway's credential",
    Fault.QUOTA: "The gateway's account with the provider is exhausted",
}
# Statuses that a fault of the caller keeps: they mean the same from a provider and from the gateway.
KEPT_STATUS = frozenset({400, 404, 409, 413})
VERBATIM = frozenset(
    {Fault.CALLER, Fault.TOO_LONG, Fault.TOO_LARGE, Fault.FILTERED, Fault.LIMITED, Fault.MISSING, Fault.REFUSED,
     Fault.BAD_CALL}
)  # fmt: skip
