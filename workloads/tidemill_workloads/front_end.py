"""All that vLLM's server does with a request before its engine sees it: the length of its prompt, the last checks.

Built as vLLM's own render server is (vllm/entrypoints/launchers/render of 0.32): from the model's config and
tokenizer, without weights and without an engine. What this accepts the engine's server accepts, what it refuses the
server refuses with the same words. Private methods of vLLM are not called.

How vLLM 0.32 judges a length, for all three URLs: a cap of the output above the model's length is refused, and so is a
prompt above it. A prompt that fills the whole length leaves nothing to generate and is refused too, but not for an
embedding. A cap that is only too high beside its prompt is lowered in silence (`get_max_tokens`), so it is no fault.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tidemill_workloads.front_end_parts import build
from tidemill_workloads.problems import TOO_LONG, BadLine
from tidemill_workloads.request_types import bad_parameter, refusal_of
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import EngineSettings

_PROMPT = {CHAT: "body.messages", COMPLETIONS: "body.prompt", EMBEDDINGS: "body.input"}
_CAPS = frozenset({"max_tokens", "max_completion_tokens"})


class FrontEnd:
    """VLLM's request handling for one model. Used from one thread."""

    def __init__(self, settings: EngineSettings) -> None:
        """Raises whatever vLLM raises where it does not take the model with these engine arguments."""
        self._vllm = build(settings)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Ends vLLM's threads and our loop."""
        self._vllm.renderer.shutdown()
        self._loop.close()

    @property
    def urls(self) -> tuple[str, ...]:
        """What the model serves."""
        if "generate" in self._vllm.tasks:
            return (CHAT, COMPLETIONS)
        return (EMBEDDINGS,) if "embed" in self._vllm.tasks else ()

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together that the model has room for."""
        return int(self._vllm.model_config.max_model_len)

    def judge(self, url: str, request: Any) -> BadLine | None:
        """What vLLM's server would say to a request of its own type before its engine sees it; None is a yes."""
        try:
            inputs = self._loop.run_until_complete(self._render(url, request))
            self._check(url, request, inputs)
        except BadLine as verdict:
            return verdict
        except Exception as error:  # vLLM's server turns every exception of a request into its answer
            return self._refusal(url, request, error)
        return None

    async def _render(self, url: str, request: Any) -> list[Any]:
        from vllm.entrypoints.serve.engine.protocol import ErrorResponse

        if url == EMBEDDINGS:
            return self._embedding_inputs(request)
        vllm = self._vllm.chat_and_completions
        answer = await (vllm.render_chat(request) if url == CHAT else vllm.render_completion(request))
        if isinstance(answer, ErrorResponse):
            raise bad_parameter(answer.error.message, answer.error.param)
        inputs: list[Any] = answer[1] if url == CHAT else answer
        return inputs

    def _embedding_inputs(self, request: Any) -> list[Any]:
        """As `PoolingServing` of vLLM prepares a request."""
        from vllm.entrypoints.generate.base.protocol import validate_request_mm_kwargs
        from vllm.entrypoints.pooling.typing import PoolingServeContext

        validate_request_mm_kwargs(
            mm_processor_kwargs=request.mm_processor_kwargs,
            media_io_kwargs=getattr(request, "media_io_kwargs", None),
            trust_request_mm_kwargs=False,
        )
        vllm = self._vllm.embeddings
        context = PoolingServeContext(
            request=request,
            model_name=request.model,
            request_id="validation",
            pooling_params=vllm.create_pooling_params(request),
            lora_request=None,
            priorities=request.priority,
            prompt_extras=None,
        )
        return [vllm.render(item)["prompts"] for item in vllm.get_request_factory_online(context)]

    def _check(self, url: str, request: Any, inputs: list[Any]) -> None:
        from vllm.renderers.inputs.preprocess import extract_prompt_len

        for engine_input in inputs:
            length = extract_prompt_len(self._vllm.model_config, engine_input)
            if url != EMBEDDINGS and length >= self.length:
                raise _too_long(url, f"{length} tokens", self.length)
            self._vllm.input_processor.process_inputs(
                "validation", engine_input, self._parameters(url, request, length), self._vllm.tasks
            )

    def _parameters(self, url: str, request: Any, length: int) -> Any:
        """VLLM's parameters of a request with a prompt of `length` tokens."""
        from vllm.entrypoints.serve.utils.api_utils import get_max_tokens

        if url == EMBEDDINGS:
            return request.to_pooling_params()
        cap = getattr(request, "max_completion_tokens", None)
        most = get_max_tokens(
            self.length,
            request.max_tokens if cap is None else cap,
            length,
            self._vllm.sampling_defaults,
            truncate_prompt_tokens=request.truncate_prompt_tokens,
        )
        if request.use_beam_search:
            request = request.model_copy(update={"use_beam_search": False, "n": 1})  # the engine sees such requests
        return request.to_sampling_params(most, self._vllm.sampling_defaults)

    def _refusal(self, url: str, request: Any, error: Exception) -> BadLine:
        """The verdict of an error. A fault of the parameters comes before one of the length."""
        found = _length_fault(url, error, self.length)
        if found is None:
            return refusal_of(error)
        try:
            parameters = self._parameters(url, request, 0)
            self._vllm.input_processor.process_inputs("validation", self._one_token(), parameters, self._vllm.tasks)
        except Exception as earlier:  # as in `judge`
            return refusal_of(earlier)
        return found

    def _one_token(self) -> Any:
        from vllm.inputs import tokens_input

        return tokens_input([0])


def _length_fault(url: str, error: Exception, room: int) -> BadLine | None:
    """The verdict where vLLM refuses a request for its length."""
    parameter, count = getattr(error, "parameter", None), getattr(error, "value", None)
    if parameter == "input_tokens":
        at_least = "at least " if count == room + 1 else ""  # vLLM stops to count there
        return _too_long(url, f"{at_least}{count} tokens", room)
    if parameter == "input_text":
        return _too_long(url, f"{count} characters, which are more tokens", room)
    if parameter in _CAPS and "cannot be greater than" in str(error):
        message = f"body.{parameter}: {count} is more than the {room} tokens that the model has room for."
        return BadLine(TOO_LONG, message, f"body.{parameter}")
    return None


def _too_long(url: str, what: str, room: int) -> BadLine:
    param = _PROMPT[url]
    answer = "" if url == EMBEDDINGS else ", answer included"
    message = f"{param}: the prompt has {what}; the model has room for {room}{answer}. Shorten it or raise maxModelLen."
    return BadLine(TOO_LONG, message, param)
