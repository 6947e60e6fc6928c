"""Summaries in the place of the conversation that they stand for: read, placed, and asked for."""

from typing import Any

import pytest

from gateway.wire.neutral import (
    Block,
    Compacted,
    Compaction,
    Reasoning,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Usage,
)
from gateway.wire.openai_responses.compaction import is_asked, made
from gateway.wire.profile import Profile
from gateway.wire.translation.ahead import total
from gateway.wire.translation.compaction import (
    ASK,
    LOST,
    SUMMARY_HEAD,
    UNREADABLE,
    asking,
    continued,
    is_due,
    open_summaries,
    placed,
    question,
)
from gateway.wire.translation.envelope import Sealer, is_envelope
from tests.wire.crossings import SEALER, body, request_of, written
from tests.wire.responses_to_others import sent

CALL, RESULT = ToolCall("c1", "f", "{}"), ToolResult("c1", (Text("red"),))


def user(*blocks: Block | str) -> Turn:
    return Turn(Role.USER, tuple(Text(one) if isinstance(one, str) else one for one in blocks))


def model(*blocks: Block | str) -> Turn:
    return Turn(Role.ASSISTANT, user(*blocks).blocks)


def told(summary: str = "s") -> Turn:
    return user(SUMMARY_HEAD + summary)


WHOLE = Compacted("s", is_whole=True)


@pytest.mark.parametrize(
    ("turns", "after"),
    [
        ([user("a"), model("b"), user("c"), model(WHOLE, "d"), user("e")], [told(), user("c"), model("d"), user("e")]),
        ([user("a"), model(CALL), user(RESULT), model(WHOLE)], [told(), model(CALL), user(RESULT)]),
        ([user("a"), model(CALL), user("b", WHOLE, "c")], [told(), user("b"), user("c")]),
        ([user("a"), model("b", WHOLE)], [told()]),
        ([user("a", Compacted("s"), "b")], [user("a"), told(), user("b")]),
        ([model(Compacted("one", is_whole=True)), user("a"), model(WHOLE)], [told(), user("a")]),
        ([user("a"), user(Compacted(sealed="gw1.x"))], [user("a"), user(Compacted(sealed="gw1.x"))]),
        ([model(), user("a")], [model(), user("a")]),
    ],
)
def test_a_summary_takes_the_place_of_what_it_stands_for(turns: list[Turn], after: list[Turn]) -> None:
    """Only a whole summary removes what is before it, except the last turn and the calls which that one answers."""
    assert placed(turns) == after


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_sealed_summary_is_opened_by_its_owner(is_whole: bool) -> None:
    """It comes back as it was; for anybody else, and for an envelope of reasoning, the loss is told."""
    text = SEALER.seal_summary("Größe 😀", is_whole=is_whole)
    assert is_envelope(text) and SEALER.open_summary(text) == ("Größe 😀", is_whole)
    request = Request("openai_responses", "m", turns=[user("a"), model("b"), user(Compacted(sealed=text), "c")])
    open_summaries(request, SEALER)
    kept = [] if is_whole else [user("a"), model("b")]
    assert request.turns == [*kept, told("Größe 😀"), user("c")] and not request.extra
    for sealed in (
        Sealer(b"x", "owner").seal_summary("s"),
        text[:-3],
        "gw1.",
        SEALER.seal(Reasoning(("a", "b"), sealed="x")),
    ):
        request = Request("openai_responses", "m", turns=[user("a", Compacted(sealed=sealed))])
        open_summaries(request, SEALER)
        assert request.turns == [user("a", UNREADABLE)] and LOST in request.extra


def test_what_the_target_is_asked() -> None:
    """The question stands behind the conversation, whose beginning stays; tools stay and may not be called."""
    request = Request("o", "m", turns=[user("a")], tools=[Tool("f")], stops=["x"], compaction=Compaction())
    asked = asking(request, Profile())
    assert asked.turns == [user("a"), user(ASK)] and asked.tools == request.tools and not asked.stops
    assert asked.choice == ToolChoice("none")
    assert asking(request, Profile(tool_choice=("auto",))).choice is None
    assert question(Compaction(instructions="x")) == f"{ASK}\n\nx"
    assert question(Compaction(instructions="x", replaces=True)) == "x"
    assert question(Compaction(instructions=" ", replaces=True)) == ASK
    assert continued(request, "s").turns == [told(), user("a")] and continued(request, "s").compaction is None


