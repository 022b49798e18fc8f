"""vLLM's own request types, for the bodies that are not plain: their verdict is the one of the engine's server.

Importing them brings in vLLM and torch, which takes seconds and some hundred MiB: only where a row needs it, once, in
the validating process, which is gone before the driver starts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tidemill_workloads.problems import INVALID, BadLine, shortened
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError

log = logging.getLogger(__name__)

_NO_TOOL_PARSER = "--tool-call-parser to be set"
"""VLLM's answer to tools names a flag of its server, which a job's user does not have."""


class RequestTypes:
    """The three request types, ready to parse."""

    def __init__(self) -> None:
        from pydantic import TypeAdapter

        take_the_cpu_where_there_is_no_device()
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.openai.completion.protocol import CompletionRequest
        from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest

        self._types: Mapping[str, TypeAdapter[Any]] = {
            CHAT: TypeAdapter(ChatCompletionRequest),
            COMPLETIONS: TypeAdapter(CompletionRequest),
            EMBEDDINGS: TypeAdapter(EmbeddingRequest),
        }

    def parse(self, url: str, body: dict[str, Any]) -> Any:
        """VLLM's request. Raises BadLine with the first fault that vLLM's type finds; may change `body`."""
        from pydantic import ValidationError

        try:
            return self._types[url].validate_python(body)
        except ValidationError as error:
            raise _bad_line(error, body) from None
        except Exception as error:  # vLLM's own checks run before the types are known and stumble on anything
            raise refusal_of(error) from None


def take_the_cpu_where_there_is_no_device() -> None:
    """A head has no GPU, and vLLM built for GPUs then knows no platform; its own tools take the CPU's (`vllm bench`).

    Before anything of vLLM that looks at its platform.
    """
    from vllm import platforms

    if platforms.current_platform.is_unspecified():
        from vllm.platforms.cpu import CpuPlatform

        platforms.current_platform = CpuPlatform()


def refusal_of(error: Exception) -> BadLine:
    """What vLLM's server would answer to an error of its request handling, as a bad line's verdict.

    An error that the server would call its own (5xx) is a fault of the row here all the same: the same code meets the
    same row in the engine.
    """
    from pydantic import ValidationError
    from vllm.exceptions import VLLMError

    if isinstance(error, ValidationError):  # of a list in the body that vLLM's types read late
        return _bad_line(error, {})
    if isinstance(error, VLLMError | ValueError | NotImplementedError) and error.args:
        return bad_parameter(str(error.args[0]), getattr(error, "parameter", None))
    log.debug("vLLM's checks stumbled on a row", exc_info=error)  # KeyError('function') and the like: no words for it
    return BadLine(INVALID, shortened(f"body is not a request that vLLM can read ({error!r})."), "body")


def bad_parameter(message: str, parameter: str | None) -> BadLine:
    """The verdict on a parameter, named as `body.<field>` where vLLM names it."""
    if _NO_TOOL_PARSER in message:
        parameter = "tool_choice"
        message = (
            "this engine parses no tool calls: set spec.model.engineArgs.toolCallParser of the job, or tool_choice to"
            " 'none', or leave the tools out."
        )
    param = f"body.{parameter}" if parameter else "body"
    return BadLine(INVALID, shortened(f"{param}: {message}"), param)


def _bad_line(error: ValidationError, body: Mapping[str, Any]) -> BadLine:
    """The most telling of pydantic's errors: of the field that it names first, the one that leads deepest into it.

    Where a value may be of several types, pydantic reports a branch of errors for each.
    """
    found = error.errors(include_url=False, include_input=False, include_context=False)
    places = [_place(item["loc"], body) for item in found]
    first = places[0][:1]
    _, position = max((len(place), -number) for number, place in enumerate(places) if place[:1] == first)
    param = "body" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in places[-position])
    lost = "" if places[-position] else ".".join(map(str, found[-position]["loc"])) + ": "
    return BadLine(INVALID, shortened(f"{param}: {lost}{found[-position]['msg']}."), param)


def _place(location: Sequence[int | str], body: Any) -> list[int | str]:
    """The keys and places of a pydantic location without the names of types: only those that lead into the body.

    The last one may name a key that is missing.
    """
    place: list[int | str] = []
    value = body
    for number, step in enumerate(location):
        within = _keys(value)
        if step in within:
            value = value[step]
        elif not (isinstance(value, dict) and number == len(location) - 1 and str(step).isidentifier()):
            continue
        place.append(step)
    return place


def _keys(value: Any) -> Mapping[str, Any] | range:
    if isinstance(value, dict):
        return value
    return range(len(value)) if isinstance(value, list) else range(0)
