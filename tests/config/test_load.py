"""providers.yaml: every problem in one run, each with its place; no invalid value gets through."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields, has

from gateway.config import schema as shapes
from gateway.config.files import packaged
from gateway.config.load import load
from gateway.config.problems import ConfigError
from gateway.config.schema import Config, Limit, Rate, Target
from gateway.config.yaml_marks import parse

ENVIRON = {"K": "upstream-key-1", "K2": "upstream-key-2", "G": "gateway-key"}


def read(text: str, environ: dict[str, str] = ENVIRON) -> Config:
    return load(text, "p.yaml", lambda kind, name: environ.get(name), packaged("presets.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.lines()


def test_nothing_at_all_is_a_valid_configuration() -> None:
    """An empty file is a valid configuration: every key has a default."""
    assert evolve(read(""), warnings=()) == Config()


def test_every_problem_is_told_in_one_run_with_its_place() -> None:
    """One run lists all problems by place, each with line, column, key path and message."""
    text = """\
server: {drain: 3, timeouts: {header: 5s, foo: 1s}}
providers:
  openai: {auth: {bearer: {env: K}}, timout: 3s}
  host:
    base_url: https://llm.example.org/v1
    speaks: [openai_chat, latin]
  host: {}
routes:
  fast: [openai:x, {provider: openai}]
