"""What the ingress has to know of a request's body, and no more: the rest is the engine's to judge. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tidemill_workloads.serving import openai_errors

if TYPE_CHECKING:
    from tidemill_workloads.serving.model_cards import ModelCards


class RequestBody(msgspec.Struct, frozen=True):
    """The fields that decide where a request goes and when."""

    model: str | None = None
    stream: bool | None = None
    priority: int = 0


class _AnyTypes(msgspec.Struct, frozen=True):
    """The same fields as they stand, of whatever type; nothing else of the body is built in memory."""

    model: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(RequestBody)
_OF_ANY_TYPES = msgspec.json.Decoder(_AnyTypes)
_MODEL = msgspec.json.Decoder(str | None)


def read_body(body: bytes, models: ModelCards) -> RequestBody:
    """The fields of a body. Raises Refusal where no engine could answer it: no JSON object, or an unknown model.

    A field of the wrong type is left to the engine, which names it as vLLM does.
    """
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise openai_errors.bad_body(f"The request body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise openai_errors.bad_body("The request body is nested too deeply.") from error
    if found.model is not None:
        models.require(found.model)
    return found


def _decode(body: bytes) -> RequestBody:
    """The fields. Raises msgspec.DecodeError, UnicodeDecodeError and RecursionError for what is no JSON."""
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError:  # a field of another type, or no object at all
        pass
    try:
        found = _OF_ANY_TYPES.decode(body)
    except msgspec.ValidationError as error:
        raise openai_errors.bad_body("The request body must be a JSON object.") from error
    try:
        return RequestBody(model=_MODEL.decode(found.model))
    except msgspec.ValidationError as error:
        raise openai_errors.bad_body("model must be a string.", "model") from error