def test_when_it_is_due() -> None:
    """At once, or from the threshold on."""
    long = [user("word " * 1000)]
    assert not is_due(Request("o", "m", turns=long), 1.0)
    assert is_due(Request("o", "m", compaction=Compaction()), 1.0)
    assert is_due(Request("o", "m", turns=long, compaction=Compaction(900)), 1.0)
    assert not is_due(Request("o", "m", turns=long, compaction=Compaction(5000)), 1.0)
    assert is_due(Request("o", "m", turns=long, compaction=Compaction(5000)), 9.0)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"input": [{"role": "user", "content": "a"}, {"type": "compaction_trigger", "id": "x" * 64}]}, Compaction()),
        ({"input": [{"type": "compaction_trigger"}, {"role": "user", "content": "a"}]}, None),
        ({"input": "compaction_trigger"}, None),
        ({"input": "a", "context_management": [{"type": "compaction", "compact_threshold": 7}]}, Compaction(7)),
        ({"input": "a", "context_management": [{"type": "compaction"}]}, Compaction(150_000)),
        ({"input": "a", "context_management": []}, None),
        ({"input": "a", "context_management": None}, None),
    ],
)
def test_what_a_responses_client_asks(more: dict[str, Any], wanted: Compaction | None) -> None:
    """A trigger counts as the last item only; a look at the bytes never misses what the reader finds."""
    request = request_of("openai_responses", {"model": "m"} | more)
    assert request.compaction == wanted and not request.extra
    assert is_asked(body(more)) or wanted is None


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_anthropics_summary_crosses_as_text(upstream: str) -> None:
    """The readable content goes on, and what it stands for goes; a compaction that has failed is nothing."""
    block = {"type": "compaction", "content": "Sheds.", "signature": "sig", "encrypted_content": "enc"}
    failed = {"type": "compaction", "content": None}
    messages = [
        {"role": "user", "content": "old"}, {"role": "assistant", "content": [failed, {"type": "text", "text": "old"}]},
        {"role": "assistant", "content": [block, {"type": "text", "text": "new"}]}, {"role": "user", "content": "Go."},
    ]  # fmt: skip
    out, memo = written("anthropic_messages", {"model": "m", "max_tokens": 99, "messages": messages}, upstream=upstream)
    assert "Sheds." in str(out) and "old" not in str(out) and "compaction" not in str(out) and not memo.drops.names


@pytest.mark.parametrize("kind", ["compaction", "context_compaction", "compaction_summary"])
def test_openais_summary_is_told_where_it_is_lost(kind: str) -> None:
    """Its loss is named; directly behind its trigger nothing is lost, and one without content is nothing."""
    item = {"type": kind, "encrypted_content": "gAAAA"}
    out, drops = sent(input=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, item])
    assert UNREADABLE in str(out) and drops == [LOST]
    given = [{"role": "user", "content": "a"}, {"type": "compaction_trigger"}, item]
    for items in (given, [given[0], {"type": kind}]):
        out, drops = sent(input=items)
        assert [one["content"] for one in out["messages"]] == ["a"] and not drops


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'data: {"type":"response.output_item.done","item":{"type":"compaction","encrypted_content":"x"}}', ["x"]),
        (b'{"output":[{"type":"message"},{"type":"compaction","encrypted_content":"y"}]}', ["y"]),
        (b'{"output":[{"type":"compaction","encrypted_content":"gw1.y"}, 5]}', []),
        (b'data: {"type":"compaction"', []),
        (b'data: {"item": 5, "x": "compaction"}', []),
        (b": compaction", []),
    ],
)
def test_sealed_compactions_in_a_reply(data: bytes, found: list[str]) -> None:
    """They are seen in frames and whole replies; ours, and what is no JSON, are not."""
    assert list(made(data)) == found


def test_tokens_of_two_calls() -> None:
    """Counts are added; an unknown one stays what the other knows."""
    assert total(Usage(1, output=2), Usage(3, cache_read=4, output=5)) == Usage(4, 4, None, 7)
    assert total(None, Usage(1)) == Usage(1) and total(Usage(1), None) == Usage(1)
