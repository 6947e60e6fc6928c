"""Small modules with few tests each: exchange, redaction, logs, keys, credentials, metrics, capabilities, systemd."""

import hashlib
import io
import json
import os
import re
import socket
import tempfile
from typing import Any

import msgspec
import pytest

from gateway.config.files import packaged
from gateway.config.keys import mint
from gateway.config.schema import Auth, Breaker, ModelSettings, Provider, Secret
from gateway.errors import Fault, Unauthorized
from gateway.policy.capabilities import Capabilities
from gateway.policy.health import Health
from gateway.proxy.exchange import NEXT, Exchange, IllegalStep, State, Step
from gateway.server.systemd import notify, watchdog_period
from gateway.telemetry.logs import Lines, make_logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redact import Redactor
from gateway.upstream.credentials import CredentialPool, bare, hash_id, make_pool, pass_through
from gateway.wire.profile import Price


def test_the_state_table_forbids_what_it_does_not_list() -> None:
    """After content no step leads back to another attempt, and an ended exchange takes no step."""
    exchange = Exchange("r", 0.0)
    for step in (Step.TRY, Step.OPEN, Step.SPEAK):
        exchange.step(step)
    assert exchange.is_spoken and exchange.is_open
    for step in (Step.TRY, Step.OPEN, Step.GIVE_UP):
        with pytest.raises(IllegalStep):
            exchange.step(step)
    exchange.step(Step.LOSE)
    assert exchange.state is State.FAILED
    assert set(NEXT) == set(State)
    assert all(not NEXT[state] for state in (State.ENDED, State.ABANDONED))
    assert not NEXT[State.FAILED]


def test_secrets_are_blanked_also_where_json_escapes_them() -> None:
    """Secrets are blanked, longer ones first, also in JSON's escaped form; very short ones are not."""
    redactor = Redactor(["abc", 'quo"te-key', "secret-key", "secret-key-longer"])
    assert redactor.clean(b"x secret-key-longer y secret-key z abc") == b"x [redacted] y [redacted] z abc"
    assert b"quo" not in redactor.clean(msgspec.json.encode({"a": 'quo"te-key'}))
    redactor.add(["another-one"])
    assert redactor.clean_text("an another-one \ud800") == "an [redacted] ?"


def test_a_log_line_is_one_object_whatever_is_in_it() -> None:
    """Line breaks, lone surrogates and secrets of clients cannot forge or break a line."""
    out = io.BytesIO()
    logs = make_logs(Redactor(["the-secret"]), "json", out)
    logs.log.info("hello", a="line\nbreak", b="\udcff", c="the-secret", d=object)
    logs.exchange({"ts": 1.0, "event": "exchange", "alias": "\udcff the-secret"})
    logs.flush()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["level"], first["a"], first["c"]) == ("hello", "info", "line\nbreak", "[redacted]")
    assert second["alias"] == "? [redacted]"


def test_a_traceback_shows_no_local_variables() -> None:
    """A logged traceback shows no local variables: they hold keys and prompts."""
    out = io.BytesIO()
    logs = make_logs(Redactor(), "json", out)
    prompt = "a very private prompt"
    try:
        raise ValueError("boom")
    except ValueError:
        logs.log.exception("bug")
    assert b"boom" in out.getvalue() and prompt.encode() not in out.getvalue()


def test_console_lines_are_for_people() -> None:
    """Console lines are readable text, also without secrets."""
    out = io.BytesIO()
    logs = make_logs(Redactor(["the-secret"]), "console", out)
    logs.log.warning("config", detail="the-secret")
    logs.exchange({"ts": 1.0, "level": "info", "event": "exchange", "status": 200, "alias": "fast"})
    logs.flush()
    assert b"[redacted]" in out.getvalue() and b"status=200 alias=fast" in out.getvalue()


