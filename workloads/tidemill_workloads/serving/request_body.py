"""What the ingress has to know of a request's body, and no more: the rest is the engine's to judge. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tidemill_workloads.serving import openai_errors

if TYPE_CHECKING:
    from tidemill_workloads.serving.model_cards import ModelCards

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body: far above any prompt, and what an ingress can hold of several at once."""


class RequestBody(msgspec.Struct, frozen=True):
    """The fields that decide where a request goes and when."""

    model: str | None = None
    stream: bool | None = None
    priority: int = 0


_DECODER = msgspec.json.Decoder(RequestBody)
_SYNTAX = msgspec.json.Decoder()


def read_body(body: bytes, models: ModelCards) -> RequestBody:
    """The fields of a body. Raises Refusal where no engine could answer it: no JSON object, or an unknown model.

    A field of the wrong type is left to the engine, which names it as vLLM does.
    """
    try:
        found = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        found = _lenient(body, error)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise openai_errors.bad_body(f"The request body is not valid JSON: {error}") from error
    if found.model is not None:
        models.require(found.model)
    return found


def _lenient(body: bytes, error: msgspec.ValidationError) -> RequestBody:
    value = _SYNTAX.decode(body)
    if not isinstance(value, dict):
        raise openai_errors.bad_body("The request body must be a JSON object.") from error
    model = value.get("model")
    if model is not None and not isinstance(model, str):
        raise openai_errors.bad_body("model must be a string.", "model") from error
    return RequestBody(model=model)
