"""The house rules that a machine can keep: floors, purity, sizes, words, and pages that exist (docs/design.md)."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import errors
from gateway.errors import GatewayError, UpstreamFault

PROJECT = Path(__file__).parent.parent
ROOT = PROJECT / "gateway"
MAX_LINES, MAX_FUNCTION_LINES, MAX_MEDIAN_LINES = 400, 60, 10
# A room imports only from lower floors; docs/design.md#rooms-and-floors says what each is.
FLOORS = {
    "__main__": 8,
    "server": 7,
    "proxy": 6,
    "upstream": 5,
    "accounts": 5,
    "policy": 4,
    "config": 3,
    "wire": 2,
    "store": 2,
    "telemetry": 1,
    "mock": 1,
    "errors": 1,
    "faults": 1,
    "clock": 1,
    "aiohttp_internals": 1,
    "__init__": 0,
}
# What every room may import, whatever its floor; only the mock may not.
SHARED = {"errors", "faults", "clock"}
PURE = ("errors.py", "faults.py", "wire/", "policy/", "config/", "proxy/plan/", "proxy/exchange.py", "telemetry/metrics.py",
        "telemetry/redact.py", "store/schemes.py")  # fmt: skip
# In config/: the file with its secrets is read, a key is minted from the system's randomness, state lies in a directory.
IMPURE_FILES = {"config/files.py", "config/keys.py", "config/state.py"}
IMPURE = {"aiohttp", "asyncio", "time", "random", "os", "socket", "logging", "structlog"}
# Inside wire: what stands above the dialects, so that no dialect may import it.
ABOVE_DIALECTS = {"gateway.wire.translated_lane"}
CITED = re.compile(r"\b(docs/[\w./-]+?\.md)(?:#([\w-]+))?((?: (?:to |and )?[PR]\d+,?)*)")
CASE = re.compile(r"\bEC-(\d+)\b")

FILES = sorted(ROOT.rglob("*.py"))
TESTS = sorted((PROJECT / "tests").rglob("*.py"))
PAGES = [*PROJECT.glob("*.md"), *sorted((PROJECT / "docs").rglob("*.md"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


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
            for alias in node.names:
                if module_path(f"{node.module}.{alias.name}") is not None:
                    yield f"{node.module}.{alias.name}", node.lineno


def module_path(module: str) -> Path | None:
    path = PROJECT / module.replace(".", "/")
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.exists()), None)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    """A room imports from strictly lower floors, from itself, and from `errors`, `faults` and `clock`."""
    room = room_of(path)
    for module, line in imports(path):
        other = module.split(".")[1] if module.startswith("gateway.") else ""
        if other in FLOORS:
            allowed = other == room or other in SHARED or FLOORS[other] < FLOORS[room]
            assert allowed, f"{path}:{line}: {room} may not import {other}"


def test_no_import_cycle() -> None:
    """No module imports itself by a detour, inside a room either."""
    found = {path: {other for module, _ in imports(path) if (other := module_path(module))} for path in FILES}
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, f"import cycle: {[name_of(one) for one in (*above, path)]}"
        if path not in done:
            for other in found.get(path, set()) - {path}:
                visit(other, (*above, path))
            done.add(path)

    for path in FILES:
        visit(path, ())


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if name_of(path).startswith(PURE) and name_of(path) not in IMPURE_FILES],
    ids=name_of,
)
def test_pure_rooms_stay_pure(path: Path) -> None:
    """A pure module never waits, looks at a clock or opens anything."""
    for module, line in imports(path):
        assert module.split(".")[0] not in IMPURE, f"{path}:{line}: {module} in a pure room"


def test_dialects_do_not_know_each_other() -> None:
    """A dialect imports no other; what they share knows none of them, and codec knows nothing but bytes."""
    folders = {path.parent.name for path in (ROOT / "wire").glob("*/__init__.py")}
    dialects = folders - {"codec", "translation"}
    for path in (ROOT / "wire").rglob("*.py"):
        inside = path.relative_to(ROOT / "wire").parts[0]
        if inside not in folders:
            continue
        for module, line in imports(path):
            other = module.split(".")[2] if module.startswith("gateway.wire.") else ""
            place = f"{path}:{line}: {inside} imports {other}"
            assert other not in dialects - {inside}, place
            if inside in dialects:
                assert module not in ABOVE_DIALECTS, place
            if inside == "codec":
                assert other in ("", "codec"), place


def test_the_mock_knows_nothing_of_us() -> None:
    """The mock imports nothing of ours, or our bugs would cancel out."""
    for path in (ROOT / "mock").rglob("*.py"):
        for module, line in imports(path):
            assert not module.startswith("gateway.") or module.startswith("gateway.mock"), f"{path}:{line}"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path: Path) -> None:
    """Files have at most 400 lines, functions at most 60, and no function imports."""
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    for node in functions(ast.parse(text)):
        assert length(node) <= MAX_FUNCTION_LINES, f"{path}:{node.lineno} {node.name}"
        for inner in ast.walk(node):
            assert not isinstance(inner, ast.Import | ast.ImportFrom), f"{path}:{inner.lineno}: import in a function"


def test_the_median_function_is_short() -> None:
    """Half of all functions have fewer than ten lines."""
    lengths = sorted(length(node) for path in FILES for node in functions(ast.parse(path.read_text())))
    assert lengths[len(lengths) // 2] < MAX_MEDIAN_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_comparison_with_a_providers_name(path: Path) -> None:
    """A provider is data. Nor is every exception caught anywhere but in say_errors."""
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


def test_every_module_and_class_says_why_it_exists() -> None:
    """Each module and each public class has a docstring; a room's says what it may import."""
    for path in FILES:
        tree = ast.parse(path.read_text())
        said = ast.get_docstring(tree)
        assert said, path
        if path.name == "__init__.py" and path.parent.parent == ROOT:
            assert "import" in said.lower(), f"{path}: a room says what it may import"
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name}"


