"""vLLM behind the engine interface: AsyncLLM and vLLM's own OpenAI serving layer, in this process.

Built as vLLM's own batch runner builds them (vllm/entrypoints/launchers/run_batch.py of 0.32), so that an answer's
body is what an OpenAI-compatible vLLM server would have sent, errors included. The only module that imports vLLM.
"""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from tidemill_api.conditions import Reason
from tidemill_workloads.engine.arguments import engine_arguments, engine_environment
from tidemill_workloads.engine.interface import Answer
from tidemill_workloads.engine.vllm_adapters import adapter_arguments, find_adapters, load_adapters, require_served
from tidemill_workloads.errors import EngineDead, JobRefused
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tidemill_workloads.engine.interface import EngineSettings
    from tidemill_workloads.rows import Row

log = logging.getLogger(__name__)


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _WithUsage(msgspec.Struct):
    usage: _Usage | None = None


_USAGE = msgspec.json.Decoder(_WithUsage)


@dataclass(frozen=True, slots=True)
class _Route:
    """How one URL is answered: vLLM's request type and the method of its serving class."""

    request: Any
    handle: Callable[[Any], Awaitable[Any]]


def create(settings: EngineSettings) -> VllmEngine:
    """The factory that the interface names."""
    return VllmEngine(settings)


class VllmEngine:
    """One vLLM engine and its serving layer."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._open = AsyncExitStack()
        self._routes: Mapping[str, _Route] = {}
        self._client: Any = None
        self._steps = 0

    async def start(self) -> None:
        """Loads the model, which takes a minute or more, and its adapters.

        Raises JobRefused: InvalidSpec for unfit engine arguments, ModelNotFound or ModelNotLoadable for an adapter.
        """
        os.environ.update(engine_environment(self._settings, dict(os.environ)))
        adapters = await find_adapters(self._settings.model)
        from starlette.datastructures import State
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.launchers.api_server.entry import (
            build_async_engine_client_from_engine_args,
        )
        from vllm.usage.usage_lib import UsageContext

        arguments = parse_arguments([*engine_arguments(self._settings), *adapter_arguments(adapters)])
        engine_args = AsyncEngineArgs.from_cli_args(arguments)
        config = require_fit(engine_args)
        require_parser(arguments.tool_call_parser, config)
        require_served(adapters, config)
        client = await self._open.enter_async_context(
            build_async_engine_client_from_engine_args(engine_args, usage_context=UsageContext.OPENAI_BATCH_RUNNER)
        )
        tasks = await client.get_supported_tasks()
        state = State()
        await init_app_state(client, state, arguments, tasks)
        await load_adapters(state.openai_serving_models, self._settings.model.source, adapters)
        self._client = client
        self._count_steps()
        self._routes = _routes(state)
        log.info("engine ready: models %s; tasks %s", ", ".join(self._settings.model.names), ", ".join(tasks))

    async def answer(self, row: Row) -> Answer:
        """What vLLM's server would answer to this row."""
        from vllm.v1.engine.exceptions import EngineDeadError

        route = self._routes.get(row.url)
        if route is None:
            return _error(NotImplementedError(f"The model does not support {row.url}"))
        try:
            request = route.request.validate_python(row.body)
            return _answer(await route.handle(request))
        except EngineDeadError as error:
            raise EngineDead(str(error)) from error
        except Exception as error:  # vLLM's servers turn every exception of a request into its answer; so do we
            if self._client.errored:
                raise EngineDead(str(error)) from error
            return await _error_of(error)

    def progress(self) -> int:
        """Steps of the engine that had something to say: a token of any row, a row ended."""
        return self._steps

    def _count_steps(self) -> None:
        """Looks on where vLLM's output handler hands each step's outputs over (its own statistics are off)."""
        processor = self._client.output_processor
        process = processor.process_outputs

        def counted(outputs: Any, *rest: Any, **named: Any) -> Any:
            self._steps += bool(outputs)
            return process(outputs, *rest, **named)

        processor.process_outputs = counted

    async def close(self) -> None:
        """Ends the engine's processes."""
        await self._open.aclose()
        self._routes, self._client = {}, None  # else vLLM's finaliser runs when the interpreter is half gone


