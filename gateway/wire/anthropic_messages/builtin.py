"""Describes Anthropic's built-in client tools as functions, so that models of other providers can call them.

A client sends such a tool by its dated type, without a schema: Claude knows it, other models do not. Names and
members are those of the SDK's types (ToolBash20250124Param, BrowserNavigateInput, …); the descriptions are ours.
"""

from collections.abc import Mapping
from typing import Any

_XY = {"type": "array", "items": {"type": "integer"}, "description": "[x, y] in pixels"}
_REGION = {"type": "array", "items": {"type": "integer"}, "description": "[x1, y1, x2, y2] in pixels"}
_TEXT, _WHOLE, _NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
_TARGET = {
    "type": "object",
    "description": "{type: coordinate, x, y}, or {type: ref, ref} for an element of read_page or find",
    "properties": {"type": {"enum": ["coordinate", "ref"]}, "x": _WHOLE, "y": _WHOLE, "ref": _TEXT},
    "required": ["type"],
}
_WAYS = {"type": "string", "enum": ["up", "down", "left", "right"]}
# Name -> description, properties, required properties.
_Members = Mapping[str, tuple[str, Mapping[str, Any], tuple[str, ...]]]


def _click(what: str) -> tuple[str, Mapping[str, Any], tuple[str, ...]]:
    return f"{what} at a place of the screen, or where the cursor is", {"coordinate": _XY, "text": _TEXT}, ()


def _point(what: str) -> tuple[str, Mapping[str, Any], tuple[str, ...]]:
    return f"{what} at a target in the page", {"target": _TARGET, "text": _TEXT, "tab_id": _TEXT}, ("target",)


