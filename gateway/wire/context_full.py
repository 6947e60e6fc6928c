"""What each server says when a conversation does not fit into its model: the patterns, with one sample of each.

The samples are from public reports and are what the tests read. Each pattern needs words that only such a refusal
has; all of them are searched in time that is linear in the message.
"""

import re

from attrs import frozen


@frozen
class Sentence:
    """One way to say that the context is full. `status` is the one that it comes with, `source` a public report."""

    server: str
    pattern: str
    sample: str
    status: int = 400
    source: str = ""


# Codes and types that say it without any sentence.
CODES = frozenset(
    {
        "context_length_exceeded",  # OpenAI, and many after it
        "context_window_exceeded",
        "model_context_window_exceeded",  # Z.ai
        "model_max_prompt_tokens_exceeded",  # Copilot
        "exceed_context_size_error",  # llama.cpp
    }
)
SENTENCES = (
    Sentence(
        "Anthropic",
        r"prompt is too long",
        "prompt is too long: 213462 tokens > 200000 maximum",
        source="github.com/stackblitz/bolt.new/issues/2449",
    ),
    Sentence(
        "Anthropic",
        r"exceed.{0,10}context limit",
        "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length or "
        "`max_tokens` and try again",
        source="github.com/docker/docker-agent/issues/569",
    ),
    Sentence(
        "OpenAI",
        r"maximum context length",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens.",
        source="github.com/ChatGPTNextWeb/NextChat/issues/625",
    ),
    Sentence(
        "OpenAI",
        r"exceed.{0,40}context.{0,10}(?:window|length)",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    Sentence(
        "several",
        r"context.{0,10}(?:window|length).{0,40}exceed",
        "The context length of 4096 tokens was exceeded",
    ),
    Sentence("several", r"too many (?:input )?tokens", "Too many input tokens: 9000 of 8192"),
    Sentence("several", r"token limit exceeded", "token limit exceeded for this model"),
    Sentence(
        "Copilot",
        r"prompt token count of.{0,20}exceeds the limit",
        "prompt token count of 93854 exceeds the limit of 90000",
        source="github.com/jjleng/copilot-more/issues/35",
    ),
    Sentence(
        "llama.cpp",
        r"exceeds the available context size",
        "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
        source="github.com/ggml-org/llama.cpp/issues/19774",
    ),
    Sentence(
        "llama.cpp",
        r"context size has been exceeded",
        "Context size has been exceeded.",
        status=500,
        source="github.com/ggml-org/llama.cpp/issues/19774",
    ),
    Sentence(
        "llama-cpp-python",
        r"exceed context window",
        "Requested tokens (2285) exceed context window of 2048",
        status=500,
        source="github.com/fedora-copr/logdetective-website/pull/193",
    ),
    Sentence(
        "SGLang",
        r"longer than the model's context length",
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        source="github.com/QwenLM/Qwen3/issues/1321",
    ),
    Sentence(
        "SGLang",
        r"input length.{0,40}exceeds the maximum",
        "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
        source="github.com/sgl-project/sglang/issues/4048",
    ),
    Sentence(
        "vLLM",
        r"too long to fit into the model",
        "The prompt (total length 25938) is too long to fit into the model (context length 4096).",
        source="github.com/vllm-project/vllm/issues/12165",
    ),
    Sentence(
        "vLLM",
        r"longer than the maximum model length",
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
    ),
    Sentence(
        "xAI",
        r"maximum prompt length",
        "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
        source="github.com/cline/cline/issues/3120",
    ),
    Sentence(
        "Moonshot",
        r"exceeded model token limit",
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)",
    ),
    Sentence(
        "Gemini",
        r"input token count.{0,30}exceeds the maximum",
        "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        source="github.com/google-gemini/gemini-cli/issues/6678",
    ),
    Sentence(
        "Z.ai",
        r"prompt exceeds max length",
        "Prompt exceeds max length",
        source="github.com/zeroclaw-labs/zeroclaw/issues/4124",
    ),
    Sentence(
        "LM Studio",
        r"greater than the context length",
        "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13055>= "
        "n_ctx: 4096). Try to load the model with a larger context length, or provide a shorter input.",
        source="github.com/Gitlawb/openclaude/issues/353",
    ),
    Sentence(
        "LM Studio",
        r"loaded with context length of only",
        "Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context "
        "length of only 7866 tokens, which is not enough.",
        source="github.com/cline/cline/issues/3664",
    ),
    Sentence(
        "DashScope",
        r"range of input length should be",
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 204800]",
        source="github.com/QwenLM/qwen-code/issues/98",
    ),
    Sentence(
        "Ollama",
        r"prompt too long; exceeded",
        "prompt too long; exceeded max context length by 100918 tokens",
    ),
    Sentence(
        "Ollama",
        r"input (?:length )?exceeds.{0,30}context length",
        "the input length exceeds the context length",
    ),
    Sentence(
        "MiniMax",
        r"context window exceeds limit",
        "invalid params, context window exceeds limit (2013)",
        source="github.com/MiniMax-AI/MiniMax-M2/issues/119",
    ),
    Sentence(
        "Mistral",
        r"too large for model with \d{1,12} maximum context",
        "Prompt contains 140000 tokens, too large for model with 131072 maximum context length",
    ),
    Sentence(
        "Bedrock",
        r"input is too long",
        "The model returned the following errors: Input is too long for requested model.",
        source="github.com/aws-samples/bedrock-chat/issues/95",
    ),
    Sentence(
        "TGI",
        r"inputs` tokens \+ `max_new_tokens` must be",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3474 `inputs` tokens and "
        "60 `max_new_tokens`",
        status=422,
        source="github.com/huggingface/llm-vscode/issues/94",
    ),
    Sentence(
        "TGI",
        r"inputs` must have less than",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 1168",
        status=422,
        source="github.com/huggingface/text-generation-inference/issues/695",
    ),
    Sentence(
        "Groq",
        r"reduce the length of the messages",
        "Please reduce the length of the messages or completion.",
    ),
)
# A 413 is the limit of the server in front of the model, a 429 one of a minute: neither says this by its words.
_STATUSES = frozenset({400, 422, 500, 502})
_WORDS = re.compile("|".join(sentence.pattern for sentence in SENTENCES), re.IGNORECASE)


def says_full(status: int, message: str) -> bool:
    """Whether a refusal says in words that the conversation is too long. 502 is an error in a 200 without a status."""
    return status in _STATUSES and _WORDS.search(message) is not None
