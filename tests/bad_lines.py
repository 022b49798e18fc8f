"""Bad lines of every kind, each with the code that validation has to give it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workload_builders import chat, request

from tidemill_workloads.urls import COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = 512
"""Tokens that the model of these lines has room for."""

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def encoded(identifier: str, **changes: Any) -> bytes:
    """A request as a line without its newline."""
    return json.dumps(request(identifier, **changes)).encode()


def body(**changes: Any) -> Callable[[str], bytes]:
    """Makes chat requests with these changes of the body."""
    return lambda identifier: encoded(identifier, body=chat(**changes))


def said(content: Any) -> list[dict[str, Any]]:
    """One message of a user."""
    return [{"role": "user", "content": content}]


def completion(prompt: Any, **more: Any) -> Callable[[str], bytes]:
    """Makes completion requests."""
    return lambda identifier: encoded(identifier, url=COMPLETIONS, body={"model": "m", "prompt": prompt} | more)


KINDS: list[tuple[str, Callable[[str], bytes]]] = [
    ("invalid_json_line", lambda identifier: encoded(identifier)[:-1]),
    ("invalid_json_line", lambda identifier: b"[" + encoded(identifier) + b"]"),
    ("invalid_json_line", lambda identifier: b"\xff" + identifier.encode()),
    ("missing_required_parameter", lambda _: encoded("", custom_id=None)),
    ("missing_required_parameter", lambda identifier: encoded(identifier, method=None)),
    ("missing_required_parameter", lambda identifier: encoded(identifier, url=None)),
    ("missing_required_parameter", lambda identifier: encoded(identifier, body=None)),
    ("invalid_request", lambda _: encoded("", custom_id=7)),
    ("invalid_request", lambda identifier: encoded(identifier, method="GET")),
    ("invalid_url", lambda identifier: encoded(identifier, url="/v1/images/generations")),
    ("invalid_url", lambda identifier: encoded(identifier, url=EMBEDDINGS, body={"model": "m", "input": "hi"})),
    ("invalid_request", lambda identifier: encoded(identifier, body=[])),
    ("invalid_request", body(model=None)),
    ("model_not_found", body(model="gpt-9")),
    ("streaming_unsupported", body(stream=True)),
    ("invalid_request", body(messages=None)),
    ("invalid_request", body(messages=said(7))),
    ("invalid_request", body(messages=said([{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]))),
    ("invalid_request", body(messages=said([{"type": "text"}]))),
    ("invalid_request", body(messages=[*said("hi"), {"role": "assistant", "tool_calls": [{"id": "x"}]}])),
    ("invalid_request", body(temperature="warm")),
    ("invalid_request", body(temperature=9)),
    ("invalid_request", body(n=2, temperature=0)),
    ("invalid_request", body(top_logprobs=3)),
    ("invalid_request", body(max_tokens=0)),
    ("invalid_request", body(response_format={"type": "yaml"})),
    ("invalid_request", body(tools=[TOOL])),
    ("invalid_request", body(stop=["a", "b", "c", "d", "e"])),
    ("invalid_request", completion("")),
    ("invalid_request", completion([49_999_999])),
    ("context_length_exceeded", body(messages=said("word " * 600))),
    ("context_length_exceeded", body(max_tokens=LENGTH + 1)),
    ("context_length_exceeded", body(max_completion_tokens=100_000)),
    ("context_length_exceeded", completion([7] * LENGTH)),
    ("context_length_exceeded", completion("word " * 600)),
    ("duplicate_custom_id", lambda _: encoded("good-1")),
]
