"""The common faults of a body in words of our own, before vLLM's types say them in theirs; and no media from afar.

Judges only bodies that are not plain. What passes here may still be refused by vLLM's request types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill_workloads.problems import INVALID, BadLine
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

MEDIA_PARTS = ("image_url", "audio_url", "video_url", "file")
_MEDIA_TYPES = frozenset({*MEDIA_PARTS, "input_audio", "image_embeds", "audio_embeds", "image_pil"})


def check_shape(url: str, body: dict[str, Any]) -> None:
    """Raises BadLine."""
    _CHECKS[url](body)


def has_media(body: dict[str, Any]) -> bool:
    """Whether messages hold something else than text, whose length in tokens only the engine's processor knows."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and not _MEDIA_TYPES.isdisjoint((*part, str(part.get("type")))):
                return True
    return False


def _check_chat(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise BadLine(INVALID, "Messages parameter is required.", "body.messages")
    if not isinstance(messages, list) or not messages:
        raise BadLine(INVALID, "body.messages must be a non-empty list.", "body.messages")
    for place, message in enumerate(messages):
        where = f"body.messages[{place}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadLine(INVALID, f"{where} must be an object with a role.", where)
        content = message.get("content")
        if isinstance(content, list):
            _check_parts(content, f"{where}.content")
        elif content is not None and not isinstance(content, str):
            raise BadLine(INVALID, f"{where}.content must be a string or a list of parts.", f"{where}.content")
        if message["role"] == "assistant" and isinstance(message.get("tool_calls"), list):
            _check_tool_calls(message["tool_calls"], f"{where}.tool_calls")


def _check_tool_calls(calls: list[Any], where: str) -> None:
    for place, call in enumerate(calls):
        if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
            param = f"{where}[{place}]"
            raise BadLine(INVALID, f"{param} must be an object with a function.", param)


def _check_parts(parts: list[Any], content: str) -> None:
    for place, part in enumerate(parts):
        where = f"{content}[{place}]"
        if isinstance(part, str):
            continue
        if not isinstance(part, dict):
            raise BadLine(INVALID, f"{where} must be an object with a type.", where)
        if not isinstance(part.get("type", ""), str):
            raise BadLine(INVALID, f"{where}.type must be a string.", f"{where}.type")
        if part.get("type") == "text" and not isinstance(part.get("text"), str):
            raise BadLine(INVALID, f"{where}.text must be a string.", f"{where}.text")
        for kind in MEDIA_PARTS:
            media = part.get(kind)
            url = media.get("url", media.get("file_url")) if isinstance(media, dict) else media
            if isinstance(url, str) and not url.startswith("data:"):
                message = f"{where}: media is taken from data: URLs only; nothing is fetched for a row."
                raise BadLine(INVALID, message, where)


def _check_completion(body: dict[str, Any]) -> None:
    if "prompt_embeds" not in body and not _is_text_or_tokens(body.get("prompt")):
        message = "body.prompt must be a string, a list of strings, or token numbers."
        raise BadLine(INVALID, message, "body.prompt")


def _check_embedding(body: dict[str, Any]) -> None:
    if isinstance(body.get("messages"), list) and "input" not in body:  # vLLM's chat form of embeddings
        _check_chat(body)
    elif not _is_text_or_tokens(body.get("input")):
        raise BadLine(INVALID, "body.input must be a string, a list of strings, or token numbers.", "body.input")
    if body.get("encoding_format") not in (None, "float", "base64"):
        message = "body.encoding_format: only 'float' and 'base64' fit into a line of JSON."
        raise BadLine(INVALID, message, "body.encoding_format")


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
