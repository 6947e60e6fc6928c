"""Parses YAML and keeps the line and column of every value, for messages.

The text is composed into nodes once. The nodes give the places, the duplicate keys and the plain data; PyYAML's
own `load` would drop the places and take the last of two equal keys.
"""

from collections.abc import Sequence
from typing import Any

import yaml
from attrs import define, field

from gateway.config.problems import Path, Problem, problem_at, write_path

_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_START = (1, 1)


@define
class Text:
    """A parsed YAML text: its data (plain dicts, lists, scalars), and (line, column) of each path, counted from 1."""

    data: Any = None
    marks: dict[Path, tuple[int, int]] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    is_readable: bool = False

    def complain(self, path: Path, message: str) -> None:
        """Note a problem at the place of `path`; for a path that is not in the text, at the nearest one above it."""
        self.problems.append(problem_at(self.marks, path, message))


def parse(text: str) -> Text:
    """Parse a YAML document. Problems are noted, not raised; `is_readable` is true when the text is valid YAML."""
    found = Text()
    try:
        loader = yaml.CSafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _look(node, (), found, ())
            found.data = loader.construct_document(node)
        found.is_readable = True
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else _START
        found.problems.append(Problem(*place, "", error.problem or "not valid YAML"))
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        # PyYAML's constructors let Python's own errors out for a value that is not of its tag, as `!!bool x`.
        found.problems.append(Problem(*_START, "", f"not valid YAML: {error}"))
    return found


def _look(node: yaml.Node, path: Path, found: Text, above: Sequence[yaml.Node]) -> None:
    if any(node is outer for outer in above):
        raise yaml.MarkedYAMLError(problem="an alias inside its own anchor", problem_mark=node.start_mark)
    found.marks.setdefault(path, _place(node))
    inside = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _look(item, (*path, index), found, inside)
    elif isinstance(node, yaml.MappingNode):
        _look_at_mapping(node, path, found, inside)


def _look_at_mapping(node: yaml.MappingNode, path: Path, found: Text, inside: Sequence[yaml.Node]) -> None:
    seen: set[str] = set()
    merged: list[yaml.Node] = []
    for key, value in node.value:
        if key.tag == _MERGE:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            continue
        here = (*path, key.value) if isinstance(key.value, str) else path
        found.marks.setdefault(here, _place(key))
        if key.tag != _STR:
            words = f"keys must be text: put '{key.value}' in quotes"
            raise yaml.MarkedYAMLError(problem=words, problem_mark=key.start_mark)
        if key.value in seen:
            found.problems.append(Problem(*_place(key), write_path(here), "duplicate key"))
        seen.add(key.value)
        _look(value, here, found, inside)
    for source in merged:  # after the mapping's own keys: the first mark of a path stays
        _look(source, path, found, inside)


def _place(node: yaml.Node) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
