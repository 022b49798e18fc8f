"""The fast path: whatever it takes for plain, vLLM's types, sampling parameters and front end take too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from validation_builders import real_model, with_vllm

from tidemill_workloads.plain_requests import is_plain, parameters_key
from tidemill_workloads.problems import BadLine
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_workloads.judge import Judge

LENGTH = 256


@pytest.fixture(scope="module")
def chat_model() -> Iterator[Judge]:
    with with_vllm(real_model("smollm2", max_model_len=LENGTH)) as rules:
        yield rules


@pytest.fixture(scope="module")
def embedding_model() -> Iterator[Judge]:
    with with_vllm(real_model("minilm")) as rules:
        yield rules


numbers = st.integers(-3, 300) | st.floats(-3, 3) | st.sampled_from([0, 1, 2**31, 2**63, 2**70, 1e300])
oddities = st.none() | st.booleans() | numbers | st.text(max_size=4) | st.just([]) | st.just({})
words = st.text(max_size=30) | st.sampled_from(["hi", "<|im_end|>", " ", "\u2028", "wörd " * 12, "[SEP]"])
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "x"]), "content": words | oddities},
        optional={"name": words},
    ),
    max_size=4,
)
prompts = words | st.lists(words, max_size=3) | st.lists(st.integers(-1, 50_000), max_size=300) | oddities
prompts |= st.lists(st.lists(st.integers(0, 49_999), max_size=9), max_size=3)


def bodies(**required: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {
        "max_tokens": numbers | oddities,
        "max_completion_tokens": numbers | oddities,
        "temperature": numbers | oddities,
        "top_p": numbers | oddities,
        "presence_penalty": numbers | oddities,
        "frequency_penalty": numbers | oddities,
        "n": st.sampled_from([1, 1.0, True, 2, None]),
        "seed": numbers | oddities,
        "stop": words | st.lists(words, max_size=6) | oddities,
        "stream": st.sampled_from([None, False, 0, ""]),
        "user": words | oddities,
        "logprobs": st.sampled_from([None, False, True, 0, 3]),
        "encoding_format": st.sampled_from(["float", "base64", "bytes", None, 1]),
        "top_k": numbers,
    }
    return st.fixed_dictionaries({"model": st.just("m"), **required}, optional=optional)


def refused(rules: Judge, url: str, body: dict[str, Any]) -> str | None:
    """What vLLM itself says against a body, whatever the fast path says."""
    try:
        request = rules.types.parse(url, dict(body))
    except BadLine as problem:
        return problem.message
    assert rules.front_end is not None
    verdict = rules.front_end.judge(url, request)
    return verdict.message if verdict is not None else None


def taken_without_vllm(rules: Judge, url: str, body: dict[str, Any]) -> bool:
    return is_plain(url, body) and rules._surely_fits(url, body)


quick = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(body=bodies(messages=messages | oddities))
def test_a_plain_chat_is_one_that_vllm_takes(chat_model: Judge, body: dict[str, Any]) -> None:
    if taken_without_vllm(chat_model, CHAT, body):
        assert refused(chat_model, CHAT, body) is None


@quick
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(body=bodies(prompt=prompts))
def test_a_plain_completion_is_one_that_vllm_takes(chat_model: Judge, body: dict[str, Any]) -> None:
    if taken_without_vllm(chat_model, COMPLETIONS, body):
        assert refused(chat_model, COMPLETIONS, body) is None


@quick
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(body=bodies(input=prompts))
def test_a_plain_embedding_is_one_that_vllm_takes(embedding_model: Judge, body: dict[str, Any]) -> None:
    if taken_without_vllm(embedding_model, EMBEDDINGS, body):
        assert refused(embedding_model, EMBEDDINGS, body) is None


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "temperature": 0}),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 5, "n": 1}),
        (COMPLETIONS, {"model": "m", "prompt": "hi", "stop": ["\n"], "seed": 1, "stream": False}),
        (COMPLETIONS, {"model": "m", "prompt": [[1, 2], [3]]}),
    ],
)
def test_common_requests_are_plain_and_cleared_without_vllm(url: str, body: dict[str, Any]) -> None:
    rules = real_model("smollm2", max_model_len=LENGTH)
    rules.check(url, body)
    assert rules._types is None


def test_parameters_that_vllm_accepted_once_are_not_asked_again(chat_model: Judge) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    bodies = [
        {"model": "m", "messages": [{"role": "user", "content": text}], "response_format": shape, "seed": seed}
        for seed, text in enumerate(["one", "two words"])
    ]
    first, second = (parameters_key(CHAT, body) for body in bodies)
    assert first == second is not None
    chat_model.check(CHAT, bodies[0])
    asleep = real_model("smollm2", max_model_len=LENGTH)
    asleep._accepted = chat_model._accepted
    asleep.check(CHAT, bodies[1])
    assert asleep._types is None


@pytest.mark.parametrize("more", [{"tools": []}, {"min_tokens": 3}, {"echo": True}, {"chat_template_kwargs": {}}])
def test_what_has_to_do_with_the_prompt_is_judged_on_each_row(more: dict[str, Any]) -> None:
    assert parameters_key(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | more) is None
