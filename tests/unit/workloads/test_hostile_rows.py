"""Hostile rows, ten thousand of them with --all: none crashes validation, and each refusal is in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bad_lines import KINDS, LENGTH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from validation_builders import real_model, with_vllm
from workload_builders import chat, request

from tidemill_workloads.line_checks import check_line
from tidemill_workloads.problems import MAX_MESSAGE
from tidemill_workloads.urls import URLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_workloads.judge import Judge


@pytest.fixture(scope="module")
def rules() -> Iterator[Judge]:
    with with_vllm(real_model("smollm2", max_model_len=LENGTH)) as rules:
        yield rules


CODES = {code for code, _ in KINDS}

PARAMETERS = [
    "messages", "prompt", "input", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stop", "seed",
    "tools", "tool_choice", "response_format", "structured_outputs", "logprobs", "top_logprobs", "logit_bias",
    "chat_template", "chat_template_kwargs", "documents", "stream", "stream_options", "echo", "suffix", "prompt_embeds",
    "min_tokens", "truncate_prompt_tokens", "truncation_side", "priority", "cache_salt", "kv_transfer_params",
    "allowed_token_ids", "bad_words", "stop_token_ids", "use_beam_search", "add_generation_prompt",
    "continue_final_message", "mm_processor_kwargs", "media_io_kwargs", "vllm_xargs", "reasoning_effort", "functions",
    "prompt_logprobs", "repetition_detection", "thinking_token_budget", "user", "model", "add_special_tokens",
]  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 600)
    | st.sampled_from([2**31, 2**63, -(2**63), 2**64, 10**30, 1e308, -0.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["auto", "none", "required", "user", "text", "json_schema", "function", "{% for", "a" * 3000])
)
keys = st.sampled_from(
    ["role", "content", "type", "text", "name", "function", "json_schema", "schema", "tool_calls", "arguments", "id",
     "json", "regex", "choice", "grammar", "structural_tag", "parameters", "url", "image_url", "tool_call_id",
     "include_usage"]
) | st.text(max_size=6)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "tool", "developer"]) | values},
        optional={"content": values, "tool_calls": values, "tool_call_id": values, "name": values, "reasoning": values},
    ),
    max_size=4,
)
odd_bodies = st.dictionaries(st.sampled_from(PARAMETERS), values, max_size=5)
lines = st.one_of(
    st.builds(lambda more: request("a", body=chat(**more)), odd_bodies),
    st.builds(lambda said, more: request("a", body=chat(messages=said) | more), messages, odd_bodies),
    st.builds(lambda url, more: request("a", url=url, body={"model": "m"} | more), st.sampled_from(URLS), odd_bodies),
    st.builds(lambda more: request("a") | more, st.dictionaries(keys, values, max_size=3)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(["custom_id", "method", "url", "body"], values)),
)


def check(rules: Judge, raw: bytes) -> None:
    custom_id, problem = check_line(raw, rules)
    if problem is not None:
        assert problem.code in CODES
        assert 10 < len(problem.message) <= MAX_MESSAGE
        assert "\n" not in problem.message
        assert "pydantic" not in problem.message
    else:
        assert custom_id


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(line=lines)
def test_no_request_however_odd_crashes_validation_and_each_is_explained(rules: Judge, line: dict[str, Any]) -> None:
    check(rules, json.dumps(line).encode("utf-8", "surrogatepass"))


@pytest.mark.all
@pytest.mark.timeout(900)
def test_ten_thousand_odd_requests_are_each_explained(rules: Judge) -> None:
    judged: set[bytes] = set()

    @settings(max_examples=11_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(line=lines)
    def judge(line: dict[str, Any]) -> None:
        raw = json.dumps(line).encode("utf-8", "surrogatepass")
        check(rules, raw)
        judged.add(raw)

    judge()
    assert len(judged) >= 10_000, "too many lines came twice"


@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=120) | st.builds(lambda head, tail: head + json.dumps(request("a")).encode() + tail,
                                               st.binary(max_size=3), st.binary(max_size=3)))  # fmt: skip
def test_no_bytes_crash_validation_and_each_line_is_explained(rules: Judge, raw: bytes) -> None:
    check(rules, raw)
