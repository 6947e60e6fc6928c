"""Reads the words by which servers say why a model stopped, of whatever dialect, as one table.

Servers use each other's words: Mistral says `model_length`, Z.ai `sensitive`, Google's compatible endpoint
`content_filter: RECITATION` (docs/wire/replies.md#stop-reasons). A word that is not in the table is a plain end only if
it does not sound like one of the others: a cut reply must not look finished.
"""

import re
from enum import StrEnum
from functools import lru_cache

from gateway.wire.neutral import StopReason


class Failed(StrEnum):
    """What is said in the place of a stop reason when the reply has failed."""

    FAILED = "failed"


Meaning = StopReason | Failed
_WORDS: dict[Meaning, str] = {
    StopReason.END: """
        stop stopped stop_word stop_words stop_str stop_token end end_turn end_of_turn eos eos_token eot eot_token
        eos_found stopped_eos stopped_word im_end complete completed finish finished done success normal ok natural
        steered
    """,
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.TOOLS: "tool_calls tool_call tool_use function_call function_calls tools",
    StopReason.LENGTH: """
        length max_length max_len max_context time_limit stopped_limit model_length max_tokens max_output_tokens
        max_completion_tokens max_new_tokens max_messages max_output_reached max_context_length max_tool_calls
        model_context_window_exceeded context_window_exceeded context_length_exceeded context_length context_limit
        context_full token_limit token_limit_reached tokens_limit output_limit output_length length_limit limit
        error_limit truncated truncation incomplete cut_off cutoff repetition repetition_truncation
        repetition_detected repeat loop
    """,
    StopReason.FILTERED: """
        content_filter content_filtered content_filter_error filter filtered refusal refused sensitive safety
        image_safety recitation image_recitation blocklist blocked prohibited_content image_prohibited_content spii
        language guardrail_intervened guardrail guardrails moderation moderated content_policy
        content_policy_violation policy_violation violation toxic error_toxic flagged unsafe copyright risk
    """,
    StopReason.COMPACTED: "compaction",
    StopReason.PAUSED: "pause_turn",
    Failed.FAILED: """
        error errored model_error server_error internal_error internal_server_error engine_error network_error
        insufficient_system_resource service_unavailable overloaded timeout abort aborted failed failure
        malformed_function_call malformed_tool_call unexpected_tool_call function_call_filter
        cancel cancelled canceled interrupted
    """,
}
WORDS: dict[str, Meaning] = {word: meaning for meaning, words in _WORDS.items() for word in words.split()}
# How a word sounds that is not in the table. The first that is found in it counts.
SOUNDS: tuple[tuple[re.Pattern[str], Meaning], ...] = (
    (re.compile("filter|safety|sensitiv|moderat|polic|prohibit|violat|toxic|harm|refus|unsafe"), StopReason.FILTERED),
    (re.compile("^(eos|eot|stop)_"), StopReason.END),
    (re.compile("length|token|limit|context|window|exceed|truncat|incomplete|budget|repeti"), StopReason.LENGTH),
    (re.compile("error|fail|abort|insufficient|unavailable|overload|timeout|timed_out|malformed"), Failed.FAILED),
)
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
_GAP = re.compile("[^a-z0-9]+")
_PREFIX = re.compile("^(finish|stop)?_?reason_")
MAX_WORD = 100  # letters; a longer word is no word


def spelled(word: str) -> str:
    """Return a word as the table has it: `MAX_TOKENS`, `maxTokens` and `FINISH_REASON_MAX_TOKENS` are `max_tokens`."""
    return _PREFIX.sub("", _GAP.sub("_", _CAMEL.sub("_", word[:MAX_WORD]).lower()).strip("_"))


def meaning_of(word: str) -> Meaning | None:
    """Return what a word means, None if it is unknown. `a: b` means what `a` means, or else `b`."""
    return _meaning_of(word[: 2 * MAX_WORD])


@lru_cache(1024)
def _meaning_of(word: str) -> Meaning | None:
    for part in (word, *word.split(":")):
        if (found := WORDS.get(spelled(part))) is not None:
            return found
    plain = spelled(word)
    return next((meaning for sound, meaning in SOUNDS if sound.search(plain)), None)


def is_failure(word: object) -> bool:
    """Whether a finish reason reports that the reply has failed."""
    return isinstance(word, str) and meaning_of(word) is Failed.FAILED


def is_filter(word: object) -> bool:
    """Whether a finish reason says that the provider's policy has ended the reply."""
    return isinstance(word, str) and meaning_of(word) is StopReason.FILTERED
