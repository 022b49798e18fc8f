"""The files of LoRA adapters: are they there, and of which rank? Read in milliseconds, without vLLM or their weights.

As PEFT writes them: a config, and weights as safetensors only, since other formats may run code when they are read.
What vLLM cannot serve of a readable adapter is told by `engine.vllm_adapters`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.locations import is_local, model_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidemill_api.v1alpha1.common import AdapterSpec

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
LORA = "LORA"
"""PEFT's name for the one kind of adapter that vLLM serves."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter whose files are on this machine. `rank` is the highest of its layers."""

    name: str
    folder: Path
    rank: int


def field_of(name: str) -> str:
    """Where the adapter of this name stands in the spec."""
    return f"spec.model.adapters[{name}]"


def check_adapters(adapters: Iterable[AdapterSpec], mounts: Sequence[str]) -> tuple[Adapter, ...]:
    """Those whose files are on the head of a job, asked before anything is paid for; of others the config is fetched.

    Raises JobRefused with the adapter's name: ModelNotFound where its files are missing, ModelNotLoadable where they
    are no adapter's, InvalidSpec for a path outside of the mounts.
    """
    here = []
    for adapter in adapters:
        if is_local(adapter.source):
            folder = model_folder(adapter.source, mounts, f"{field_of(adapter.name)}.source")
            here.append(_read(adapter, folder, "head"))
        else:
            _rank(adapter, _hub_config(adapter))
    return tuple(here)


def fetch_adapters(adapters: Iterable[AdapterSpec]) -> tuple[Adapter, ...]:
    """For an engine, on its worker: every adapter with its files here; those of the hub are downloaded.

    Raises JobRefused as `check_adapters` does.
    """
    return tuple(
        _read(adapter, Path(adapter.source) if is_local(adapter.source) else _hub_folder(adapter), "worker")
        for adapter in adapters
    )


def _read(adapter: AdapterSpec, folder: Path, pod: str) -> Adapter:
    if not folder.is_dir():
        raise _not_found(
            adapter, f"there is no folder {folder} on the {pod} pod; put the adapter there or mend the mount"
        )
    config = folder / CONFIG
    if not config.is_file():
        raise _not_found(adapter, f"{folder} holds no {CONFIG}; name the folder of a PEFT adapter")
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise _not_found(
            adapter, f"{folder} holds no {WEIGHTS}; save the adapter as safetensors, other formats are refused"
        )
    rank = _rank(adapter, config)
    _require_tensors(adapter, weights)
    return Adapter(adapter.name, folder, rank)


def _rank(adapter: AdapterSpec, path: Path) -> int:
    try:
        config: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise not_loadable(
            adapter.name, f"{path} cannot be read ({error}); put the adapter's own file there"
        ) from error
    kind = config.get("peft_type", LORA) if isinstance(config, dict) else None
    if kind != LORA:
        raise not_loadable(adapter.name, f"{path} is not the config of a LoRA adapter (peft_type {kind!r})")
    pattern = config.get("rank_pattern") or {}
    stated = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    ranks = [rank for rank in stated if type(rank) is int and rank > 0]
    if len(ranks) < len(stated):
        raise not_loadable(
            adapter.name, f"{path} names no rank: 'r' and all of 'rank_pattern' must be whole numbers above 0"
        )
    return max(ranks)


def _require_tensors(adapter: AdapterSpec, path: Path) -> None:
    """Reads the header only."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (OSError, SafetensorError) as error:
        raise not_loadable(adapter.name, f"{path} cannot be read ({error}); was it copied whole?") from error
    if not names:
        raise not_loadable(adapter.name, f"{path} holds no tensors; was the adapter trained and saved?")


def _hub_config(adapter: AdapterSpec) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(hf_hub_download(adapter.source, CONFIG))
    except (OSError, EntryNotFoundError, HFValidationError) as error:
        raise _not_on_hub(adapter, error) from error


def _hub_folder(adapter: AdapterSpec) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(snapshot_download(adapter.source, allow_patterns=[CONFIG, WEIGHTS]))
    except (OSError, EntryNotFoundError, HFValidationError) as error:
        raise _not_on_hub(adapter, error) from error


def _not_on_hub(adapter: AdapterSpec, error: Exception) -> JobRefused:
    cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
    found = (
        f"the hub has no readable adapter {adapter.source!r} from here ({cause}); mend the id, the token or the network"
    )
    return _not_found(adapter, found)


def _not_found(adapter: AdapterSpec, found: str) -> JobRefused:
    return JobRefused(Reason.MODEL_NOT_FOUND, f"{field_of(adapter.name)}.source: {found}")


def not_loadable(name: str, found: str) -> JobRefused:
    """The refusal of an adapter that is there and cannot be served."""
    return JobRefused(Reason.MODEL_NOT_LOADABLE, f"{field_of(name)}: {found}")
