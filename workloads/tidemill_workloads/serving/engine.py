"""What an engine replica asks of an engine, and where it gets one.

The engine is an ASGI application that answers as an OpenAI-compatible server does: vLLM's own. Tests give another one
through the environment variable TIDEMILL_ENGINE=module:factory; nothing else can.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from tidemill_api.endpoint_contract import ENGINE_VARIABLE
from tidemill_workloads.engine.arguments import engine_arguments
from tidemill_workloads.engine.interface import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from tidemill_api.endpoint_contract import EndpointConfig
    from tidemill_workloads.serving.frames import Usage

DEFAULT_FACTORY = "tidemill_workloads.serving.vllm_server:create"

REQUEST_ID_HEADER = b"x-request-id"
"""The header by which an engine knows a request; vLLM takes its own request id from it."""


class Watcher(Protocol):
    """Is told how far requests are, by the value of their REQUEST_ID_HEADER. All calls come on the event loop."""

    def first_token(self, request_id: str) -> None:
        """The first token of an answer is made, streamed or not."""

    def used(self, request_id: str, usage: Usage) -> None:
        """One part of an answer (a choice, a prompt of several) is whole and used so many tokens."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All that a serving engine is built from."""

    config: EndpointConfig

    @property
    def engine(self) -> EngineSettings:
        """The model and its arguments, with the endpoint's batching in them."""
        batching = {
            "max_num_seqs": self.config.max_sequences,
            "max_num_batched_tokens": self.config.max_batched_tokens,
        }
        arguments = self.config.model.engine_args.model_copy(
            update={name: value for name, value in batching.items() if value is not None}
        )
        model = self.config.model.model_copy(update={"engine_args": arguments})
        return EngineSettings(model=model, gpus=self.config.gpus_per_replica)

    def arguments(self) -> list[str]:
        """The arguments as on vLLM's command line."""
        policy = "priority" if self.config.priority_scheduling else "fcfs"
        return [*engine_arguments(self.engine), "--scheduling-policy", policy, "--disable-fastapi-docs"]


class ServingEngine(Protocol):
    """One engine and its server. All methods are called on one event loop."""

    async def start(self, watcher: Watcher) -> None:
        """Loads the model. Raises JobRefused where its arguments cannot be met."""

    @property
    def app(self) -> ASGIApp:
        """The server; raises nothing that a request may cause."""

    @property
    def dead(self) -> bool:
        """Whether it can answer no further request."""

    def progress(self) -> int:
        """A number that changes whenever the engine has made a step; always 0 where it cannot tell."""

    async def close(self) -> None:
        """Ends the engine's processes."""


def create_engine(settings: ServerSettings) -> ServingEngine:
    """The engine of this process: vLLM, or what the environment names."""
    module, _, factory = os.environ.get(ENGINE_VARIABLE, DEFAULT_FACTORY).partition(":")
    create = cast("Callable[[ServerSettings], ServingEngine]", getattr(importlib.import_module(module), factory))
    return create(settings)
