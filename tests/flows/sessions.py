"""Conversations of several turns, and what the mock saw of them."""

from itertools import pairwise
from typing import Any

from tests.conftest import Provider, Running

# Two providers with two keys each; every route has both.
PLACES = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
breaker: {failures: 2, rest: 30s}
affinity: {warm: 5m}
providers:
  one: {base_url: MOCK/one/v1, auth: {bearer: [{env: ONE}, {env: TWO}]}, speaks: [SPOKEN]}
  two: {base_url: MOCK/two/v1, auth: {bearer: [{env: ONE}, {env: TWO}]}, speaks: [SPOKEN]}
routes:
  stay: {policy: sticky, targets: ["one:m", "two:m"]}
  turns: {policy: round_robin, targets: ["one:m", "two:m"]}
  first: ["one:m", "two:m"]
"""
CHAT = PLACES.replace("SPOKEN", "openai_chat")
Place = tuple[str, str]  # a provider, and the key that was shown to it


def turns_of(name: str, number: int) -> list[dict[str, Any]]:
    """Return the messages of turn `number` of a conversation, as Chat and Messages write them."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": f"I am {name}"}]
    for one in range(number):
        turns += [{"role": "assistant", "content": f"Yes, {one}"}, {"role": "user", "content": f"And {one}?"}]
    return turns


async def take_turn(running: Running, model: str, name: str, number: int, **more: Any) -> int:
    """Take one turn of a conversation at Chat; return the status."""
    headers = more.pop("headers", {})
    body = {"model": model, "messages": turns_of(name, number), **more}
    async with running.post("/v1/chat/completions", body, headers=headers) as answer:
        await answer.read()
        return int(answer.status)


def places(*providers: Provider) -> list[Place]:
    """Return where each request went, in the order in which the mock has seen them."""
    names = {one.name for one in providers}
    return [
        (seen.name, seen.headers.get("Authorization") or seen.headers.get("x-api-key") or "")
        for seen in providers[0].server.seen
        if seen.name in names
    ]


def moves(found: list[Place]) -> int:
    """Count how often a conversation went elsewhere than the turn before."""
    return sum(before != after for before, after in pairwise(found))
