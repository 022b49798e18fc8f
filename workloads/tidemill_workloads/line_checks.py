"""Is one line a request that can be run? The rules of validation, without files or memory of other lines.

Codes and messages are those of the OpenAI Batch API where it has them (its `errors.data[].code`). A line is judged by
the first rule that it breaks. What only the engine can know (token counts, exotic parameters) is not judged here:
it becomes that row's error line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from tidemill_workloads.rows import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
URLS = (CHAT, COMPLETIONS, EMBEDDINGS)

EMPTY_FILE = "empty_file"
DUPLICATE = "duplicate_custom_id"

MAX_DEPTH = 100
"""Levels of objects and lists in a line: no request needs more, and every decoder on the way takes as many."""

_MEDIA_PARTS = ("image_url", "audio_url", "video_url", "file")
_REQUIRED = ("custom_id", "method", "url", "body")
_CONTROL = re.compile("[\0-\x1f]")


class Problem(msgspec.Struct, frozen=True):
    """Why a line cannot be run, as it stands in `validation.jsonl`."""

    line: int | None
    custom_id: str | None
    code: str
    message: str


class BadLine(Exception):  # noqa: N818 - a verdict on a line, not an error of the program
    """Raised by the rules below: `code` and `message` of the problem."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def check_line(raw: bytes, model: str) -> tuple[str | None, BadLine | None]:
    """The custom_id of a line, where it has a usable one, and what is wrong with the line, if anything.

    `raw` is what `rows.content` gives; it may be any bytes. `model` is the only name that rows may ask for.
    """
    custom_id = None
    try:
        request = _parse(raw)
        custom_id = _usable_custom_id(request)
        _check_depth(raw, request)
        _check_request(request, model)
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
        raise BadLine("invalid_json_line", "This line is not parseable as valid JSON.") from None
    if not isinstance(request, dict):
        raise BadLine("invalid_json_line", "This line is not a JSON object.")
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
    raise BadLine("invalid_request", f"This line nests objects and lists more than {MAX_DEPTH} levels deep.")


def _children(value: dict[str, Any] | list[Any]) -> Iterator[dict[str, Any] | list[Any]]:
    within = value.values() if isinstance(value, dict) else value
    return (child for child in within if isinstance(child, dict | list))


def _check_request(request: dict[str, Any], model: str) -> None:
    for name in _REQUIRED:
        if request.get(name) is None:
            raise BadLine("missing_required_parameter", f"Missing required parameter: '{name}'.")
    if not isinstance(request["custom_id"], str) or not request["custom_id"]:
        raise BadLine("invalid_request", "custom_id must be a non-empty string.")
    if _CONTROL.search(request["custom_id"]):
        raise BadLine("invalid_request", "custom_id must not contain control characters.")
    if request["method"] != "POST":
        raise BadLine("invalid_request", "method must be 'POST'.")
    url = request["url"]
    if url not in URLS:
        raise BadLine("invalid_url", f"The URL {_shown(url)} is not supported; use one of {', '.join(URLS)}.")
    body = request["body"]
    if not isinstance(body, dict):
        raise BadLine("invalid_request", "body must be an object.")
    _check_model(body, model)
    if body.get("stream"):
        raise BadLine("streaming_unsupported", "body.stream: Streaming is not supported in a batch.")
    _CHECKS[url](body)


def _check_model(body: dict[str, Any], model: str) -> None:
    name = body.get("model")
    if name is None:
        raise BadLine("invalid_request", "Model parameter is required.")
    if name != model:
        message = f"body.model: this job serves the model '{model}', not {_shown(name)}."
        raise BadLine("model_not_found", message)


def _check_chat(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise BadLine("invalid_request", "Messages parameter is required.")
    if not isinstance(messages, list) or not messages:
        raise BadLine("invalid_request", "body.messages must be a non-empty list.")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadLine("invalid_request", f"body.messages[{place}] must be an object with a role.")
        content = message.get("content")
        if isinstance(content, list):
            _check_parts(content, f"body.messages[{place}].content")
        elif content is not None and not isinstance(content, str):
            raise BadLine("invalid_request", f"body.messages[{place}].content must be a string or a list of parts.")


def _check_parts(parts: list[Any], where: str) -> None:
    for place, part in enumerate(parts):
        if isinstance(part, str):
            continue
        if not isinstance(part, dict):
            raise BadLine("invalid_request", f"{where}[{place}] must be an object with a type.")
        for kind in _MEDIA_PARTS:
            media = part.get(kind)
            url = media.get("url", media.get("file_url")) if isinstance(media, dict) else media
            if isinstance(url, str) and not url.startswith("data:"):
                message = f"{where}[{place}]: media is taken from data: URLs only; nothing is fetched for a row."
                raise BadLine("invalid_request", message)


def _check_completion(body: dict[str, Any]) -> None:
    if not _is_text_or_tokens(body.get("prompt")):
        raise BadLine("invalid_request", "body.prompt must be a string, a list of strings, or token numbers.")


def _check_embedding(body: dict[str, Any]) -> None:
    if isinstance(body.get("messages"), list) and "input" not in body:  # vLLM's chat form of embeddings
        _check_chat(body)
    elif not _is_text_or_tokens(body.get("input")):
        raise BadLine("invalid_request", "body.input must be a string, a list of strings, or token numbers.")


def _is_text_or_tokens(value: object) -> bool:
    if isinstance(value, str):
        return True
    if not isinstance(value, list) or not value:
        return False
    kinds = {type(item) for item in value}
    if kinds == {list}:
        return all({type(item) for item in inner} == {int} for inner in value)
    return kinds in ({str}, {int})


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    CHAT: _check_chat,
    COMPLETIONS: _check_completion,
    EMBEDDINGS: _check_embedding,
}


def _shown(value: object, limit: int = 80) -> str:
    """A user's value for a message: quoted and short, whatever it is."""
    text = repr(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= limit else text[:limit] + "...'"
