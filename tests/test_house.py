"""The house rules that a machine can check: floors, purity, sizes, no branch on a provider's name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway"
MAX_LINES, MAX_FUNCTION_LINES = 400, 60
# A room imports only from lower floors; docs/design.md draws it.
FLOORS: list[set[str]] = [
    {"__init__", "errors", "clock", "redact", "wire"},
    {"config", "mock"},
    {"load", "health", "limits", "exchange", "capabilities", "recall", "repair", "tokenizer"},
    {"files", "question", "routing", "schedule", "metrics", "keys", "http_client", "systemd", "answer"},
    {"upstream", "lanes", "store", "credentials", "logs", "listener", "sources", "oauth"},
    {"parts"},
    {"relay", "report", "keeping"},
    {"inquiry"},
    {"attempt", "catalogue"},
    {"dispatch"},
    {"middleware"},
    {"handlers"},
    {"app"},
    {"daemon"},
    {"__main__"},
]
PURE = {
    "errors",
    "redact",
    "wire",
    "config",
    "load",
    "health",
    "limits",
    "exchange",
    "capabilities",
    "lanes",
    "question",
    "recall",
    "repair",
    "routing",
    "schedule",
    "metrics",
}
IMPURE = {"aiohttp", "asyncio", "time", "random", "os", "socket", "logging", "structlog"}
# Inside wire: the modules that every dialect may import.
WIRE_BASE = {
    "dialect", "neutral", "json_body", "multipart_body", "sse", "fault", "openai_error", "profile", "said", "unpack",
    "arguments", "counted", "counts", "crossing", "envelope", "events", "json_prefix", "media", "names", "node", "schema",
    "serial", "shape", "steering", "think", "toolbox", "watch",
}  # fmt: skip

FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield f"{node.module}", node.lineno
            if node.module == "gateway":
                for alias in node.names:
                    yield f"gateway.{alias.name}", node.lineno


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    """A room imports only from strictly lower floors and from itself, so that no cycle is possible."""
    room = room_of(path)
    for module, line in imports(path):
        if module.startswith("gateway."):
            other = module.split(".")[1]
            if not (ROOT / other).exists() and not (ROOT / f"{other}.py").exists():
                continue  # a name from gateway/__init__.py
            allowed = other == room or floor_of(other) < floor_of(room) or {other, room} <= FLOORS[0]
            assert allowed, f"{path}:{line}: {room} may not import {other}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if room_of(path) in PURE], ids=lambda path: str(path.relative_to(ROOT))
)
def test_pure_rooms_stay_pure(path: Path) -> None:
    """A pure room imports nothing that waits, reads a clock or opens anything."""
    for module, line in imports(path):
        assert module.split(".")[0] not in IMPURE, f"{path}:{line}: {module} in a pure room"


def test_dialects_do_not_know_each_other() -> None:
    """No dialect imports another one: what two of them share stands in a file of its own."""
    for path in (ROOT / "wire").rglob("*.py"):
        inside = path.relative_to(ROOT / "wire").parts
        if len(inside) < 2:
            continue
        for module, line in imports(path):
            if module.startswith("gateway.wire."):
                other = module.split(".")[2]
                assert other == inside[0] or other in WIRE_BASE, f"{path}:{line}: {inside[0]} imports {other}"


def test_the_mock_knows_nothing_of_us() -> None:
    """The mock imports nothing of the gateway: a bug on both sides would cancel out."""
    for path in (ROOT / "mock").rglob("*.py"):
        for module, line in imports(path):
            assert not module.startswith("gateway.") or module.startswith("gateway.mock"), f"{path}:{line}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    """A file has at most 400 lines, a function at most 60 lines and no import inside."""
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{path}:{node.lineno} {node.name}"
            for inner in ast.walk(node):
                assert not isinstance(inner, ast.Import | ast.ImportFrom), (
                    f"{path}:{inner.lineno}: import in a function"
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_comparison_with_a_providers_name(path: Path) -> None:
    """No code branches on a provider's name: a provider is data. Only say_errors.py may catch Exception."""
    presets = re.findall(r"^([a-z][\w-]*):", (ROOT / "data" / "presets.yaml").read_text(), re.MULTILINE)
    names = set(presets) - {"mock"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                is_name = isinstance(side, ast.Constant) and side.value in names
                mentions = "provider" in ast.unparse(node) or "family" in ast.unparse(node)
                assert not (is_name and mentions), f"{path}:{node.lineno}"
        if isinstance(node, ast.ExceptHandler) and node.type is not None and ast.unparse(node.type) == "Exception":
            assert path.name == "say_errors.py", f"{path}:{node.lineno}: catches everything"


def test_every_module_says_why_it_exists() -> None:
    """Every module has a docstring."""
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
