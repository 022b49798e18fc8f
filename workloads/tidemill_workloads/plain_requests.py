"""Requests that need no look at vLLM's types: only well-known keys, each of its plain type and within its range.

Nearly all rows of nearly all files are such. What is plain here is accepted by vLLM's request types and by its sampling
parameters, whatever the values are together: a property test holds this against the real types. What is not plain is
not wrong, vLLM itself judges it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_STOP_STRINGS = 4
"""As many as vLLM takes (VLLM_MAX_STOP_STRINGS)."""

MAX_TEXTS = 1024
"""Prompts in one completion request, as many as vLLM takes (VLLM_MAX_COMPLETION_PROMPTS)."""

_ROLES = frozenset({"system", "user", "assistant"})


def is_plain(url: str, body: Mapping[str, Any]) -> bool:
    """Whether vLLM accepts `body`, but for the length of its prompt and its cap of the output (`output_cap`)."""
    if _PROMPTS[url][0] not in body:
        return False
    checks = _CHECKS[url]
    for key, value in body.items():
        check = checks.get(key)
        if check is None or not check(value):
            return False
    return True


def parameters_key(url: str, body: Mapping[str, Any]) -> bytes | None:
    """The same for all bodies with the same parameters: what vLLM says of one's parameters holds for the others.

    None where the prompt is not plain, or a parameter may have to do with it.
    """
    prompt, is_prompt = _PROMPTS[url]
    if not is_prompt(body.get(prompt)):
        return None
    rest = {key: value for key, value in body.items() if key not in _NO_PARAMETERS}
    if not rest.keys() <= _CHECKS[url].keys() | _APART_FROM_THE_PROMPT:
        return None
    return url.encode() + msgspec.json.encode(rest)


def output_cap(body: Mapping[str, Any]) -> int:
    """The most tokens that a plain request asks for, 0 where it leaves that to the model."""
    cap = body.get("max_completion_tokens")
    if cap is None:
        cap = body.get("max_tokens")
    return cap or 0


def prompts(value: Any) -> list[str] | list[list[int]]:
    """The prompts in a plain `prompt` or `input`."""
    if isinstance(value, str):
        return [value]
    return [value] if isinstance(value[0], int) else value


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _tokens(value: list[Any]) -> bool:
    return all(type(item) is int and item >= 0 for item in value)


def _prompt(value: Any) -> bool:
    if isinstance(value, str):
        return value != ""
    if not isinstance(value, list) or not value:
        return False
    if type(value[0]) is int:
        return _tokens(value)
    if len(value) > MAX_TEXTS:
        return False
    if isinstance(value[0], str):
        return all(map(_text, value))
    return all(isinstance(item, list) and item and _tokens(item) for item in value)


def _messages(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(map(_message, value))


def _message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 2
        and isinstance(value.get("role"), str)
        and value["role"] in _ROLES
        and isinstance(value.get("content"), str)
        and value["content"] != ""
    )


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: value is None or (type(value) is int and low <= value <= high)


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: value is None or (type(value) in (int, float) and low <= value <= high)


def _top_p(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 < value <= 1)


def _stop(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_STOP_STRINGS and all(map(_text, value))
    return value is None or _text(value)


def _nothing(value: Any) -> bool:
    return value is None or value is False


def _one(value: Any) -> bool:
    return type(value) is int and value == 1


def _any_text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_nothing(value: Any) -> bool:
    return value is None or isinstance(value, str)


_SAMPLING: dict[str, Callable[[Any], bool]] = {
    "model": _any_text,
    "max_tokens": _whole(1, 2**31 - 1),
    "temperature": _number(0, 2),
    "top_p": _top_p,
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "n": _one,
    "seed": _whole(0, 2**63 - 1),
    "stop": _stop,
    "stream": _nothing,
    "user": _text_or_nothing,
}

_APART_FROM_THE_PROMPT = frozenset(
    {
        "response_format",
        "structured_outputs",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "logprob_token_ids",
        "stop_token_ids",
        "bad_words",
        "allowed_token_ids",
        "top_k",
        "min_p",
        "repetition_penalty",
        "length_penalty",
        "ignore_eos",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "include_stop_str_in_output",
        "parallel_tool_calls",
        "return_token_ids",
        "return_tokens_as_token_ids",
        "dimensions",
    }
)
"""Parameters that neither enter the prompt nor are judged beside its length."""

_NO_PARAMETERS = frozenset({"messages", "prompt", "input", "user", "seed"})

_PROMPTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    CHAT: ("messages", _messages),
    COMPLETIONS: ("prompt", _prompt),
    EMBEDDINGS: ("input", _prompt),
}

_CHECKS: dict[str, dict[str, Callable[[Any], bool]]] = {
    CHAT: _SAMPLING | {"messages": _messages, "max_completion_tokens": _whole(1, 2**31 - 1), "logprobs": _nothing},
    COMPLETIONS: _SAMPLING | {"prompt": _prompt},
    EMBEDDINGS: {
        "model": _any_text,
        "input": _prompt,
        "encoding_format": lambda value: value in ("float", "base64"),
        "user": _text_or_nothing,
        "stream": _nothing,
    },
}
