"""An engine that answers every row at once with one fixed body, so that only the pipeline around it costs time.

Stands for vLLM in `pipeline_overhead.py`, which names it by TIDEMILL_ENGINE; nothing else may use it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tidemill_workloads.engine.interface import Answer

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import EngineSettings
    from tidemill_workloads.rows import Row

USAGE = {"prompt_tokens": 230, "completion_tokens": 8, "total_tokens": 238}
MESSAGE = {"role": "assistant", "content": "The ticket is about a late delivery."}
ANSWER = Answer(
    200,
    json.dumps(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": "smollm2",
            "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    ).encode(),
    USAGE["prompt_tokens"],
    USAGE["completion_tokens"],
)


class NoOpEngine:
    """See the module."""

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, row: Row) -> Answer:
        """The same answer for every row."""
        return ANSWER

    async def close(self) -> None:
        """Nothing to end."""


def create(settings: EngineSettings) -> NoOpEngine:
    """The factory that TIDEMILL_ENGINE names."""
    return NoOpEngine()
