"""Whole sessions of Codex, whose first target dies: they go on elsewhere, are compacted there, and go on after it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.wire.translation.compaction import ASK, UNREADABLE
from tests.conftest import Start
from tests.flows.codex import CODEX_ROUTES, LIMIT, NEEDS_CODEX, Codex, Providers, call, command, patch, response

pytestmark = [pytest.mark.slow, NEEDS_CODEX]
SECONDS = pytest.mark.parametrize("second", ["oai", "ant"])
MAKE = command("echo made > made.txt; cat made.txt")
EDIT = patch("*** Update File: made.txt", "@@", "-made", "+mended")
ADD = patch("*** Add File: after.txt", "+after the compaction")
RENAME = command("mv after.txt last.txt")
SUMMARY = "made.txt is mended, after.txt is missing."
# How a target dies: it refuses from now on, or it dies in the middle of a stream and accepts nothing after that.
DEATHS: dict[str, list[dict[str, Any]]] = {
    "refuses": [{"status": 500}],
    "breaks off": [
        {**call("res", MAKE), "fault": "reset_in_body", "after": 4, "times": 1},
        {"fault": "reset_before_head"},
    ],
}


def offered(body: Any) -> set[str]:
    """Return the names of the tools that Codex has put into its input, as other dialects have them."""
    (added,) = [item for item in body["input"] if item["type"] == "additional_tools"]
    return {f"{space['name']}__{tool['name']}" for space in added["tools"] for tool in space["tools"]}


def sent(body: Any) -> str:
    """Return all that a request says, without its tools."""
    return json.dumps(body.get("messages"))


@SECONDS
@pytest.mark.parametrize("death", DEATHS)
async def test_a_session_outlives_its_first_target(
    start: Start, provider: Providers, tmp_path: Path, second: str, death: str
) -> None:
    """One session makes a file, loses its target, edits the file, is compacted, works on, and is taken up again."""
    running = await start(CODEX_ROUTES.replace("SECOND", second))
    provider("res").will(**call("res", MAKE), times=1)
    for behaviour in DEATHS[death]:
        provider("res").will(**behaviour)
    provider(second).will(**call(second, EDIT, LIMIT + 1), times=1)
    provider(second).will(text=SUMMARY, times=1)
    provider(second).will(**call(second, ADD), times=1)
    provider(second).will(text="It is done.", times=1)
    provider(second).will(**call(second, RENAME), times=1)
    provider(second).will(text="That is done too.")
    codex = Codex(tmp_path, running.url)
    first = await codex.run("Make a file, then mend it")
    assert "context compacted" in first and "It is done." in first and "unsupported" not in first, first
    assert (tmp_path / "made.txt").read_text() == "mended\n", first
    assert (tmp_path / "after.txt").read_text() == "after the compaction\n", first
    again = await codex.run("resume", "--last", "Rename it")
    assert "That is done too." in again and (tmp_path / "last.txt").exists(), again
    sessions = {re.findall("session id: (.*)", out)[0] for out in (first, again)}
    assert len(sessions) == 1
    before, asked, *after = [seen.json for seen in provider(second).seen]
    assert {tool.get("function", tool)["name"] for tool in before["tools"]} == offered(provider("res").seen[0].json)
    assert len(after) == 4 and all(body["tools"] == before["tools"] for body in (asked, *after))
    assert "made.txt" in sent(before) and ASK in sent(asked) and "mended" in sent(asked)
    for body in after:
        assert SUMMARY in sent(body) and "mended" not in sent(body).replace(SUMMARY, "") and ASK not in sent(body)


@SECONDS
async def test_a_session_is_compacted_by_hand(start: Start, provider: Providers, tmp_path: Path, second: str) -> None:
    """What `/compact` does works on a target that makes no compactions, in the middle of a session."""
    running = await start(CODEX_ROUTES.replace("SECOND", second))
    provider("res").will(**call("res", MAKE), times=1)
    provider("res").will(status=500)
    provider(second).will(text="It is made.", times=1)
    provider(second).will(text=SUMMARY, times=1)
    provider(second).will(**call(second, EDIT), times=1)
    provider(second).will(text="It is done.")
    async with Codex(tmp_path, running.url).serve() as session:
        await session.turn("Make a file")
        await session.compact()
        await session.turn("Mend it")
    assert (tmp_path / "made.txt").read_text() == "mended\n"
    _, asked, *after = [seen.json for seen in provider(second).seen]
    assert ASK in sent(asked) and "It is made." in sent(asked) and len(after) == 2
    assert all(SUMMARY in sent(body) and "It is made." not in sent(body) for body in after)


@SECONDS
async def test_what_openai_has_sealed_is_told(start: Start, provider: Providers, tmp_path: Path, second: str) -> None:
    """OpenAI compacts a session and dies: the next target's model is told that the summary cannot be read there."""
    running = await start(CODEX_ROUTES.replace("SECOND", second))
    sealed = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA-sealed"}
    usage = {"input_tokens": 50, "output_tokens": 5, "total_tokens": 55}
    provider("res").will(**call("res", MAKE, LIMIT + 1), times=1)
    provider("res").will(frames=response([sealed], usage), times=1)
    provider("res").will(**call("res", EDIT), times=1)
    provider("res").will(status=500)
    provider(second).will(**call(second, ADD), times=1)
    provider(second).will(text="It is done.")
    out = await Codex(tmp_path, running.url).run("Make a file, then mend it")
    assert "context compacted" in out and "It is done." in out, out
    assert (tmp_path / "made.txt").read_text() == "mended\n" and (tmp_path / "after.txt").exists(), out
    items = [item for seen in provider("res").seen for item in seen.json["input"]]
    assert items.count({"type": "compaction_trigger"}) == 1 and sealed in items
    for seen in provider(second).seen:
        assert UNREADABLE in sent(seen.json) and "gAAAA" not in sent(seen.json) and "mended" in sent(seen.json)