def test_lines_are_written_together_and_a_closed_pipe_is_survived() -> None:
    """Without a loop a line is written at once; a closed stream raises nothing."""
    out = io.BytesIO()
    lines = Lines(out)
    lines.info(b"a")  # no loop is running: written at once
    assert out.getvalue() == b"a\n"
    out.close()
    lines.warning(b"b")


async def test_lines_wait_for_company_inside_a_loop() -> None:
    """Inside a loop 256 lines are one write, and a warning writes at once.

    A write for each line would cost as much as the rest of that line.
    """
    out = io.BytesIO()
    lines = Lines(out)
    lines.info(b"a")
    assert out.getvalue() == b""
    for _ in range(255):
        lines.info(b"x")
    assert out.getvalue().count(b"\n") == 256
    lines.info(b"b")
    lines.warning(b"c")
    assert out.getvalue().endswith(b"b\nc\n")


def test_a_minted_key_is_random_and_only_its_hash_is_pasted() -> None:
    """A new key has 256 random bits and a prefix for secret scanners; the YAML has only its hash."""
    key, yaml = mint("lap top")
    assert re.fullmatch(r"gwk_laptop_[A-Za-z0-9_-]{43}", key)
    assert hashlib.sha256(key.encode()).hexdigest() in yaml and key not in yaml
    assert '"lap top":' in yaml and mint("lap top")[0] != key
    assert mint("--")[0].startswith("gwk_key_")


def provider(**auth: Any) -> Provider:
    return Provider(base_url="http://x", name="p", auth=Auth(**auth))


def test_credentials_take_turns_and_a_resting_one_is_passed_over() -> None:
    """A provider's keys take turns, and a resting key is passed over.

    If all rest, the one that is free soonest is picked, with its wait in seconds.
    """
    secrets = tuple(Secret(f"env K{n}", f"secret-{n}") for n in range(3))
    pool = make_pool(provider(header="authorization", scheme="Bearer ", secrets=(*secrets, Secret("env NONE"))))
    health = Health(Breaker())
    assert isinstance(pool, CredentialPool)
    used = [pool.pick("t", health, 0.0)[0].value for _ in range(4)]
    assert used == ["Bearer secret-0", "Bearer secret-1", "Bearer secret-2", "Bearer secret-0"]

    second = pool.credentials[1]
    health.fail("t", second.id, Fault.CREDENTIALS, None, 0.0)
    assert second.id not in {pool.pick("t", health, 0.0)[0].id for _ in range(6)}
    assert pool.has_other(pool.credentials[0], "t", health, 0.0)
    for one in pool.credentials:
        health.fail("t", one.id, Fault.LIMITED, 20.0 if one is pool.credentials[2] else 90.0, 0.0)
    assert pool.pick("t", health, 0.0) == (pool.credentials[2], 20.0)
    assert not pool.has_other(pool.credentials[0], "t", health, 0.0)
    assert "secret" not in repr(pool)


def test_no_secret_no_wallet() -> None:
    """A provider without its secret, or with passthrough, has no pool; one that needs no secret has one."""
    assert make_pool(provider(header="x-api-key", secrets=(Secret("env NONE"),))) is None
    assert make_pool(provider(is_passthrough=True)) is None
    free = make_pool(provider())
    assert free is not None and free.credentials[0].header == ""


@pytest.mark.parametrize(
    ("headers", "spent", "sent"),
    [
        ({"x-provider-key": "pk", "authorization": "Bearer a"}, ["authorization"], "Bearer pk"),
        ({"authorization": "Bearer gw", "x-api-key": "pk"}, ["authorization"], "Bearer pk"),
        ({"authorization": "bearer pk"}, [], "Bearer pk"),
    ],
)
def test_passthrough_takes_the_clients_provider_key(headers: dict[str, str], spent: list[str], sent: str) -> None:
    """The client's key is x-provider-key, else the other header, else the native header of an open gateway."""
    found = pass_through(provider(is_passthrough=True), headers, "authorization", "authorization", spent)
    assert (found.header, found.value) == ("authorization", sent)
    assert found.id == f"p#{hash_id('pk')}"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer gw"}])
