"""What the driver asks of an engine, and where it gets one.

Tests give another engine through the environment variable TIDEMILL_ENGINE=module:factory; nothing else can.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from tidemill_api.job_contract import ENGINE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_api.v1alpha1.common import ModelSpec
    from tidemill_workloads.rows import Row

DEFAULT_FACTORY = "tidemill_workloads.engine.vllm_engine:create"

DEFAULT_MAX_NUM_SEQS = 128
"""Rows that one engine decodes at once where the spec does not say."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """All that an engine is built from."""

    model: ModelSpec
    gpus: int

    @property
    def max_num_seqs(self) -> int:
        """Rows that the engine decodes at once."""
        return self.model.engine_args.max_num_seqs or DEFAULT_MAX_NUM_SEQS


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a row, as an OpenAI-compatible server would have answered it."""

    status_code: int
    body: bytes
    """JSON object, UTF-8."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether this is a result (2xx) rather than an error."""
        return 200 <= self.status_code < 300


class Engine(Protocol):
    """Answers rows, many at once. All methods are called on one event loop."""

    async def start(self) -> None:
        """Loads the model. Raises JobRefused where the engine arguments cannot be met."""

    async def answer(self, row: Row) -> Answer:
        """Answers one row; a fault of the row is an answer too. Raises EngineDead where no row can be answered."""

    def progress(self) -> int:
        """A number that changes whenever the engine has made a step (a token, say); always 0 where it cannot tell."""

    async def close(self) -> None:
        """Ends the engine's processes."""


def create_engine(settings: EngineSettings) -> Engine:
    """The engine of this process: vLLM, or what the environment names."""
    module, _, factory = os.environ.get(ENGINE_VARIABLE, DEFAULT_FACTORY).partition(":")
    create = cast("Callable[[EngineSettings], Engine]", getattr(importlib.import_module(module), factory))
    return create(settings)
