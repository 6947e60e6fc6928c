"""Every way an exchange can fail, whose fault it is, and which error is sent to the client.

Status, type and code are OpenAI's words (docs/wire/errors.md#statuses-and-types); a dialect with other words
translates them in its `write_error`. A Refusal is the client's fault, an UpstreamFault the provider's, anything else
the gateway's. Whether a target rests after a fault is decided in `policy/health.py`.
"""

from collections.abc import Sequence
from copy import copy
from typing import ClassVar, Self

from attrs import frozen

from gateway.faults import KEPT_STATUS, OWN_MESSAGE, TOLD, VERBATIM, Fault


class GatewayError(Exception):
    """An error that is sent to the client. Only its subclasses are raised."""

    status: int = 500
    type: str = "server_error"
    default_code: ClassVar[str | None] = None
    outcome: ClassVar[str] = "error"  # the word for it in metrics and logs; a fault's own word for upstream faults

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message if message.isascii() else message.encode("utf-8", "replace").decode()
        self.param = param
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.suggestion = suggestion
        self.details: dict[str, str] = {}  # further members of the error's `details`

    @property
    def origin(self) -> str:
        """Where the error arose: `gateway` or `upstream:<provider>`."""
        return "gateway"

    def kept(self) -> Self:
        """Return a copy that was never raised, to be kept beyond the `except` that caught this one.

        A raised exception holds its traceback, that each frame, and a frame what its function had in hand: bodies,
        replies, the exchange, and often the exception again.
        """
        clone = type(self).__new__(type(self), *self.args)
        clone.__dict__ |= {
            name: copy(value) if isinstance(value, list) else value for name, value in vars(self).items()
        }
        return clone


class InternalError(GatewayError):
    """A bug of ours; the only cause of a 500."""

    outcome = "error"
    default_code = "internal_error"


class Refusal(GatewayError):
    """The client's request is wrong, or beyond a limit that the operator set."""

    type = "invalid_request_error"


class BadRequest(Refusal):
    """The body or a parameter is not valid; `param` names the parameter."""

    outcome = "bad_request"
    status = 400


class CannotSay(BadRequest):
    """The target's dialect cannot express a part of the request, and that part must not be dropped."""

    outcome = "cannot_say"
    default_code = "unsupported_parameter"


# How the message of a wrong key begins; Anthropic's clients get Anthropic's words for it.
WRONG_KEY = "Invalid API key."


class Unauthorized(Refusal):
    """The client sent no key, or one that is unknown, expired or refused by the provider it was passed to."""

    outcome = "unauthorized"
    status = 401
    default_code = "invalid_api_key"


class Forbidden(Refusal):
    """The key is valid, but may not do this."""

    outcome = "forbidden"
    status = 403
    type = "permission_error"
    default_code = "model_not_allowed"


class NotFound(Refusal):
    """Nothing has this name, or nothing that the key may see."""

    outcome = "not_found"
    status = 404
    default_code: ClassVar[str | None] = "not_found"


class UnknownModel(NotFound):
    """No route or provider serves this model name, and there is no default provider."""

    outcome = "unknown_model"
    default_code = "model_not_found"


class UnknownResponse(NotFound):
    """The key has no stored response with this id. OpenAI's error for this has no code."""

    outcome = "not_found"
    default_code = None


class UpgradeRequired(Refusal):
    """The client requested a WebSocket on a path that has none."""

    outcome = "upgrade_required"
    status = 426
    default_code = "upgrade_required"


class MethodNotAllowed(Refusal):
    """The path exists, but not with this method."""

    outcome = "method_not_allowed"
    status = 405
    default_code = "method_not_allowed"


class LoopDetected(Refusal):
    """The request has been here before: a provider's address leads back to this gateway."""

    outcome = "loop"
    status = 508
    default_code = "loop_detected"

    def __init__(self) -> None:
        super().__init__("This request has been at this gateway before: the base_url of some provider leads back here")


class ClientTooSlow(Refusal):
    """The client did not send its request in time."""

    outcome = "client_too_slow"
    status = 408
    default_code = "request_timeout"


class TooLarge(Refusal):
    """The body is larger than allowed, counted after unpacking."""

    outcome = "too_large"
    status = 413
    default_code = "request_too_large"


class UnsupportedMedia(Refusal):
    """A Content-Type or Content-Encoding that nothing here can read."""

    outcome = "unsupported_media"
    status = 415
    default_code = "unsupported_media_type"


class RateLimited(Refusal):
    """The request is beyond one of the gateway's own limits. `type` is OpenAI's word for the kind of limit."""

    outcome = "rate_limited"
    status = 429
    type = "requests"
    default_code = "rate_limit_exceeded"


class BudgetExceeded(RateLimited):
    """A budget is spent until `resets_at` (RFC 3339), which is `seconds` away. OpenAI's word for its kind is kept."""

    outcome = "budget_exceeded"
    type = "insufficient_quota"
    default_code = "budget_exceeded"

    def __init__(self, message: str, resets_at: str, seconds: float) -> None:
        super().__init__(message, retry_after=seconds)
        self.details = {"resets_at": resets_at}


class Unavailable(GatewayError):
    """The gateway itself cannot serve the request now: it is full, starting or stopping."""

    outcome = "unavailable"
    status = 503
    default_code = "service_unavailable"


