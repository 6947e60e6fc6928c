"""What tests of conversations share: ways to ask for them, and to read what is in them."""

from typing import Any

from tests.conftest import Running


async def at(running: Running, method: str, path: str = "", body: Any = None, **more: Any) -> tuple[int, Any]:
    """Call `/v1/conversations{path}`; return (status, JSON)."""
    if body is not None:
        more["json"] = body
    async with running.session.request(method, f"{running.url}/v1/conversations{path}", **more) as answer:
        return answer.status, await answer.json()


async def made(running: Running, *said: str, **more: Any) -> str:
    """Create a conversation with user messages; return its path."""
    items = [{"role": "user", "content": text} for text in said]
    status, found = await at(running, "POST", "", {"items": items}, **more)
    assert status == 200, found
    return f"/{found['id']}"


async def texts(running: Running, path: str, **more: Any) -> list[str]:
    """Return the texts of a conversation's items, oldest first."""
    status, found = await at(running, "GET", f"{path}/items?order=asc&limit=100", **more)
    assert status == 200, found
    return [part["text"] for item in found["data"] for part in item["content"]]


def lines(sent: dict[str, Any]) -> list[str]:
    """Return the texts that an upstream was sent; those of one side that follow each other may be one message."""
    found: list[str] = []
    for message in sent.get("messages") or sent["input"]:
        content = message["content"]
        parts = [content] if isinstance(content, str) else [part["text"] for part in content]
        found += [line for part in parts for line in part.split("\n")]
    return found