def parse_arguments(words: list[str]) -> Any:
    """Every argument of vLLM's front end and engine. Raises SystemExit on one that vLLM does not know."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import BaseFrontendArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser(prog="tidemill engine")  # type: ignore[no-untyped-call] # vLLM leaves it so
    return AsyncEngineArgs.add_cli_args(BaseFrontendArgs.add_cli_args(parser)).parse_args(words)


def require_fit(engine_args: Any) -> Any:
    """VLLM's config, in which it has judged the arguments against the model before anything is loaded."""
    try:
        return engine_args.create_engine_config()
    except ValueError as error:  # pydantic's ValidationError is one too
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = " ".join(line for line in lines if not line.startswith("For further information"))
        message = f"spec.model.engineArgs: vLLM refuses them for this model: {cause[:600]}"
        raise JobRefused(Reason.INVALID_SPEC, message) from error


def require_parser(name: str | None, config: Any) -> None:
    """Lets vLLM judge the parser of tool calls against the model's tokenizer, before weights. Raises JobRefused."""
    if name is None:
        return
    from vllm.parser.parser_manager import ParserManager
    from vllm.tokenizers.registry import cached_tokenizer_from_config

    tokenizer = cached_tokenizer_from_config(config.model_config)
    try:
        ParserManager.get_parser(name, enable_auto_tools=True, model_name=name, tokenizer=tokenizer)
    except (TypeError, ImportError) as error:  # the latter of a parser that wants a package of its own
        cause = " ".join(str(error.__cause__ or error).split())[:400]
        message = f"spec.model.engineArgs.toolCallParser: vLLM's parser {name} cannot be used with this model: {cause}"
        raise JobRefused(Reason.INVALID_SPEC, message) from error


def _routes(state: Any) -> dict[str, _Route]:
    """The URLs that this model can answer."""
    from pydantic import TypeAdapter
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest

    chat = getattr(state, "openai_serving_chat", None)
    completion = getattr(state, "openai_serving_completion", None)
    embedding = getattr(state, "serving_embedding", None)
    routes = {}
    if chat is not None:
        routes[CHAT] = _Route(TypeAdapter(ChatCompletionRequest), chat.create_chat_completion)
    if completion is not None:
        routes[COMPLETIONS] = _Route(TypeAdapter(CompletionRequest), completion.create_completion)
    if embedding is not None:
        routes[EMBEDDINGS] = _Route(TypeAdapter(EmbeddingRequest), embedding)
    return routes


def _answer(response: Any) -> Answer:
    """VLLM's response object as bytes: a protocol model, an error, or a ready JSON response (embeddings)."""
    from starlette.responses import Response
    from vllm.entrypoints.serve.engine.protocol import ErrorResponse

    if isinstance(response, ErrorResponse):
        return Answer(int(response.error.code), response.model_dump_json().encode())
    if isinstance(response, Response):
        body, status = bytes(response.body), response.status_code
        if not body.startswith(b"{"):
            return _error(ValueError("only JSON answers fit into a line: use encoding_format 'float' or 'base64'"))
        usage = _USAGE.decode(body).usage
    else:
        body, status = response.model_dump_json().encode(), 200
        usage = response.usage
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens or 0) if usage is not None else (0, 0)
    return Answer(status, body, prompt, completion)


def _error(error: Exception) -> Answer:
    from vllm.entrypoints.serve import create_error_response

    return _answer(create_error_response(error))


async def _error_of(error: Exception) -> Answer:
    """The error that vLLM's server would answer with, through the server's own exception handlers."""
    from fastapi.exceptions import RequestValidationError
    from pydantic import ValidationError
    from vllm.entrypoints.serve.exception_handling.handlers.validation import (
        validation_exception_handler,
    )

    if not isinstance(error, ValidationError):
        return _error(error)
    found = [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
    state = SimpleNamespace(args=SimpleNamespace(log_error_stack=False))
    request: Any = SimpleNamespace(app=SimpleNamespace(state=state))
    return _answer(await validation_exception_handler(request, RequestValidationError(found)))