_COMPUTER: _Members = {
    "cursor_position": ("Tell where the cursor is", {}, ()),
    "double_click": _click("Click twice"),
    "hold_key": ("Hold keys down for some seconds", {"text": _TEXT, "duration": _WHOLE}, ("text", "duration")),
    "key": ("Press keys, such as ctrl+s", {"text": _TEXT, "repeat": _WHOLE}, ("text",)),
    "left_click": _click("Click"),
    "left_click_drag": (
        "Drag from one place to another",
        {"start_coordinate": _XY, "coordinate": _XY, "text": _TEXT},
        ("start_coordinate", "coordinate"),
    ),
    "left_mouse_down": ("Press the left button and hold it", {}, ()),
    "left_mouse_up": ("Release the left button", {}, ()),
    "middle_click": _click("Click with the middle button"),
    "mouse_move": ("Move the cursor", {"coordinate": _XY}, ("coordinate",)),
    "right_click": _click("Click with the right button"),
    "screenshot": ("Take a picture of the screen", {}, ()),
    "scroll": (
        "Scroll the screen",
        {"scroll_direction": _WAYS, "scroll_amount": _WHOLE, "coordinate": _XY, "text": _TEXT},
        ("scroll_direction", "scroll_amount"),
    ),
    "triple_click": _click("Click three times"),
    "type": ("Type a text", {"text": _TEXT}, ("text",)),
    "wait": ("Wait some seconds", {"duration": _WHOLE}, ("duration",)),
    "zoom": ("Take an enlarged picture of a region", {"region": _REGION}, ("region",)),
}
_BROWSER: _Members = {
    "close_tab": ("Close a tab", {"tab_id": _TEXT}, ("tab_id",)),
    "double_click": _point("Click twice"),
    "file_upload": (
        "Put files into a file input",
        {"target": _TARGET, "paths": {"type": "array", "items": _TEXT}, "tab_id": _TEXT},
        ("target", "paths"),
    ),
    "find": ("Find elements by a description", {"query": _TEXT, "tab_id": _TEXT}, ("query",)),
    "form_input": (
        "Set the value of a form element",
        {"target": _TARGET, "value": {}, "tab_id": _TEXT},
        ("target", "value"),
    ),
    "get_page_text": ("Read the text of the page", {"tab_id": _TEXT}, ()),
    "hold_key": (
        "Hold keys down for some seconds",
        {"text": _TEXT, "duration": _NUMBER, "tab_id": _TEXT},
        ("text", "duration"),
    ),
    "hover": _point("Hover"),
    "javascript_exec": ("Run JavaScript and return its last value", {"text": _TEXT, "tab_id": _TEXT}, ("text",)),
    "key": ("Press keys, such as ctrl+a", {"text": _TEXT, "repeat": _WHOLE, "tab_id": _TEXT}, ("text",)),
    "left_click": _point("Click"),
    "left_click_drag": (
        "Drag from one place to another",
        {"from": _TARGET, "target": _TARGET, "tab_id": _TEXT},
        ("from", "target"),
    ),
    "left_mouse_down": _point("Press the left button and hold it"),
    "left_mouse_up": _point("Release the left button"),
    "list_tabs": ("List the open tabs", {}, ()),
    "middle_click": _point("Click with the middle button"),
    "mouse_move": _point("Move the cursor"),
    "navigate": ("Go to a URL, or back, forward, reload", {"url": _TEXT, "tab_id": _TEXT}, ("url",)),
    "new_tab": ("Open a tab", {}, ()),
    "read_console": ("Read what the page wrote to its console", {"tab_id": _TEXT}, ()),
    "read_network": ("Read which requests the page made", {"tab_id": _TEXT}, ()),
    "read_page": (
        "Read the page's accessibility tree, with references to elements",
        {"depth": _WHOLE, "filter": {"type": "string", "enum": ["all", "interactive"]}, "ref": _TEXT, "tab_id": _TEXT},
        (),
    ),
    "right_click": _point("Click with the right button"),
    "screenshot": ("Take a picture of the page", {"tab_id": _TEXT}, ()),
    "scroll": (
        "Scroll the page",
        {"target": _TARGET, "scroll_direction": _WAYS, "scroll_amount": _NUMBER, "tab_id": _TEXT},
        ("target", "scroll_direction"),
    ),
    "scroll_to": _point("Scroll into view"),
    "switch_tab": ("Go to a tab", {"tab_id": _TEXT}, ("tab_id",)),
    "triple_click": _point("Click three times"),
    "type": ("Type a text", {"text": _TEXT, "tab_id": _TEXT}, ("text",)),
    "wait": ("Wait some seconds", {"duration": _NUMBER, "tab_id": _TEXT}, ("duration",)),
    "zoom": ("Take an enlarged picture of a region", {"region": _REGION, "tab_id": _TEXT}, ("region",)),
}
TOOLSETS: Mapping[str, _Members] = {"computer": _COMPUTER, "browser": _BROWSER}
_EDITOR = {
    "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
    "path": _TEXT,
    "file_text": _TEXT,
    "old_str": _TEXT,
    "new_str": _TEXT,
    "insert_line": _WHOLE,
    "insert_text": _TEXT,
    "view_range": {"type": "array", "items": _WHOLE},
}
_MEMORY = {
    "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
    "path": _TEXT,
    "file_text": _TEXT,
    "old_str": _TEXT,
    "new_str": _TEXT,
    "insert_line": _WHOLE,
    "insert_text": _TEXT,
    "view_range": {"type": "array", "items": _WHOLE},
    "old_path": _TEXT,
    "new_path": _TEXT,
}
# The keys are dated types without their date: `bash` is bash_20250124.
_SINGLE: _Members = {
    "bash": ("Run a command in a shell that stays open", {"command": _TEXT, "restart": {"type": "boolean"}}, ()),
    "text_editor": ("View, create and edit files", _EDITOR, ("command", "path")),
    "memory": ("Keep notes in files under /memories", _MEMORY, ("command",)),
    "computer": (
        "Use the computer: take screenshots, move the mouse, press keys",
        {"action": _TEXT, "coordinate": _XY, "text": _TEXT, "duration": _NUMBER, "scroll_direction": _WAYS},
        ("action",),
    ),
}


def single(kind: str) -> tuple[str, dict[str, Any]] | None:
    """Return (description, schema) of a tool by its dated type; None if it is not a tool that a client runs."""
    family = kind.rsplit("_", 1)[0]
    return _entry(_SINGLE[family]) if family in _SINGLE else None


def toolset(kind: str) -> str | None:
    """Return the family of a toolset: `browser` for browser_toolset_20260801; None if it is not a known toolset."""
    family = kind.partition("_toolset_")[0]
    return family if "_toolset_" in kind and family in TOOLSETS else None


def members(family: str) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Return (description, schema) of each tool in a toolset, by its name."""
    return {name: _entry(entry) for name, entry in TOOLSETS[family].items()}


def _entry(entry: tuple[str, Mapping[str, Any], tuple[str, ...]]) -> tuple[str, dict[str, Any]]:
    description, properties, required = entry
    return description, {"type": "object", "properties": dict(properties), "required": list(required)}
