"""What the pages show works: their YAML loads, their curl commands get answers, their Python runs."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gateway.config.files import packaged
from gateway.config.load import load
from tests.conftest import Running, Start

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/start.md", "docs/operate.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


YAML = [(page, number, block) for page in PAGES for number, block in enumerate(blocks(page, "yaml"))]


@pytest.mark.parametrize(("page", "number", "block"), YAML, ids=[f"{page}:{number}" for page, number, _ in YAML])
def test_yaml_on_the_pages_loads(page: str, number: int, block: str) -> None:
    """Every YAML block of the pages loads as it stands."""
    load(block, page, lambda kind, name: None, packaged("presets.yaml"))


def test_the_shipped_configuration_loads() -> None:
    """The shipped configuration loads without any key in the environment, and with all of them."""
    text = (ROOT / "providers.yaml").read_text()
    for value in (None, "a-key-from-the-environment"):
        found = dict.fromkeys(re.findall(r"env: (\w+)", text), value)
        config = load(text, "providers.yaml", lambda _, name, found=found: found[name], packaged("presets.yaml"))  # type: ignore[misc]  # a lambda's default
        assert config.routes["demo"].targets[0].name == "mock:demo"


@pytest.fixture
async def shipped(start: Start) -> Running:
    """A gateway on the shipped configuration."""
    return await start(
        (ROOT / "providers.yaml").read_text().replace("providers:", 'store: {url: "memory:"}\nproviders:', 1)
    )


def curls(page: str) -> list[list[str]]:
    commands = [block for block in blocks(page, "sh") if block.startswith("curl http://127.0.0.1:8080/v1/chat")]
    return [shlex.split(command.replace("\\\n", " ")) for command in commands]


async def test_the_curls_answer(shipped: Running) -> None:
    """The pages' curl commands are a 200, and README's prints what README shows."""
    asked = 0
    for page in PAGES:
        for arguments in curls(page):
            body = json.loads(arguments[arguments.index("-d") + 1])
            headers = dict([arguments[arguments.index("-H") + 1].split(": ")])
            path = arguments[1].removeprefix("http://127.0.0.1:8080")
            async with shipped.post(path, body, headers=headers) as answer:
                assert answer.status == 200
                text = await answer.text()
            if page == "README.md":
                assert text == blocks(page, "json")[0].strip()
            asked += 1
    assert asked == 2


@pytest.mark.sdk
async def test_the_python_runs(shipped: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's examples of both SDKs run with this gateway's address."""
    codes = blocks("README.md", "python")
    for code in codes:
        names: dict[str, Any] = {}
        await asyncio.to_thread(exec, code.replace("http://127.0.0.1:8080", shipped.url), names)
        names["client"].close()
        assert capsys.readouterr().out.startswith("Hello from the mock provider")
    assert len(codes) == 2


def test_the_commands_of_the_readme_exist() -> None:
    """README lists every command of the parser but `version`, and no other."""
    promised = set(re.findall(r"^\| `gateway (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    parser = (ROOT / "gateway" / "__main__.py").read_text()
    built = set(re.findall(r'commands\.add_parser\(\s*"(\w+)"', parser))
    assert promised == built - {"version"}


def test_links_between_the_pages_lead_somewhere() -> None:
    """Every link between the pages leads to a file that exists."""
    for page in [*PAGES, "docs/design.md"]:
        for link in re.findall(r"\]\(([^)#]+\.md)\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / link).exists(), (page, link)
