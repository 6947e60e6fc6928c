"""One page for each pair of dialects in tests/wire/golden: what goes in, and what comes out, whole.

The pages are documentation that is compared with the code at every run. `make golden` writes the outcomes anew.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gateway.wire.profile import Profile
from tests.wire.crossings import cross, memo_of, write

PAGES = sorted((Path(__file__).parent / "golden").glob("*.md"))
BLOCK = re.compile(
    r"## (?P<title>[^\n]+)\n\n(?P<text>(?:(?!```|## )[^\n]*\n)*)```(?P<kind>\w+)\n(?P<body>.*?)```\n", re.DOTALL
)


def outcome(page: Path) -> dict[str, str]:
    """Return the blocks of a page that the code makes of the others."""
    client, _, upstream = page.stem.partition("__")
    blocks = {found["title"]: found["body"] for found in BLOCK.finditer(page.read_text())}
    request = json.loads(blocks["The client sends"])
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(blocks["What the model can do"]).items()
    }
    profile: Any = evolve(Profile(), **settings)
    memo = memo_of(client, request, profile)
    sent: Any = write(memo, upstream=upstream)
    stream = cross(client, blocks["The provider streams"].encode(), memo, upstream=upstream)
    return {
        "The provider is sent": json.dumps(sent, indent=2, ensure_ascii=False) + "\n",
        "What is lost": "".join(f"{name}\n" for name in memo.drops.names) or "nothing\n",
        "The client gets": stream.decode(),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_the_code_does(page: Path) -> None:
    """The outcomes that stand on a golden page are those that the code makes of its inputs."""
    text = page.read_text()
    found = outcome(page)

    def fill(match: re.Match[str]) -> str:
        body = found.get(match["title"], match["body"])
        return f"## {match['title']}\n\n{match['text']}```{match['kind']}\n{body}```\n"

    made = BLOCK.sub(fill, text)
    if os.environ.get("GATEWAY_GOLDEN") == "write":
        page.write_text(made)
    assert made == text


def test_there_is_a_page_for_each_pair() -> None:
    """Six pages: each of three dialects as a client of each other."""
    names = ("anthropic_messages", "openai_chat", "openai_responses")
    assert [page.stem for page in PAGES] == [f"{one}__{other}" for one in names for other in names if one != other]