"""
    assert problems(text) == [
        "p.yaml:1:10: server.drain: expected a duration such as 250ms, 30s, 5m or 24h",
        "p.yaml:1:43: server.timeouts.foo: unknown key 'foo'",
        "p.yaml:3:38: providers.openai.timout: unknown key 'timout'",
        "p.yaml:4:3: providers.host: missing key 'base_url'",
        "p.yaml:7:3: providers.host: duplicate key",
        "p.yaml:9:20: routes.fast[1]: missing key 'model'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "p.yaml:2:1: did not find expected node content"),
        ("a: *x", "found undefined alias"),
        ("a: &x {b: *x}", "an alias inside its own anchor"),
        ("1: x", "keys must be text"),
        ("routes: {1: a}", "keys must be text"),
        ("a: \x01", "not valid YAML"),
        ("- a", "expected a mapping, found a list"),
        ("server:", "server: expected a mapping, found nothing"),
        ("server: {open: yes please}", "server.open: expected true or false, found text"),
        ("server: {max_concurrent: true}", "expected a whole number, found True"),
        ("server: {max_concurrent: '60'}", "expected a whole number, found text"),
        ("server: {max_concurrent: 0}", "'max_concurrent' must be >= 1"),
        ("server: {max_body: 3 apples}", "expected a size"),
        ("server: {listen: []}", "at least one address"),
        ("server: {listen: here}", "expected a list, found text"),
        ("server: {listen: ['here']}", "server.listen[0]: 'here' is no address"),
        ("server: {listen: ['::1:80']}", "put an IPv6 address in brackets"),
        ("server: {listen: ['0.0.0.0:80']}", "no keys are configured, and 0.0.0.0:80 is not loopback"),
        ("server: {trusted_proxies: [10.0.0.300]}", "is no network"),
        ("server: {cors: {origins: ['*']}}", "is no origin"),
        ("server: {cors: {}}", "missing key 'origins'"),
        ("store: {url: 'mongo://x'}", "store.url: expected sqlite:PATH"),
        ("store: {url: 'redis://:pw@/0'}", "store.url: expected sqlite:PATH"),
        ("store: {url: 'redis://h/abc'}", "store.url: expected sqlite:PATH"),
        ("store: {url: 'redis://h:port/0'}", "store.url: expected sqlite:PATH"),
        ("store: {url: {env: NOWHERE}}", "store.url: the store's URL is missing: env NOWHERE"),
        (f"keys: {{anonymous: {{secret: {{sha256: \"{'0' * 64}\"}}}}}}", "keys.anonymous: this name stands for"),
        ("limits: {key: {default: {requests: 60/min}}}", "expected a rate such as 60/minute"),
        ("limits: {key: {default: {requests: 0/minute}}}", "expected a rate such as 60/minute"),
        ("limits: {key: {default: 60/minute}}", "expected a mapping, found text"),
        ("limits: {key: {dinner: {burst: 1}}}", "unknown endpoint class 'dinner'"),
        ("keys: {a: {secret: {env: MISSING}}}", "the secret of a client key is missing: env MISSING"),
        ("keys: {a: {secret: gwk_plain}}", "a secret never stands in the file"),
        ("keys: {a: {secret: {sha256: ABC}}}", "64 lower-case hexadecimal digits"),
        ("keys: {a: {secret: []}}", "at least one secret"),
        ("keys: {a: {secret: {env: G}}, b: {secret: {env: G}}}", "the same secret as key 'a'"),
        ("keys: {a: {secret: {env: G}, expires: tomorrow}}", "expected a date"),
        ("providers: {openai: {base_url: 'https://other.example/v1'}}", "providers.openai: missing key 'auth'"),
        ("providers: {openai: {auth: sk-secret}}", "expected passthrough, or one of bearer"),
        ("providers: {openai: {auth: {bearer: {env: K}, api-key: {env: K}}}}", "expected passthrough, or one of"),
        ("providers: {openai: {auth: {bearer: {vault: K}}}}", "a secret never stands in the file"),
        ("providers: {azure: {auth: {api-key: {env: K}}}}", "missing key 'base_url'"),
        ("providers: {x: {preset: nope, base_url: 'http://x'}}", "unknown preset: one of"),
        ("providers: {x: {base_url: 'http://x'}}", "missing key 'speaks'"),
        ("providers: {x: {base_url: 'ftp://x', speaks: [openai_chat]}}", "is no http or https URL"),
        ("providers: {x: {base_url: 'http://x?a=b', speaks: [openai_chat]}}", "has no query"),
        ("providers: {x: {base_url: 'http://x', speaks: [latin]}}", "unknown dialect 'latin'"),
        ("providers: {x: {base_url: 'http://x', speaks: {openai_chat: 1}}}", "expected text"),
        ("providers: {x: {base_url: 'http://x', speaks: [openai_chat], headers: {Authorization: b}}}", "cannot be set here"),
        ("providers: {x: {base_url: 'http://x', speaks: [openai_chat], headers: {a: \"b\\nc\"}}}", "not a valid header"),
        ("providers: {x: {base_url: 'http://x', speaks: [openai_chat], set: [1]}}", "expected a mapping"),
        ("providers: {x: {base_url: 'http://x', speaks: [openai_chat], models: {m: {contxt: 3}}}}", "unknown key 'contxt'"),
        ("providers: {mock: }\nroutes: {a: 'nope:m'}", "routes.a: unknown provider 'nope'"),
        ("providers: {mock: }\nroutes: {a: [{provider: mock}]}", "routes.a[0]: missing key 'model'"),
        ("providers: {mock: }\nroutes: {a: []}", "a route needs at least one target"),
        ("providers: {mock: }\nroutes: {a: {targets: ['mock:m'], policy: best}}", "must be in"),
        ("providers: {mock: }\nroutes: {a: nothing}", "'nothing' is no route; a target is provider:model"),
        ("routes: {a: b, b: a}", "routes in a circle: a -> b -> a"),
        ("default_provider: nope", "unknown provider 'nope'"),
        ("defaults: {probe: nope}", "'nope' is neither a route nor provider:model"),
        ("server: {expose: {dashboard: true}}", "'dashboard' is not built in this version"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    """A problem's line says what is wrong and where, and does not quote a secret in the wrong place."""
    lines = problems(text)
    assert any(message in line for line in lines), lines
    assert not any("sk-secret" in line or "gwk_plain" in line for line in lines)


def test_a_missing_provider_secret_is_only_a_warning() -> None:
    """A provider without its secret is off with a warning, and so are its routes; the configuration loads."""
    config = read("providers: {openai: {auth: {bearer: {env: NONE}}}}\nroutes: {a: 'openai:x'}")
    assert not config.providers["openai"].is_live
    assert [warning.said("f") for warning in config.warnings] == [
        "f:1:13: providers.openai: disabled, its credential is missing (env NONE)",
        "f:2:10: routes.a: no live target; requests for it are answered 503",
    ]


