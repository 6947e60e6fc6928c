"""Reads Responses requests from clients (docs/wire/requests.md)."""

from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.node import Node
from gateway.wire.neutral import Compaction, Format, Request, Sampling, Thinking
from gateway.wire.openai_responses.compaction import lost_management, read_threshold
from gateway.wire.openai_responses.read_items import no_storage, read_input
from gateway.wire.openai_responses.read_tools import read_choice, read_tools
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation.tool_search import settled
from gateway.wire.translation.tools import distinct

LOGPROBS = "message.output_text.logprobs"  # in `include`
INCLUDABLE = frozenset(
    {
        "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
        "message.input_image.image_url", "computer_call_output.output.image_url",
        "code_interpreter_call.outputs", "reasoning.encrypted_content", LOGPROBS,
    }
)  # fmt: skip
# Those that every reply has where the upstream has them, or that are named by themselves.
_INCLUDED = {"reasoning.encrypted_content", LOGPROBS}


def read_request(body: JsonBody) -> Request:
    """Read a Responses request. Raises BadRequest with the place, CannotSay for what no other dialect has."""
    node = Node(body.members)
    no_storage(node)
    node.take("client_metadata")  # what Codex says about itself to OpenAI: nothing that a model reads
    payload, managed = read_input(node), read_threshold(node)
    text, reasoning, choice = node.node("text"), node.node("reasoning"), read_choice(node)
    node.node("stream_options")  # what is in there steers the stream of another server
    _check_include(node)
    payload.lost += lost_management(node)
    if node.flag("store"):
        payload.lost.append("store")  # where the gateway stores the response, it has set this to false
    if node.value("truncation") == "auto":
        payload.lost.append("truncation")
    if set(node.value("include") or ()) - _INCLUDED:
        payload.lost.append("include")
    return Request(
        origin=NAME,
        model=node.text("model") or "",
        system=payload.system,
        turns=payload.turns,
        tools=settled(distinct([*read_tools(node), *payload.tools]), payload.turns, choice),
        choice=choice,
        parallel=node.flag("parallel_tool_calls"),
        max_output=node.whole("max_output_tokens"),
        is_warm_up=node.flag("generate") is False,
        sampling=_read_sampling(node),
        format=_read_format(text),
        thinking=_read_thinking(reasoning),
        compaction=Compaction() if payload.is_triggered else managed,
        is_stream=bool(node.flag("stream")),
        cache_key=node.text("prompt_cache_key"),
        user=node.text("safety_identifier") or node.text("user"),
        tier=node.text("service_tier"),
        verbosity=text.text("verbosity") if text is not None else None,
        metadata=node.mapping("metadata") or None,
        extra=dict.fromkeys([*payload.lost, *node.unread()]),
        echo={name: node.value(name) for name in node.members if name != "input"},
    )


def _read_sampling(node: Node) -> Sampling:
    likeliest = node.whole("top_logprobs") or None
    wants_logprobs = likeliest is not None or LOGPROBS in (node.value("include") or ())
    return Sampling(
        node.number("temperature"),
        node.number("top_p"),
        logprobs=wants_logprobs or None,
        top_logprobs=likeliest,
    )


def _check_include(node: Node) -> None:
    for index, (raw, _) in enumerate(node.items("include")):
        word = bytes(raw).decode().strip('"')
        if word not in INCLUDABLE:
            raise node.refuse(
                f"include[{index}]", f"Invalid value: '{word[:100]}'. Supported: {', '.join(sorted(INCLUDABLE))}"
            )


def _read_format(text: Node | None) -> Format:
    form = text.node("format") if text is not None else None
    if form is None:
        return Format()
    kind = form.needed_text("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise form.refuse("type", f"'{form.at('type')}' must be text, json_object or json_schema")
    if kind != "json_schema":
        return Format(kind)
    name = form.text("name") or "output"
    return Format(kind, name, form.text("description"), form.mapping("schema") or {}, form.flag("strict"))


def _read_thinking(reasoning: Node | None) -> Thinking:
    if reasoning is None:
        return Thinking()
    effort = reasoning.text("effort")
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    return Thinking("off") if effort == "none" else Thinking(effort=effort, summary=summary)
