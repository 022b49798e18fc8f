"""Requests that no engine should have to read, and that must not end one: for the real engine, through an endpoint."""

from __future__ import annotations

from typing import Any

import httpx
import openai

HUGE = 2**70
CHAT = "/chat/completions"
COMPLETIONS = "/completions"

_CHANGES: tuple[dict[str, Any], ...] = (
    {"priority": 2**63},
    {"priority": -HUGE},
    {"seed": HUGE},
    {"max_tokens": -1},
    {"max_tokens": HUGE},
    {"n": 0},
    {"n": HUGE},
    {"temperature": 1e308},
    {"top_p": 2},
    {"top_k": -5},
    {"min_p": -1},
    {"min_tokens": HUGE},
    {"repetition_penalty": 0},
    {"logit_bias": {"999999999": 100}},
    {"logit_bias": {"-1": 1}},
    {"logit_bias": {"tide": 1}},
    {"allowed_token_ids": [10**9]},
    {"allowed_token_ids": []},
    {"bad_words": ["tide" * 5000]},
    {"bad_words": [""]},
    {"stop": ["a"] * 5000},
    {"stop": [""]},
    {"stop_token_ids": [HUGE]},
    {"logprobs": True, "top_logprobs": 10**6},
    {"prompt_logprobs": 10**6},
    {"truncate_prompt_tokens": -5},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "tide"}}}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/x"}}}},
    {"structured_outputs": {"regex": "(("}},
    {"structured_outputs": {"grammar": "root ::= nowhere"}},
    {"structured_outputs": {"choice": []}},
    {"messages": []},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "tide", "content": "x"}]},
    {"messages": [{"role": "user", "content": "\0\0"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}]},
    {"chat_template": "{% for x in range(10**9) %}{% endfor %}"},
    {"tools": [{"type": "function", "function": {"name": "x", "parameters": {"type": "tide"}}}]},
    {"tools": "all", "tool_choice": {"type": "function"}},
    {"stream_options": {"include_usage": "x"}, "stream": True},
    {"request_id": "../../x"},
    {"kv_transfer_params": {"do_remote_decode": True}},
    {"vllm_xargs": {"x": "y"}},
)

_PROMPTS: tuple[dict[str, Any], ...] = (
    {"prompt": []},
    {"prompt": [[]]},
    {"prompt": [10**9]},
    {"prompt": [-1]},
    {"prompt": [HUGE]},
    {"prompt": ["x", 1]},
    {"prompt": {"x": 1}},
    {"prompt": None, "prompt_embeds": "AAAA"},
    {"prompt": "x", "echo": True, "max_tokens": 0},
    {"prompt": "x", "suffix": "y"},
    {"prompt": "x", "use_beam_search": True, "n": 1000},
    {"prompt": "x", "logprobs": 10**6},
)


async def unexplained(client: openai.AsyncOpenAI, model: str) -> list[str]:
    """Sends each; names those that were answered neither with success nor with an error that says what is wrong."""
    chat = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    bodies = [(CHAT, chat | change) for change in _CHANGES]
    bodies += [(COMPLETIONS, {"model": model, "max_tokens": 1} | change) for change in _PROMPTS]
    found = [(path, body, await _answer(client, path, body)) for path, body in bodies]
    return [f"{path} {body}: {said}" for path, body, said in found if said]


async def _answer(client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> str:
    """What is wrong with the answer; empty where it is fine."""
    try:
        await client.post(path, body=body, cast_to=httpx.Response)
    except openai.APIStatusError as error:
        explained = isinstance(error.body, dict) and bool(error.body.get("message"))
        return "" if error.status_code < 500 and explained else f"{error.status_code} {error.body}"
    except openai.APIConnectionError as error:
        return f"no answer: {error}"
    return ""