def test_a_preset_lies_under_what_the_file_says() -> None:
    """Mappings of the file are joined with the preset's, other values replace it; `preset:` names the preset."""
    config = read(
        """
        providers:
          mine: {preset: mistral, auth: {bearer: [{env: K}, {env: K2}]}, rename: {a: b}, drop: [c]}
          azure: {base_url: "https://r.openai.azure.com", auth: {api-key: {env: K}}, query: {x: y}}
          byok: {preset: openai, auth: passthrough}
        """
    )
    mine, azure = config.providers["mine"], config.providers["azure"]
    assert mine.base_url == "https://api.mistral.ai/v1" and mine.family == "mistral"
    assert mine.rename == {"seed": "random_seed", "max_completion_tokens": "max_tokens", "a": "b"}
    assert mine.drop == ("c",)
    assert [secret.value for secret in mine.auth.secrets] == ["upstream-key-1", "upstream-key-2"]
    assert azure.query == {"api-version": "2024-10-21", "x": "y"}
    assert azure.auth.header == "api-key"
    assert config.providers["byok"].auth.is_passthrough and config.providers["byok"].is_live


def test_short_forms_of_routes_are_expanded() -> None:
    """A target without a colon is a route or, for a glob, a provider that gets the model's name as it is."""
    config = read(
        """
        providers: {mock: , groq: {auth: {bearer: {env: K}}}}
        routes:
          fast: mock:demo
          again: fast
          list: [again, {provider: groq, model: m, weight: 3, timeouts: {first_byte: 2s}}]
          "gpt-*": mock
        """
    )
    assert config.routes["again"].targets == (Target("mock", "demo"),)
    assert [target.name for target in config.routes["list"].targets] == ["mock:demo", "groq:m"]
    assert config.routes["list"].targets[1].timeouts.first_byte == 2.0
    assert config.routes["gpt-*"].targets[0].model is None


def test_values_are_read_in_their_units() -> None:
    """Durations, sizes, rates and dates are read in their units; a date where text belongs stays text."""
    config = read(
        """
        server: {drain: 250ms, max_body: 32MiB, max_reply: 512, commit_after: 25s, timeouts: {total: 1h}}
        limits: {key: &k {default: {requests: 1_000/hour, burst: 5}}, address: *k, failed_auth: 30/minute}
        keys: {a: {secret: [{env: G}], expires: 2027-12-31}}
        providers: {mock: {query: {api-version: 2024-10-21}}}
        """
    )
    assert (config.server.drain, config.server.max_body, config.server.max_reply) == (0.25, 32 * 2**20, 512)
    assert (config.server.commit_after, config.server.timeouts.total) == (25.0, 3600.0)
    assert config.limits.address["default"] == Limit(Rate(1000, 3600.0), burst=5)
    assert config.keys["a"].expires == date(2027, 12, 31)
    assert config.providers["mock"].query == {"api-version": "2024-10-21"}


def test_a_secret_is_in_no_repr() -> None:
    """The repr of a configuration has no secret."""
    config = read("keys: {a: {secret: {env: G}}}\nproviders: {openai: {auth: {bearer: {env: K}}}}")
    assert "gateway-key" not in repr(config) and "upstream-key" not in repr(config)


@pytest.mark.parametrize("name", sorted(packaged("presets.yaml")))
def test_every_preset_loads(name: str) -> None:
    """Every preset loads with a key and a base URL."""
    text = f"providers: {{{name}: {{auth: {{bearer: {{env: K}}}}, base_url: 'https://x.example/v1'}}}}"
    assert read(text).providers[name].speaks


def test_every_key_has_a_sentence_for_the_reference() -> None:
    """Every key has the sentence that docs/reference.md is made from."""
    for cls in vars(shapes).values():
        if isinstance(cls, type) and has(cls) and cls.__module__ == shapes.__name__:
            for found in fields(cls):
                known = (
                    found.metadata.get("doc")
                    or found.metadata.get("internal")
                    or cls.__name__ in ("Secret", "KeySecret", "Auth", "OAuth", "Rate", "Target")
                )
                assert known, f"{cls.__name__}.{found.name}"


def test_marks_count_from_one_and_merges_point_to_their_anchor() -> None:
    """Marks count from one, and a merged key has the place of its anchor, where its error is reported."""
    found = parse("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n")
    assert found.data == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}
    assert found.marks[("c", "d")] == (4, 3)
    assert found.marks[("c", "b")] == (1, 8)


