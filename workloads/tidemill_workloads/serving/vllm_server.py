"""vLLM's own OpenAI server without its socket: an ASGI application over an engine in this process.

Built as vLLM's launcher builds it (vllm/entrypoints/launchers/api_server/entry.py of 0.32), so that an answer, an
error or a stream is byte for byte what a vLLM server would have sent. How far requests are is read where vLLM's output
handler hands each step's outputs over.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tidemill_workloads.engine.arguments import engine_environment
from tidemill_workloads.engine.vllm_adapters import adapter_arguments, find_adapters, load_adapters, require_served
from tidemill_workloads.engine.vllm_engine import require_fit, require_parser
from tidemill_workloads.model_check import check_model_of_engine
from tidemill_workloads.serving.frames import Usage

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tidemill_workloads.serving.engine import ServerSettings, Watcher

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
"""Our request id inside of vLLM's (`chatcmpl-<id>`, `cmpl-<id>-0`, `embd-<id>-0`)."""


def create(settings: ServerSettings) -> VllmServer:
    """The factory that the interface names."""
    return VllmServer(settings)


class VllmServer:
    """One vLLM engine and its server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._open = AsyncExitStack()
        self._app: Any = None
        self._client: Any = None
        self._steps = 0

    async def start(self, watcher: Watcher) -> None:
        """Loads the model, which takes a minute or more, and its adapters.

        Raises JobRefused: InvalidSpec for unfit engine arguments, ModelNotFound where there is no model or an adapter
        is missing, ModelNotLoadable for an adapter that is no use.
        """
        os.environ.update(engine_environment(self._settings.engine, dict(os.environ)))
        os.environ.pop("VLLM_API_KEY", None)  # keys are the ingress's affair: an engine asks for none
        model = self._settings.config.model
        await asyncio.to_thread(check_model_of_engine, model.source)
        adapters = await find_adapters(model)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client_from_engine_args
        from vllm.entrypoints.launchers.app import build_app

        arguments = parse_server_arguments([*self._settings.arguments(), *adapter_arguments(adapters)])
        engine_args = AsyncEngineArgs.from_cli_args(arguments)
        config = require_fit(engine_args)
        require_parser(arguments.tool_call_parser, config)
        require_served(adapters, config)
        client = await self._open.enter_async_context(build_async_engine_client_from_engine_args(engine_args))
        tasks = await client.get_supported_tasks()
        app = build_app(arguments, tasks, client.model_config)
        app.state.server = SimpleNamespace()  # vLLM's handler of a dead engine asks its uvicorn to end: there is none
        await init_app_state(client, app.state, arguments, tasks)
        await load_adapters(app.state.openai_serving_models, model.source, adapters)
        self._app, self._client = app, client
        self._watch(watcher)
        gc.collect()
        gc.freeze()  # as vLLM's server does once all is loaded: collections stay short
        log.info("engine ready: models %s; tasks %s", ", ".join(model.names), ", ".join(tasks))

    @property
    def app(self) -> ASGIApp:
        """The server."""
        app: ASGIApp = self._app
        return app

    @property
    def dead(self) -> bool:
        """Whether vLLM's engine process has ended or failed."""
        return bool(self._client.errored)

    def progress(self) -> int:
        """Steps of the engine that had something to say."""
        return self._steps

    async def close(self) -> None:
        """Ends the engine's processes."""
        await self._open.aclose()
        self._app = self._client = None

    def _watch(self, watcher: Watcher) -> None:
        """Looks on where vLLM's output handler hands each step's outputs over."""
        processor = self._client.output_processor
        process = processor.process_outputs

        def watched(outputs: Any, *rest: Any, **named: Any) -> Any:
            self._steps += bool(outputs)
            states = [processor.request_states.get(output.request_id) for output in outputs]
            first = _beginning(states, outputs)
            result = process(outputs, *rest, **named)
            # a stop string is found in there only: what is over is what vLLM has forgotten since
            last = [state for state in states if state is not None and state.request_id not in processor.request_states]
            for state in first:
                if (request_id := _our_id(state)) is not None:
                    watcher.first_token(request_id)
            for state in last:
                if (request_id := _our_id(state)) is not None:
                    watcher.used(request_id, _usage(state))
            return result

        processor.process_outputs = watched


def parse_server_arguments(words: list[str]) -> Any:
    """Every argument of vLLM's server. Raises SystemExit on one that vLLM does not know."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser(prog="tidemill engine")  # type: ignore[no-untyped-call] # vLLM leaves it so
    return make_arg_parser(parser).parse_args(words)


def _beginning(states: list[Any], outputs: Any) -> list[Any]:
    """The requests whose first output is among these; None stands for one that vLLM has forgotten."""
    pairs = zip(states, outputs, strict=True)
    return [state for state, output in pairs if state is not None and state.is_prefilling and output.new_token_ids]


def _our_id(state: Any) -> str | None:
    found = _REQUEST_ID.search(state.external_req_id)
    return found.group() if found is not None else None


def _usage(state: Any) -> Usage:
    """What one sequence used; the prompt of several choices counts once."""
    prompt = state.prompt_len if state.request_index == 0 else 0
    completion = state.detokenizer.num_output_tokens() if state.detokenizer is not None else 0
    return Usage(prompt, completion)
