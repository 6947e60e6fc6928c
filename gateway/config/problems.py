"""What is wrong with a configuration, each problem with its place."""

from collections.abc import Sequence

from attrs import frozen


@frozen
class Problem:
    """One fault of the configuration, with its place. `line` and `column` count from 1."""

    line: int
    column: int
    path: str
    message: str


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
        return [
            f"{self.name}:{found.line}:{found.column}: {found.path + ': ' if found.path else ''}{found.message}"
            for found in self.problems
        ]
