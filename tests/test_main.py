"""The commands: what they print, and their exit codes."""

import asyncio
import hashlib
import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway.__main__ import main
from gateway.mock.script import Rule, make_behaviour
from gateway.mock.server import MockServer

GOOD = """
providers:
  mock:
  openai: {auth: {bearer: {env: NOT_SET_HERE}}}
  byok: {preset: openai, auth: passthrough}
routes:
  fast: [mock:demo, openai:x, byok:y]
  roomy: {targets: [mock:demo], policy: weighted, context_fallback: [openai:long]}
  "gpt-*": openai
default_provider: mock
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    return path


def test_check_says_good_and_what_will_surprise(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` of a valid file prints its warnings and exits 0."""
    assert main(["check", str(config)]) == 0
    out = capsys.readouterr().out
    assert "warning: providers.openai: disabled, its credential is missing (env NOT_SET_HERE)" in out
    assert out.endswith("good (3 providers, 3 routes)\n")


def test_check_prints_every_problem_and_exits_78(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` prints every problem on standard error, without colours off a terminal, and exits 78."""
    config.write_text("a: 1\nroutes: {x: y}\n")
    assert main(["check", str(config)]) == 78
    assert (
        capsys.readouterr().err
        == f"{config}:1:1: a: unknown key 'a'\n{config}:2:10: routes.x: 'y' is no route; a target is provider:model\n"
    )
    assert main(["routes", "--config", str(config)]) == 78


def test_routes_shows_all_or_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`routes` shows the targets in order, their missing credentials and the default provider."""
    assert main(["routes", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "mock:demo -> openai:x (no credential) -> byok:y (client's key)" in out
    assert re.search(r"\(any other\)\s+default\s+mock", out)
    assert main(["routes", "roomy", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "roomy: weighted, at most 4 attempts in 300 s" in out and "1. mock:demo" in out
    assert "when the context is too long: openai:long (no credential)" in out


def test_routes_of_an_unknown_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`routes` with an unknown name prints one line and exits 1; without any routes it says so."""
    config.write_text("providers: {mock: }")
    assert main(["routes", "nope", "--config", str(config)]) == 1
    assert capsys.readouterr().err == "gateway: The model 'nope' does not exist\n"
    assert main(["routes", "--config", str(config)]) == 0
    assert "no routes" in capsys.readouterr().out


def test_keys_new_prints_a_key_once_and_its_hash_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    """`keys new` prints the key once; the YAML to paste has only its hash."""
    assert main(["keys", "new", "laptop"]) == 0
    key, _, yaml = capsys.readouterr().out.partition("\n")
    assert hashlib.sha256(key.encode()).hexdigest() in yaml and key not in yaml


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`version` prints the versions, and --help of every command exits 0."""
    assert main(["version"]) == 0
    assert re.match(r"gateway \d+\.\d+\.\d+, python 3\.\d+\.\d+, aiohttp 3\.", capsys.readouterr().out)
    for arguments in (["--help"], ["run", "--help"], ["mock", "--help"], ["keys", "new", "--help"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0


async def test_mock_serves_a_script(tmp_path: Path) -> None:
    """`mock` serves a script's rules by model, and faults by header, for users' own CI."""
    script = tmp_path / "script.yaml"
    script.write_text(
        "- when: {model: 'bad*'}\n  then: {status: 429, headers: {retry-after: '2'}}\n  times: 1\n- then: {latency: 10ms, text: scripted}\n"
    )
    command = [sys.executable, "-m", "gateway", "mock", "--listen", "127.0.0.1:0", "--script", str(script)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await asyncio.to_thread(process.stdout.readline)).decode()
        url = line.rpartition(" ")[2].strip()
        async with aiohttp.ClientSession() as session:

            async def ask(model: str, **headers: str) -> tuple[int, str]:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                async with session.post(f"{url}/chat/completions", json={"model": model}, headers=named) as answer:
                    return answer.status, await answer.text()

            assert (await ask("bad"))[0] == 429
            status, text = await ask("bad")
            assert status == 200 and "scripted" in text
            assert (await ask("x", x_mock_status="503"))[0] == 503
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await ask("x", x_mock_fault="close_before_head")
    finally:
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait) == 0
        process.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "here"], "'here' is no address"),
        (["--script", "/nowhere"], "No such file"),
        (["--script", "BAD"], "script entry 1: unknown behaviour 'statsu'"),
    ],
)
def test_mock_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """`mock` with an invalid address or script prints one line and exits 1."""
    script = tmp_path / "s.yaml"
    script.write_text("- then: {statsu: 3}")
    assert main(["mock", *[str(script) if part == "BAD" else part for part in arguments]]) == 1
    assert words in capsys.readouterr().err


def test_check_is_strict_if_told_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --strict a warning is a problem; standard input is `-`."""
    assert main(["check", "--strict", str(config)]) == 78
    found = capsys.readouterr()
    assert "providers.openai: disabled" in found.err and "warning" not in found.err and "good" not in found.out


def test_check_reads_standard_input(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` is standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(config.read_bytes())))
    assert main(["check", "-"]) == 0
    assert "-: good (3 providers" in capsys.readouterr().out


async def test_check_probes(tmp_path: Path, capsys: pytest.CaptureFixture[str], mock: MockServer) -> None:
    """--probe asks each provider for its models: who answers, who refuses the credential, who is not there."""
    path = tmp_path / "p.yaml"
    path.write_text(
        f"""
providers:
  good: {{base_url: "{mock.url}/good/v1", speaks: [openai_chat]}}
  locked: {{base_url: "{mock.url}/locked/v1", speaks: [openai_chat]}}
  gone: {{base_url: "http://127.0.0.1:1/v1", speaks: [openai_chat]}}
  none: {{base_url: "http://127.0.0.1:1/v1", speaks: [openai_chat], lists_models: null}}
routes: {{}}
"""
    )
    mock.script.rules.append(Rule(make_behaviour({"status": 401}), name="locked"))
    assert await asyncio.to_thread(main, ["check", "--probe", str(path)]) == 0
    out = capsys.readouterr().out
    assert "providers.good: answers, with " in out and "providers.none: not asked, it has no model list" in out
    assert f"{path}:4:3: warning: providers.locked: the provider refuses the credential (status 401)" in out
    assert f"{path}:5:3: warning: providers.gone: Cannot connect to the provider: connection refused" in out
    assert await asyncio.to_thread(main, ["check", "--probe", "--strict", str(path)]) == 78


def test_init_writes_what_a_service_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init` writes a configuration that is good, with --systemd the units as well; it overwrites nothing."""
    folder = tmp_path / "new"
    assert main(["init", "--systemd", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["gateway.service", "gateway.socket", "providers.yaml"]
    assert main(["check", str(folder / "providers.yaml")]) == 0
    (folder / "gateway.socket").write_text("mine")
    capsys.readouterr()
    assert main(["init", "--systemd", str(folder)]) == 1
    assert capsys.readouterr().err.endswith("providers.yaml is there already, and stays as it is\n")
    assert (folder / "gateway.socket").read_text() == "mine"