def test_every_error_has_an_outcome() -> None:
    """Each error that a client can be sent has a word of its own for metrics and logs."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, GatewayError)]
    for one in classes:
        if not issubclass(one, UpstreamFault) and one not in (GatewayError, errors.Refusal, errors.InternalError):
            assert one.outcome != "error", one


def test_tests_stand_alone() -> None:
    """No test file imports from a test file, and none reads a private member of what it tests."""
    for path in TESTS:
        text = path.read_text()
        assert not re.search(r"^from tests\.(\w+\.)*test_\w+ import", text, re.MULTILINE), path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr) and node.attr not in ALLOWED_PRIVATE:
                is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                assert is_own, f"{path}:{node.lineno}: private member {node.attr}"


# The SDKs document this name for the id of a request.
ALLOWED_PRIVATE = {"_request_id"}


def test_fast_tests_do_not_sleep() -> None:
    """A test that is not marked slow sleeps for at most 50 ms at a time."""
    for path in TESTS:
        tree = ast.parse(path.read_text())
        is_slow = re.search(r"^pytestmark = .*\bmark\.slow\b", path.read_text(), re.MULTILINE)
        if is_slow or not path.name.startswith("test_"):
            continue
        for node in functions(tree):
            if any("slow" in ast.unparse(mark) for mark in node.decorator_list):
                continue
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in ("asyncio.sleep", "time.sleep"):
                    first = call.args[0] if call.args else None
                    if isinstance(first, ast.Constant) and isinstance(first.value, int | float):
                        assert first.value <= 0.05 or first.value >= 3600, f"{path}:{call.lineno}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "").replace("*", ""))
        found.add(re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-"))
    return found


def test_every_citation_leads_somewhere() -> None:
    """Each page, heading, promise and edge case that code, tests and pages cite is in the repository."""
    cases = set(CASE.findall((PROJECT / "docs" / "wire" / "edge-cases.md").read_text()))
    promises = set(re.findall(r"^\| ([PR]\d+) ", (PROJECT / "docs" / "reliability.md").read_text(), re.MULTILINE))
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    names = [name for name in tracked.split() if name.endswith((".py", ".md", ".yaml", ".toml", ".cfg", ".service"))]
    paths = [PROJECT / name for name in names] or [*FILES, *TESTS, *PAGES]
    for path in paths:
        if not path.exists():
            continue
        text = path.read_text()
        for page, anchor, rows in CITED.findall(text):
            assert (PROJECT / page).exists(), f"{path}: cites {page}"
            assert not anchor or anchor in anchors(PROJECT / page), f"{path}: cites {page}#{anchor}"
            for row in re.findall(r"[PR]\d+", rows):
                assert row in promises, f"{path}: cites {page} {row}"
        for case in CASE.findall(text):
            assert case in cases, f"{path}: cites EC-{case}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Every link to a file or a heading of this project exists."""
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        file = (page.parent / target) if target else page
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page}: {target}#{anchor}"


def test_promises_name_tests_that_exist() -> None:
    """Each test that the page of promises names stands in the file that it links to."""
    page = PROJECT / "docs" / "reliability.md"
    for name, target in re.findall(r"\[(test_\w+)\]\(([^)]+)\)", page.read_text()):
        assert f"def {name}(" in (page.parent / target).read_text(), f"{name} is not in {target}"


def test_cases_without_a_test_are_listed() -> None:
    """The page of edge cases names those that no test cites, and only those."""
    text = (PROJECT / "docs" / "wire" / "edge-cases.md").read_text()
    head, _, tail = text.partition("## Cases without a test")
    cited = {case for path in TESTS for case in CASE.findall(path.read_text()) if path.name != "test_house.py"}
    assert set(CASE.findall(tail)) == set(re.findall(r"\*\*EC-(\d+)\*\*", head)) - cited
