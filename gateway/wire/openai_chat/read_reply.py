"""Reads replies of Chat upstreams, whole and streamed, with the oddities of compatible servers.

See docs/wire/streaming.md#reading-a-chat-stream.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from gateway.errors import Broke, Unreadable
from gateway.wire.codec.lenient import Junk, is_filled, read_object, service_tier
from gateway.wire.codec.sse import read_frame
from gateway.wire.codec.text import printable
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    LogprobsSeen,
    Started,
    StateSeen,
    UsageSeen,
    fold,
)
from gateway.wire.neutral import (
    Citation,
    Image,
    Logprob,
    Reasoning,
    Refusal,
    Reply,
    Source,
    Stop,
    StopReason,
    Text,
)
from gateway.wire.openai_chat.choices import calls_in, complementing
from gateway.wire.openai_chat.read_calls import Calls
from gateway.wire.openai_chat.read_messages import FORMATS
from gateway.wire.openai_chat.repeats import Repeats
from gateway.wire.openai_chat.tools import NAME
from gateway.wire.openai_chat.usage import read_usage
from gateway.wire.provider_error import read_inner
from gateway.wire.translation import media
from gateway.wire.translation.finish import Failed, meaning_of
from gateway.wire.translation.logprobs import Logprobs, ending
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.options import is_on
from gateway.wire.translation.think_tags import ThinkFilter

_PARTS = {"audio": "with sound", "video_url": "with a video", "video": "with a video", "file": "with a file"}
_PICTURES = ("image_url", "b64_json", "source", "image")  # the members that hold one
MAX_KIND = 40  # letters of an unknown content part
_Said = Mapping[str, Any]


@define
class ChatReader:
    """Reads one reply into events, and keeps the state between its chunks.

    A Chat chunk has no block boundaries, so the reader makes them. The first piece of content, of reasoning or of a
    refusal opens a block, and further pieces of the same kind go into this block. Content ends an open thought;
    a refusal, a new call, a picture or a sound ends whatever text and thought are open. Reasoning that comes behind
    content opens a thought beside the open text. Calls stay open until the reply ends, as servers mix their arguments.

    So several blocks may be open at once. For clients whose dialect has one block after the other,
    `translation.sequence` puts the events into order.
    """

    memo: Memo
    is_over: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    _next: int = field(default=0, init=False)
    _text: int | None = field(default=None, init=False)
    _refusal: int | None = field(default=None, init=False)
    _thought: int | None = field(default=None, init=False)
    _thought_key: str = field(default="", init=False)
    _state: dict[str, str] = field(factory=dict, init=False)  # of the open thought: what its provider wants back
    _calls: Calls = field(init=False)
    _think: ThinkFilter | None = field(default=None, init=False)
    _has_started: bool = field(default=False, init=False)
    _has_usage: bool = field(default=False, init=False)
    _repeats: Repeats = field(factory=Repeats, init=False)
    _has_finished: bool = field(default=False, init=False)  # a finish reason has come
    _goes_on: bool = field(default=False, init=False)  # content came behind a finish reason: only the end is the end
    _reason: StopReason | None = field(default=None, init=False)
    _sequence: str | None = field(default=None, init=False)
    _shown: set[int] = field(factory=set, init=False)  # hashes of the pictures so far
    _untold: str = field(default="", init=False)  # what it sent that has no text so far: a sound, a video
    _junk: Junk = field(factory=Junk, init=False)
    _logprobs: Logprobs = field(init=False)
    _tokens: list[Logprob] = field(factory=list, init=False)  # of text that was not said yet

    def __attrs_post_init__(self) -> None:
        self._logprobs = Logprobs(bool(self.memo.request.sampling.logprobs))
        self._calls = Calls(self.memo)
        if self.memo.profile.think_tags:
            self._think = ThinkFilter(is_opened_unseen=is_on(self.memo.request.thinking))

    def feed(self, frame: bytes) -> Sequence[Event]:
        if self.is_over:
            return ()
        read = read_frame(frame)
        if read.data is None:
            return ()
        data = read.data.strip()
        if data == b"[DONE]":
            return list(self._end(is_complete=self._has_usage))
        if (payload := self._junk.read(data.removeprefix(b"data: "))) is None:
            return ()
        error = payload.get("error")
        if error is not None or read.event == "error" or payload.get("object") == "error":
            raise read_inner(NAME, error if error is not None else payload)
        return list(self._read(payload))

    def end(self) -> Sequence[Event]:
        return () if self.is_over else list(self._end())

    def read_whole(self, payload: _Said) -> Iterator[Event]:
        """Read a whole reply. One server spreads a single message over several choices: see `complementing`."""
        self._calls.is_whole = True
        yield from self._read(payload, only_first=False)
        yield from self._end(is_complete=True)

    def _read(self, payload: _Said, only_first: bool = True) -> Iterator[Event]:
        choices = payload.get("choices")
        choices = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
        if choices and not self._has_started:
            self._has_started = True
            tier = payload.get("service_tier")
            yield Started(
                str(payload.get("id") or ""), str(payload.get("model") or ""), tier if isinstance(tier, str) else None
            )
        groq = payload.get("x_groq")
        for place in (payload, groq, choices[0] if choices else None):
            if isinstance(place, dict) and (usage := read_usage(place.get("usage"))) is not None:
                self._has_usage = True
                yield UsageSeen(evolve(usage, tier=service_tier(payload.get("service_tier"))))
                break
        for choice in [one for one in choices if not one.get("index")] if only_first else complementing(choices):
            yield from self._read_choice(choice)

    def _read_choice(self, choice: _Said) -> Iterator[Event]:
        if choice.get("error") is not None:
            raise read_inner(NAME, choice["error"])
        delta = self._repeats.unsaid(choice, len(self._calls.slots.all))
        if self._logprobs.is_asked:
            self._read_logprobs(choice, delta)
        said = list(self._read_delta(delta))
        self._goes_on |= self._has_finished and bool(said)
        yield from said
        if self._tokens:
            yield from self._end_tokens()
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish not in ("", "null"):
            self._note_finish(finish)
            for name in ("stop_reason", "matched_stop"):  # of vLLM, of SGLang; a number is a token's
                if isinstance(sequence := choice.get(name), str):
                    self._sequence = sequence
        self.is_finished = self._has_finished and not self._goes_on

    def _read_logprobs(self, choice: _Said, delta: _Said) -> None:
        """Keep the tokens of a delta with text. One with nothing at all may have half a character, or the very end."""
        given = choice.get("logprobs")
        says = {name for name, value in delta.items() if value and name != "role"}
        if isinstance(given, dict) and ("content" in says or not (says or choice.get("message"))):
            self._tokens += self._logprobs.read(given.get("content"))

    def _end_tokens(self) -> Iterator[Event]:
        """Add tokens without text to the open text; those of a thought are nobody's, all others wait."""
        if self._thought is not None:
            self._tokens = []
        elif self._text is not None:
            yield LogprobsSeen(self._text, tuple(self._tokens))
            self._tokens = []

    def _note_finish(self, word: str) -> None:
        """Take a finish reason. The last one counts, as some servers say `stop` with every chunk."""
        meaning = meaning_of(word)
        if isinstance(meaning, Failed):
            raise Broke("The provider ended the reply with an error")
        if meaning is None:
            self.memo.odd_finish = word
        self._has_finished, self._reason = True, meaning or self._reason

    def _read_delta(self, delta: _Said) -> Iterator[Event]:
        details = delta.get("reasoning_details")
        if isinstance(details, list) and details:
            self._know_thoughts()
            for detail in details:
                if isinstance(detail, dict):
                    yield from self._read_detail(detail)
        elif isinstance(thought := delta.get("reasoning_content") or delta.get("reasoning"), str) and thought:
            self._know_thoughts()
            yield from self._think_on("plain", thought)
        content = delta.get("content")
        if isinstance(content, str):
            if content:
                yield from self._say(content)
        elif isinstance(content, list):
            yield from self._read_parts(content)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            yield from self._refuse(refusal)
        self._calls.slots.next_delta()
        for call in calls_in(delta):
            if self._calls.is_new(call):
                yield from self._end_prose()
                yield from self._calls.feed(call, self._take_index())
            else:
                yield from self._calls.feed(call, 0)
        yield from self._read_extras(delta)

    def _know_thoughts(self) -> None:
        """Expect no closing tag in the text of a server that tells its reasoning apart itself."""
        if self._think is not None:
            self._think.is_opened_unseen = False

    def _read_extras(self, delta: _Said) -> Iterator[Event]:
        annotations = delta.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else ():
            cited = annotation.get("url_citation") if isinstance(annotation, dict) else None
            if isinstance(cited, dict) and self._text is not None:
                yield CitationAdded(self._text, Citation(NAME, annotation, cited.get("url"), cited.get("title")))
        images = delta.get("images")
        for image in images if isinstance(images, list) else ():
            yield from self._show(image)
        if isinstance(audio := delta.get("audio"), dict):
            yield from self._hear(audio)

    def _show(self, part: Any) -> Iterator[Event]:
        """A picture, in `images` or in the content. Some servers repeat it in a later chunk."""
        if not is_filled(part):
            return
        place = next(filter(None, map(part.get, _PICTURES)), None) if isinstance(part, dict) else part
        url = place.get("url") or place.get("data") if isinstance(place, dict) else place
        url = url if isinstance(url, str) else ""
        if hash(url) in self._shown:
            return
        self._shown.add(hash(url))
        try:
            source = media.read_url(url) if url else Source()
        except ValueError:
            source = Source()
        yield from self._end_prose()
        index = self._take_index()
        yield BlockStarted(index, Image(source))
        yield BlockEnded(index)

    def _hear(self, audio: _Said) -> Iterator[Event]:
        """A sound: its transcript is the text of the reply, and its bytes are a loss. An empty object is nothing."""
        if audio.get("data"):
            self._untold = "audio"
            self.memo.drops.add("audio")
        if isinstance(text := audio.get("transcript"), str) and text:
            self._untold = ""
            yield from self._say(text)

    def _read_detail(self, detail: _Said) -> Iterator[Event]:
        """One entry of `reasoning_details`: a text, a summary, a signature or sealed state."""
        key = f"#{detail.get('index', 0)}"
        text = detail.get("text") or detail.get("summary")
        is_summary = detail.get("type") == "reasoning.summary"
        yield from self._think_on(key, text if isinstance(text, str) else "", is_summary, detail.get("format"))
        for name in ("signature", "data", "id"):
            if isinstance(value := detail.get(name), str) and value:
                self._state[name] = value

    def _read_parts(self, parts: Sequence[Any]) -> Iterator[Event]:
        """Mistral's content: a list of texts and thoughts."""
        for part in parts:
            if not isinstance(part, dict):
                continue
            if isinstance(text := part.get("text"), str) and text:
                yield from self._say(text)
            elif any(name in part for name in _PICTURES):
                yield from self._show(part)
            elif isinstance(audio := part.get("audio") or part.get("input_audio"), dict):
                yield from self._hear(audio)
            elif part.get("type") == "thinking":
                thought = part.get("thinking")
                if isinstance(thought, list):
                    thought = "".join(str(one.get("text") or "") for one in thought if isinstance(one, dict))
                if isinstance(thought, str) and thought:
                    yield from self._think_on("plain", thought)
            elif isinstance(kind := part.get("type"), str) and is_filled(part.get(kind)):
                self._untold = printable(kind, MAX_KIND)
                self.memo.drops.add(self._untold)

    def _say(self, text: str) -> Iterator[Event]:
        if self._think is None:
            yield from self._say_text(text)
            return
        yield from self._sort(self._think.feed(text))

    def _sort(self, pieces: Iterator[tuple[bool, str]]) -> Iterator[Event]:
        for is_thought, piece in pieces:
            yield from self._think_on("plain", piece) if is_thought else self._say_text(piece)

    def _say_text(self, text: str) -> Iterator[Event]:
        if self._text is None:
            yield from self._end_thought()
            self._text = self._take_index()
            yield BlockStarted(self._text, Text(""))
        if self._tokens:
            yield LogprobsSeen(self._text, ending(self._tokens, text))
            self._tokens = []
        yield BlockDelta(self._text, text)

    def _refuse(self, text: str) -> Iterator[Event]:
        if self._refusal is None:
            yield from self._end_prose()
            self._refusal = self._take_index()
            yield BlockStarted(self._refusal, Refusal(""))
        yield BlockDelta(self._refusal, text)

    def _think_on(self, key: str, text: str, is_summary: bool = False, form: Any = None) -> Iterator[Event]:
        if self._thought is not None and key != self._thought_key:
            yield from self._end_thought()
        if self._thought is None:
            self._thought, self._thought_key = self._take_index(), key
            origin = FORMATS.get(form, form) if isinstance(form, str) else NAME
            yield BlockStarted(self._thought, Reasoning(is_summary=is_summary, origin=origin))
        if text:
            yield BlockDelta(self._thought, text)

    def _end_thought(self) -> Iterator[Event]:
        if self._thought is not None:
            if rest := self._junk.halves.rest("thinking", "reasoning", "reasoning_content", "reasoning_details"):
                yield BlockDelta(self._thought, rest)
            if state := self._state:
                yield StateSeen(self._thought, state.get("signature"), state.get("data"), state.get("id"))
                self._state = {}
            yield BlockEnded(self._thought)
            self._thought = None

    def _end_prose(self) -> Iterator[Event]:
        if self._think is not None:
            yield from self._sort(self._think.end())
        yield from self._end_thought()
        for index, name in ((self._text, "content"), (self._refusal, "refusal")):
            if index is not None:
                if rest := self._junk.halves.rest(name):
                    yield BlockDelta(index, rest)
                yield BlockEnded(index)
        self._text = self._refusal = None
        self._tokens = []

    def _end(self, is_complete: bool = False) -> Iterator[Event]:
        """End the reply. Without a finish reason it has ended if it says something and is otherwise complete.

        See docs/wire/streaming.md#ending-a-stream. `is_complete`: its body is whole, or `[DONE]` stands behind usage.
        """
        if not self._has_finished and not (self._next and (is_complete or self.memo.profile.no_finish)):
            raise Broke("The provider's stream ended before the model had finished")
        if not self._has_finished:
            self.memo.odd_finish = "none"
        self.is_over = self.is_finished = True
        has_refused = self._refusal is not None
        if self._untold and self.memo.request.format.kind == "text":
            what = _PARTS.get(self._untold, f"with '{self._untold}'")
            yield from self._say(f"(The model answered {what}, which this API cannot carry.)")
        yield from self._end_prose()
        yield from self._calls.end()
        reason = StopReason.END
        if self._reason in (StopReason.LENGTH, StopReason.FILTERED):
            reason = self._reason
        if reason is StopReason.END and self._calls.any:
            reason = StopReason.LENGTH if self._calls.is_half else StopReason.TOOLS
        elif reason is StopReason.END and self._sequence is not None and not has_refused:
            reason = StopReason.STOP_SEQUENCE
        yield Finished(Stop(reason, self._sequence if reason is StopReason.STOP_SEQUENCE else None))

    def _take_index(self) -> int:
        self._next += 1
        return self._next - 1


def read_reply(body: bytes, memo: Memo) -> Reply:
    """Read a whole reply. Raises UpstreamFault if it is an error or not a chat completion."""
    payload = read_object(body)
    if payload.get("error") is not None or payload.get("object") == "error":
        raise read_inner(NAME, payload.get("error") or payload)
    if not payload.get("choices"):
        raise Unreadable("The provider's reply has no choices")
    return fold(ChatReader(memo).read_whole(payload))