class StoreUnavailable(Unavailable):
    """The store of responses cannot be read now."""

    outcome = "store_unavailable"

    def __init__(self) -> None:
        super().__init__("The store of responses cannot be reached: try again in a moment", retry_after=1)


class StorageFull(GatewayError):
    """The request wants its response stored, and the store is full or down."""

    outcome = "not_stored"
    status = 507
    default_code = "insufficient_storage"

    def __init__(self, *, is_background: bool = False) -> None:
        more = "" if is_background else "; with store: false it is served"
        super().__init__(f"The response cannot be stored now{more}")


class ShuttingDown(Unavailable):
    """The drain is over and this exchange was still running."""

    outcome = "shutting_down"

    def __init__(self) -> None:
        super().__init__("The gateway is shutting down", retry_after=1)


class UpstreamFault(GatewayError):
    """An attempt failed. `dispatch` sets `provider`; the parser of errors may set `should_retry`."""

    status = 502
    default_code = "upstream_error"

    def __init__(
        self,
        message: str,
        fault: Fault,
        *,
        code: str | None = None,
        retry_after: float | None = None,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after=retry_after, suggestion=suggestion)
        self.fault = fault
        self.provider: str | None = None
        self.certain = fault  # what follows without the message, which may quote the client; rests follow this one
        self.should_retry: bool | None = None  # the provider's x-should-retry; overrides the table of consequences

    @property
    def origin(self) -> str:
        return f"upstream:{self.provider}" if self.provider else "gateway"


class CannotConnect(UpstreamFault):
    """DNS, TCP or TLS failed: the provider has received nothing of the request."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Cannot connect to the provider: {reason}", Fault.CONNECT)


class TimedOut(UpstreamFault):
    """A timeout of the provider, or the total time of the exchange, has passed. `setting` is its key in the file."""

    status = 504
    default_code = "timeout"

    def __init__(self, phase: str, after: float, setting: str, fault: Fault | None = None) -> None:
        fault = fault or {"connect": Fault.CONNECT, "idle": Fault.BROKEN}.get(phase, Fault.SLOW)
        words = f"Upstream {phase} timeout after {after:g} s"
        super().__init__(words, fault, suggestion=f"Consider raising {setting}")


class Broke(UpstreamFault):
    """The reply stopped before its end: reset, truncated, or an error inside it."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, Fault.BROKEN, code=code or "upstream_stream_error")


class Unreadable(UpstreamFault):
    """The reply is not in the provider's dialect (HTML, damaged data), or is too large."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Fault.BROKEN)


@frozen
class Held:
    """A complete but empty reply, kept to be sent if no other target has content. `body` is in the client's dialect."""

    body: bytes
    headers: dict[str, str]
    is_stream: bool
    affinity: str = ""  # of the target and the credential that sent it, encoded


class SaidNothing(UpstreamFault):
    """A complete reply is EMPTY, or FILTERED: a refusal without content. One other target is tried first."""

    def __init__(self, held: Held, fault: Fault = Fault.EMPTY) -> None:
        super().__init__("The model finished without saying anything", fault)
        self.held = held


class Busy(UpstreamFault):
    """All connections of `max_connections` are in use, or this key's share of them."""

    status = 503
    default_code = "service_unavailable"

    def __init__(self, limit: int, *, is_share: bool = False) -> None:
        whose = f"This key's share of the {limit}" if is_share else f"All {limit}"
        super().__init__(f"{whose} connections to the provider are in use", Fault.BUSY, retry_after=1.0)


class Declined(UpstreamFault):
    """The provider sent an HTTP error, or an error object inside a 200.

    `body` is the provider's error with our secrets blanked, and `dialect` its dialect. `status` is sent to the client;
    `upstream_status` is the provider's.
    """

    def __init__(
        self,
        message: str,
        fault: Fault,
        *,
        status: int,
        dialect: str,
        body: bytes = b"",
        error_type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        told_status, told_type, told_code = TOLD.get(fault, (502, "server_error", "upstream_error"))
        super().__init__(OWN_MESSAGE.get(fault, message), fault, retry_after=retry_after)
        self.words = message  # the provider's own, for the log
        is_page = fault is Fault.TOO_LARGE and status == 400
        self.code = code if is_page else told_code or code  # null if there is none: not the default of the class
        keeps = fault in (Fault.CALLER, Fault.TOO_LONG, Fault.TOO_LARGE) and status in KEPT_STATUS
        self.status = status if keeps else told_status
        self.type = told_type
        self.param = param
        self.upstream_status = status
        self.upstream_type = error_type
        self.upstream_code = code
        self.dialect = dialect
        self.body = body

    @property
    def is_verbatim(self) -> bool:
        """Whether the client may get the provider's own bytes: not for faults of our account or of the provider."""
        return bool(self.body) and self.fault in VERBATIM


class NoTargetLeft(GatewayError):
    """No target of the route could be tried; `reasons` has one reason for each."""

    outcome = "no_target"
    status = 503
    default_code = "service_unavailable"

    def __init__(self, alias: str, reasons: Sequence[str]) -> None:
        super().__init__(f"No target of '{alias}' can be used: {'; '.join(reasons) or 'none is configured'}")
