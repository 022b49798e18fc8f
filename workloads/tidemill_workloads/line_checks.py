"""Is one line a request that can be run? The rules of validation, without files or memory of other lines.

A line is judged by the first rule that it breaks, in this order: JSON, custom_id, method, url, body, model, stream,
and what the `judge` says of its parameters and length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_workloads.problems import (
    INVALID,
    MISSING,
    NOT_JSON,
    STREAMING,
    WRONG_MODEL,
    WRONG_URL,
    BadLine,
    shown,
)
from tidemill_workloads.rows import decode
from tidemill_workloads.urls import URLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_DEPTH = 100
"""Levels of objects and lists in a line: no request needs more, and every decoder on the way takes as many."""

_CONTROL = re.compile("[\0-\x1f]")


class Rules(Protocol):
    """What the rules have to know of the job's model."""

    @property
    def models(self) -> tuple[str, ...]:
        """The names that rows may ask for: the model's, then those of its adapters."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs that the model serves."""

    def check(self, url: str, body: dict[str, Any]) -> None:
        """Raises BadLine where the engine would not take the body, which may be changed."""


def check_line(raw: bytes, rules: Rules) -> tuple[str | None, BadLine | None]:
    """The custom_id of a line, where it has a usable one, and what is wrong with the line, if anything.

    `raw` is what `rows.content` gives; it may be any bytes.
    """
    custom_id = None
    try:
        request = _parse(raw)
        custom_id = _usable_custom_id(request)
        _check_depth(raw, request)
        _check_request(request, rules)
    except BadLine as problem:
        return custom_id, problem
    return custom_id, None


def custom_id_of(raw: bytes) -> str | None:
    """The custom_id of a line that has a usable one."""
    try:
        return _usable_custom_id(_parse(raw))
    except BadLine:
        return None


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        request = decode(raw)
    except (ValueError, RecursionError):
        raise BadLine(NOT_JSON, "This line is not parseable as valid JSON.") from None
    if not isinstance(request, dict):
        raise BadLine(NOT_JSON, "This line is not a JSON object.")
    return request


def _usable_custom_id(request: dict[str, Any]) -> str | None:
    custom_id = request.get("custom_id")
    return custom_id if isinstance(custom_id, str) and custom_id else None


def _check_depth(raw: bytes, request: dict[str, Any]) -> None:
    """Decoders end at some depth that depends on their caller's stack; a line must be far from it for all of them."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return  # all but a few lines: no walk
    level: list[Any] = [request]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise BadLine(INVALID, f"This line nests objects and lists more than {MAX_DEPTH} levels deep.")


def _children(value: dict[str, Any] | list[Any]) -> Iterator[dict[str, Any] | list[Any]]:
    within = value.values() if isinstance(value, dict) else value
    return (child for child in within if isinstance(child, dict | list))


def _check_request(request: dict[str, Any], rules: Rules) -> None:
    custom_id = _required(request, "custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise BadLine(INVALID, "custom_id must be a non-empty string.", "custom_id")
    if _CONTROL.search(custom_id):
        raise BadLine(INVALID, "custom_id must not contain control characters.", "custom_id")
    if _required(request, "method") != "POST":
        raise BadLine(INVALID, "method must be 'POST'.", "method")
    url = _required(request, "url")
    if url not in rules.urls:
        raise _wrong_url(url, rules)
    body = _required(request, "body")
    if not isinstance(body, dict):
        raise BadLine(INVALID, "body must be an object.", "body")
    name = body.get("model")
    if name is None:
        raise BadLine(INVALID, "Model parameter is required.", "body.model")
    if name not in rules.models:
        message = f"body.model: this job serves the model {_quoted(rules.models)}, not {shown(name)}."
        raise BadLine(WRONG_MODEL, message, "body.model")
    if body.get("stream"):
        raise BadLine(STREAMING, "body.stream: Streaming is not supported in a batch.", "body.stream")
    rules.check(url, body)


def _required(request: dict[str, Any], name: str) -> Any:
    value = request.get(name)
    if value is None:
        raise BadLine(MISSING, f"Missing required parameter: '{name}'.", name)
    return value


def _quoted(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _wrong_url(url: Any, rules: Rules) -> BadLine:
    served = ", ".join(rules.urls) or "none of the batch URLs"
    if url in URLS:
        message = f"url: the model '{rules.models[0]}' does not serve {url}; it serves {served}."
    else:
        message = f"url: {shown(url)} is not supported; this model serves {served}."
    return BadLine(WRONG_URL, message, "url")
