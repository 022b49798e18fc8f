"""LoRA adapters in vLLM: how many and how large its engine makes room for, and each loaded under its name.

Loaded one by one rather than by `--lora-modules`, through the same method of vLLM's serving layer: so the adapter that
fails is named. All are loaded when the engine starts, before it counts as ready: a name that is listed is served.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tidemill_workloads.adapter_files import fetch_adapters, not_loadable
from tidemill_workloads.adapter_shapes import require_shapes
from tidemill_workloads.locations import is_local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_api.v1alpha1.common import ModelSpec
    from tidemill_workloads.adapter_files import Adapter

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for the highest rank (`MaxLoRARanks` of vLLM 0.32); each layer's buffers are of that rank."""

MOST_IN_A_BATCH = 8
"""Adapters that requests of one batch may name. Each has its own buffers on the device; further ones take turns."""

_LONGEST = 400


async def find_adapters(model: ModelSpec) -> tuple[Adapter, ...]:
    """The adapters of a model with their files here, made from this model where its files tell. Raises JobRefused."""
    adapters = await asyncio.to_thread(fetch_adapters, model.adapters)
    await asyncio.to_thread(require_shapes, model.source, adapters)
    return adapters


def adapter_arguments(adapters: Sequence[Adapter]) -> list[str]:
    """The arguments as on vLLM's command line; none without adapters. Raises JobRefused for a rank beyond vLLM's."""
    if not adapters:
        return []
    largest = max(adapters, key=lambda adapter: adapter.rank)
    rank = next((rank for rank in RANKS if rank >= largest.rank), None)
    if rank is None:
        raise not_loadable(largest.name, f"its rank is {largest.rank}, and vLLM serves ranks up to {RANKS[-1]}")
    slots = min(len(adapters), MOST_IN_A_BATCH)
    options = {"--max-lora-rank": rank, "--max-loras": slots, "--max-cpu-loras": len(adapters)}
    return ["--enable-lora", *(word for name, value in options.items() for word in (name, str(value)))]


def require_served(adapters: Sequence[Adapter], config: Any) -> None:
    """Lets vLLM judge the adapters' configs by its `VllmConfig` before the model is loaded. Raises JobRefused."""
    from vllm.lora.peft_helper import PEFTHelper

    for adapter in adapters:
        try:
            PEFTHelper.from_local_dir(str(adapter.folder), None).validate_legal(config.lora_config)
        except (ValueError, TypeError) as error:
            raise not_loadable(adapter.name, f"vLLM does not serve such an adapter: {_short(str(error))}") from error


async def load_adapters(models: Any, source: str, adapters: Sequence[Adapter]) -> None:
    """Loads each into the engine by vLLM's `OpenAIServingModels`. Raises JobRefused for one that does not fit.

    `source` is the model's: only now that it is loaded are the files of one of the hub surely here.
    """
    if not is_local(source):
        await asyncio.to_thread(require_shapes, source, adapters)
    from vllm.entrypoints.serve.engine.protocol import ErrorResponse
    from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest

    for adapter in adapters:
        request = LoadLoRAAdapterRequest(lora_name=adapter.name, lora_path=str(adapter.folder))
        answer = await models.load_lora_adapter(request)
        if isinstance(answer, ErrorResponse):
            cause = _short(answer.error.message)
            raise not_loadable(adapter.name, f"vLLM cannot load it: {cause}")


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