def test_the_example_of_the_product_page_holds() -> None:
    """The example configuration loads, but for the keys that are not built yet."""
    text = Path(__file__).with_name("product.yaml").read_text()
    config = read(
        text,
        {"GATEWAY_KEY": "gateway-key", "OPENAI_API_KEY": "openai-key-1", "example-key": "file-key-1"}
        | dict.fromkeys(re.findall("env: ([A-Z_0-9]+)", text), "some-secret"),
    )
    assert [target.name for target in config.routes["reliable"].targets][1] == "openai:gpt-4o"
    assert config.routes["spread"].retry is not None
    assert config.providers["example-host"].auth.secrets[0].value == "file-key-1"


@pytest.mark.slow
def test_every_shape_of_wrongness_is_survived() -> None:
    """Any YAML value under any key gives problems or a configuration, never a traceback."""
    values: list[Any] = ["null", "[]", "{}", "x", "1", "true", "[[]]", "{a: {b: []}}", "2024-10-21"]
    for key in ("server", "store", "keys", "limits", "providers", "routes", "breaker", "retry", "defaults", "compat"):
        for value in values:
            for text in (f"{key}: {value}", f"{key}: {{x: {value}}}", f"{key}: {{listen: {value}, url: {value}}}"):
                try:
                    read(text)
                except ConfigError as error:
                    assert error.lines()


def test_a_base_url_that_is_a_secret_is_one_like_any_other() -> None:
    """Where it leads decides what of the preset holds: no usual credential at another host, the paths of its dialects."""
    environ = ENVIRON | {
        "U": "https://proxy.example/anthropic",
        "OWN": "https://api.openai.com/v1",
        "BAD": "ftp://me:pw@x",
    }

    def load_with(text: str) -> Config:
        return load(text, "p.yaml", lambda _, name: environ.get(name), packaged("presets.yaml"))

    with pytest.raises(ConfigError, match="the usual one of 'openai' is not sent to another host"):
        load_with("providers: {openai: {base_url: {env: U}}}")
    assert load_with("providers: {openai: {base_url: {env: OWN}}}").providers["openai"].auth.header == "authorization"
    found = load_with("providers: {anthropic: {base_url: {env: U}, auth: {x-api-key: {env: K}}}}").providers[
        "anthropic"
    ]
    assert found.speaks["anthropic_messages"] == "/v1/messages"
    with pytest.raises(ConfigError) as caught:
        load_with("providers: {x: {base_url: {env: BAD}, speaks: [openai_chat]}}")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base_url: 'http://api..example/v1'", "cannot be the name of a host"),
        (f"base_url: 'http://{'a' * 64}.example/v1'", "cannot be the name of a host"),
        ("base_url: 'http://x', proxy: 'http://p..x:1'", "cannot be the name of a host"),
        ("base_url: 'http://x', tls: {server_name: '.x'}", "cannot be the name of a host"),
        ("base_url: 'http://x', speaks: {openai_chat: '{origin}'}", "is no path"),
        ("base_url: 'http://x', proxy: {env: NONE}", "the proxy's URL is missing: env NONE"),
        ("base_url: 'http://x', auth: {basic: {user: 1, password: {env: K}}}", "expected {user: NAME"),
        ("base_url: 'http://x', auth: {basic: me}", "expected {user: NAME"),
        ("base_url: 'http://x', headers: {a: {env: K, b: c}}", "a secret never stands in the file"),
        ("base_url: {env: 1}", "env must be a name"),
    ],
)
def test_odd_ways_are_problems(text: str, words: str) -> None:
    """What cannot be an address, a proxy or a header is said with its place."""
    speaks = "" if "speaks" in text else "speaks: [openai_chat], "
    lines = problems(f"providers: {{x: {{{speaks}{text}}}}}")
    assert any(words in line and line.startswith("p.yaml:1:") for line in lines), lines


def test_a_header_of_ours_is_no_balancers_id() -> None:
    """`request_id_header` takes no header that means something to the gateway; `proxy: null` is none."""
    for name in ("x-gateway-loop", "Content-Type", "x-provider-key", "authorization"):
        (line,) = problems(f"server: {{request_id_header: {name}}}")
        assert "is no header that may be passed on" in line
    assert (
        read("providers: {x: {base_url: 'http://x', speaks: [openai_chat], proxy: null}}").providers["x"].proxy is None
    )
