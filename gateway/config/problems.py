"""What is wrong with a configuration, each problem with its place."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

Path = tuple[str | int, ...]
Places = Mapping[Path, tuple[int, int]]  # (line, column) of each path in the file, counted from 1
_START = (1, 1)


@frozen
class Problem:
    """One fault of the configuration, with its place. `line` and `column` count from 1."""

    line: int
    column: int
    path: str
    message: str

    def said(self, name: str, kind: str = "") -> str:
        """Say it as `file:line:column: key path: message`, with its `kind` behind the place if it has one."""
        return f"{name}:{self.line}:{self.column}: {kind}{self.path + ': ' if self.path else ''}{self.message}"


def problem_at(places: Places, path: Path, message: str) -> Problem:
    """Make a problem at the place of `path`; for a path that is not in the file, at the nearest one above it."""
    line, column = next((places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in places), _START)
    return Problem(line, column, write_path(path), message)


def write_path(path: Iterable[str | int]) -> str:
    """Write `("routes", "fast", 1)` as `routes.fast[1]`."""
    out = ""
    for step in path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out


class ConfigError(Exception):
    """The configuration cannot be used; carries every problem found in one run."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        super().__init__(name)
        self.name = name
        self.problems = sorted(problems, key=lambda found: (found.line, found.column, found.path))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Say each problem as `file:line:column: key path: message`."""
        return [found.said(self.name) for found in self.problems]