def test_a_gateway_key_is_never_passed_through(headers: dict[str, str]) -> None:
    """If the client shows no key but the gateway's, the error is a 401 in the documented words."""
    with pytest.raises(
        Unauthorized, match="Provider 'p' requires API key passthrough, but no client API key was provided"
    ):
        pass_through(provider(is_passthrough=True), headers, "authorization", "authorization", ["authorization"])


@pytest.mark.parametrize(
    ("value", "key"),
    [("Bearer a b", "a b"), ("bearer  x ", "x"), ("BEARER x", "x"), ("x", "x"), ("Basic x", "Basic x")],
)
def test_the_scheme_is_taken_off_in_any_case(value: str, key: str) -> None:
    """`Bearer` in any case is taken off a header; any other scheme stays."""
    assert bare(value) == key


def test_metrics_are_what_prometheus_reads() -> None:
    """Counters add up, histograms have cumulative buckets, and gauges are read at each scrape."""
    metrics = Metrics()
    metrics.requests.inc("chat", "fast", "one", "ok")
    metrics.requests.inc("chat", "fast", "one", "ok", by=2)
    metrics.duration.observe(0.2, "chat")
    metrics.duration.observe(1000, "chat")
    metrics.watch("in_flight", "Now.", lambda: [((), 3.0)])
    text = metrics.expose().decode()
    assert 'gateway_requests_total{alias="fast",endpoint="chat",outcome="ok",provider="one"} 3.0' in text
    assert 'gateway_request_duration_seconds_bucket{endpoint="chat",le="0.1"} 0.0' in text
    assert 'gateway_request_duration_seconds_bucket{endpoint="chat",le="0.25"} 1.0' in text
    assert 'gateway_request_duration_seconds_bucket{endpoint="chat",le="+Inf"} 2.0' in text
    assert 'gateway_request_duration_seconds_sum{endpoint="chat"} 1000.2' in text
    assert "gateway_in_flight 3.0" in text and "gateway_config_reloads_total 0.0" in text


def test_capabilities_are_packaged_then_overridden() -> None:
    """More exact and later entries win, and the configuration file's entries come last."""
    data: dict[str, dict[str, dict[str, Any]]] = {
        "*": {"m*": {"context": 1, "max_output": 5}},
        "openai": {"m-big": {"context": 2, "price": {"input": 1.0}}},
    }
    found = Capabilities(data)
    plain = Provider(base_url="http://x", name="a")
    own = Provider(base_url="http://x", name="b", family="openai", models={"m-*": ModelSettings({"context": 3})})
    assert found.profile(plain, "m-big").context == 1 and found.profile(plain, "other").context is None
    assert found.profile(own, "m-big").context == 3 and found.profile(own, "m-big").max_output == 5
    assert found.profile(own, "m-big").price == Price(input=1.0)
    assert found.profile(own, "m-big") is found.profile(own, "m-big")


def test_the_packaged_models_are_profiles() -> None:
    """Every entry of data/models.yaml loads."""
    packaged_models = packaged("models.yaml")
    for family, models in packaged_models.items():
        for model in models:
            assert Capabilities(packaged_models).profile(Provider("http://x", name="p", family=family), model)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_told_over_its_socket(is_abstract: bool) -> None:
    """`notify` writes to a path or an abstract name; without a usable socket it does nothing."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"gateway-test-{os.getpid()}" if is_abstract else f"{folder}/notify"
        sock.bind("\0" + name if is_abstract else name)
        sock.settimeout(1)
        notify("READY=1", "STATUS=x", environ={"NOTIFY_SOCKET": "@" + name if is_abstract else name})
        assert sock.recv(100) == b"READY=1\nSTATUS=x"
    notify("READY=1", environ={})
    notify("READY=1", environ={"NOTIFY_SOCKET": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_a_period(environ: dict[str, str], period: float | None) -> None:
    """The watchdog's period is half of WATCHDOG_USEC, if it is meant for this process; else None."""
    assert watchdog_period(environ) == period
