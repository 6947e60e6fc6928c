"""Every error: what its client is told, and that a kept copy holds nothing of where it was raised."""

from typing import Any

import pytest

from gateway import errors
from gateway.errors import (
    Broke,
    BudgetExceeded,
    Busy,
    CannotConnect,
    Declined,
    GatewayError,
    Held,
    LoopDetected,
    NoTargetLeft,
    SaidNothing,
    ShuttingDown,
    StorageFull,
    StoreUnavailable,
    TimedOut,
    Unreadable,
    UpstreamFault,
)
from gateway.faults import OWN_MESSAGE, TOLD, VERBATIM, Fault

INVALID = "invalid_request_error"
HELD = Held(b"{}", {"a": "b"}, is_stream=False)
# One of each class with (status, type, code, outcome). A fault's outcome in logs is its own word instead.
EVERY: list[tuple[GatewayError, tuple[int, str, str | None, str]]] = [
    (GatewayError("m"), (500, "server_error", None, "error")),
    (errors.InternalError("m"), (500, "server_error", "internal_error", "error")),
    (errors.Refusal("m"), (500, INVALID, None, "error")),
    (errors.BadRequest("m", param="p"), (400, INVALID, None, "bad_request")),
    (errors.CannotSay("m", param="p"), (400, INVALID, "unsupported_parameter", "cannot_say")),
    (errors.Unauthorized("m"), (401, INVALID, "invalid_api_key", "unauthorized")),
    (errors.Forbidden("m"), (403, "permission_error", "model_not_allowed", "forbidden")),
    (errors.NotFound("m"), (404, INVALID, "not_found", "not_found")),
    (errors.UnknownModel("m"), (404, INVALID, "model_not_found", "unknown_model")),
    (errors.UnknownResponse("m"), (404, INVALID, None, "not_found")),
    (errors.UpgradeRequired("m"), (426, INVALID, "upgrade_required", "upgrade_required")),
    (errors.MethodNotAllowed("m"), (405, INVALID, "method_not_allowed", "method_not_allowed")),
    (errors.ClientTooSlow("m"), (408, INVALID, "request_timeout", "client_too_slow")),
    (errors.TooLarge("m"), (413, INVALID, "request_too_large", "too_large")),
    (errors.UnsupportedMedia("m"), (415, INVALID, "unsupported_media_type", "unsupported_media")),
    (errors.RateLimited("m", retry_after=2.0), (429, "requests", "rate_limit_exceeded", "rate_limited")),
    (errors.Unavailable("m"), (503, "server_error", "service_unavailable", "unavailable")),
    (StoreUnavailable(), (503, "server_error", "service_unavailable", "store_unavailable")),
    (LoopDetected(), (508, "invalid_request_error", "loop_detected", "loop")),
    (StorageFull(), (507, "server_error", "insufficient_storage", "not_stored")),
    (ShuttingDown(), (503, "server_error", "service_unavailable", "shutting_down")),
    (UpstreamFault("m", Fault.BROKEN), (502, "server_error", "upstream_error", "error")),
    (CannotConnect("refused"), (502, "server_error", "upstream_error", "error")),
    (TimedOut("idle", 1.0, "timeouts.idle"), (504, "server_error", "timeout", "error")),
    (Broke("m"), (502, "server_error", "upstream_stream_error", "error")),
    (Unreadable("m"), (502, "server_error", "upstream_error", "error")),
    (SaidNothing(HELD), (502, "server_error", "upstream_error", "error")),
    (Busy(3), (503, "server_error", "service_unavailable", "error")),
    (Declined("m", Fault.LIMITED, status=429, dialect="openai_chat"), (429, "requests", "rate_limit_exceeded", "error")),
    (BudgetExceeded("spent", "2026-12-01T00:00:00.000Z", 5), (429, "insufficient_quota", "budget_exceeded", "budget_exceeded")),
    (NoTargetLeft("fast", ["a rests", "b is off"]), (503, "server_error", "service_unavailable", "no_target")),
]  # fmt: skip
ERRORS = [error for error, _ in EVERY]


def declined(fault: Fault, status: int = 500, **more: Any) -> Declined:
    return Declined("theirs", fault, status=status, dialect="openai_chat", **more)


def raised(error: GatewayError) -> GatewayError:
    """Raise an error inside the handling of another one, and catch it."""
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise error from first
    except GatewayError as caught:
        return caught


@pytest.mark.parametrize(("error", "told"), EVERY, ids=lambda value: type(value).__name__)
def test_what_the_client_is_told(error: GatewayError, told: tuple[int, str, str | None, str]) -> None:
    """Each class has its status, type, code and outcome, and the message is its text."""
    assert (error.status, error.type, error.code, error.outcome) == told
    assert str(error) == error.message != ""


def test_no_class_is_left_out() -> None:
    """The table above has every class of errors."""
    classes = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, GatewayError)}
    assert {type(error) for error in ERRORS} == classes


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_kept_error_holds_no_frame(error: GatewayError) -> None:
    """A kept copy has the class, the text and every field, but no traceback, cause or context."""
    caught = raised(error.kept())
    clone = caught.kept()
    assert caught.__traceback__ is not None and caught.__cause__ is not None
    assert clone is not caught and type(clone) is type(error)
    assert vars(clone) == vars(error) and clone.args == error.args
    assert (clone.__traceback__, clone.__cause__, clone.__context__) == (None, None, None)
    assert (repr(clone), str(clone), clone.origin) == (repr(error), str(error), error.origin)


def test_a_kept_error_shares_no_list() -> None:
    """What is noted on the original later does not appear on the copy, and the other way round."""
    error = errors.BadRequest("m")
    error.add_note("one")
    clone = error.kept()
    clone.add_note("two")
    clone.param = "p"
    assert error.__notes__ == ["one"] and error.param is None


def test_the_code_and_the_rest_are_the_raisers() -> None:
    """What is given when an error is raised comes before the default of its class."""
    error = errors.NotFound("m", param="p", code="c", retry_after=1.0, suggestion="s")
    assert (error.param, error.code, error.retry_after, error.suggestion) == ("p", "c", 1.0, "s")
    assert errors.NotFound("m", code="").code == "not_found"
    assert repr(errors.NotFound("m")) == "NotFound('m')"


@pytest.mark.parametrize(
    ("phase", "fault"),
    [("connect", Fault.CONNECT), ("idle", Fault.BROKEN), ("first byte", Fault.SLOW), ("total", Fault.SLOW)],
)
def test_a_timeouts_fault_follows_from_its_phase(phase: str, fault: Fault) -> None:
    """A timeout names its phase, its seconds and the setting to raise."""
    error = TimedOut(phase, 2.50, "timeouts.x")
    assert (error.fault, error.message) == (fault, f"Upstream {phase} timeout after 2.5 s")
    assert error.suggestion == "Consider raising timeouts.x"


def test_an_upstreams_error_names_its_provider() -> None:
    """The origin of an error is the gateway until it is known which provider it came from."""
    error = Broke("m")
    assert error.origin == "gateway" == errors.BadRequest("m").origin
    error.provider = "one"
    assert error.origin == "upstream:one" == error.kept().origin


@pytest.mark.parametrize("fault", list(Fault))
def test_what_is_told_of_a_providers_error(fault: Fault) -> None:
    """A provider's error is told by its fault, in our own words where it is about our account."""
    error = declined(fault, 418, code="theirs")
    status, kind, code = TOLD.get(fault, (502, "server_error", "upstream_error"))
    assert (error.status, error.type) == (status, kind)
    assert error.code == ("theirs" if fault is Fault.CALLER else code or "theirs")
    assert error.message == OWN_MESSAGE.get(fault, "theirs")
    assert (error.upstream_status, error.upstream_code) == (418, "theirs")


@pytest.mark.parametrize(
    ("fault", "status", "sent"),
    [
        (Fault.CALLER, 409, 409),
        (Fault.CALLER, 422, 400),
        (Fault.TOO_LONG, 413, 413),
        (Fault.FILTERED, 413, 400),
        (Fault.TRANSIENT, 404, 502),
    ],
)
def test_some_statuses_of_the_caller_are_kept(fault: Fault, status: int, sent: int) -> None:
    """A status that means the same from both is kept for faults of the caller only."""
    assert declined(fault, status).status == sent


@pytest.mark.parametrize("fault", list(Fault))
def test_the_providers_bytes_are_for_the_callers_eyes_only_if_they_concern_it(fault: Fault) -> None:
    """An error about our own account or the provider's state is never forwarded as it is."""
    assert declined(fault, body=b"{}").is_verbatim is (fault in VERBATIM)
    assert not declined(fault).is_verbatim
    assert not VERBATIM & {Fault.CREDENTIALS, Fault.QUOTA, Fault.TRANSIENT, Fault.OVERLOADED}


def test_messages_with_parts() -> None:
    """Messages that are put together name what the client or the operator can do."""
    assert StorageFull().message.endswith("with store: false it is served")
    assert "store: false" not in StorageFull(is_background=True).message
    assert NoTargetLeft("fast", ["a rests", "b is off"]).message == "No target of 'fast' can be used: a rests; b is off"
    assert NoTargetLeft("fast", []).message.endswith("none is configured")
    assert Busy(3).message == "All 3 connections to the provider are in use" and Busy(3).retry_after == 1.0
    assert (StoreUnavailable().retry_after, ShuttingDown().retry_after) == (1, 1)
