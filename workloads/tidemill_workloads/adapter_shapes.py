"""Was a LoRA adapter made from this model? Told by the headers of both weight files, in milliseconds.

vLLM 0.32 does not ask: it copies what it finds into buffers of the model's shapes, so that an adapter of another model
loads without a word and answers nonsense. Only what is plainly wrong is refused here; layers that the model's files
name in another way (fused, quantized, of an expert) are left to vLLM.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_workloads.adapter_files import WEIGHTS, not_loadable
from tidemill_workloads.locations import is_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidemill_workloads.adapter_files import Adapter

Shape = tuple[int, ...]

_PART = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<part>[AB])\.weight")
"""PEFT's name of one of the two matrices of a layer: A is (rank, in), B is (out, rank)."""

_LAYER = re.compile(r"(?<=\.layers\.)\d+(?=\.)")


def require_shapes(source: str, adapters: Iterable[Adapter]) -> None:
    """Compares every adapter with the model's own weights, as far as these are on this machine.

    Raises JobRefused(ModelNotLoadable) with the adapter's name.
    """
    adapters = tuple(adapters)
    folder = _folder_of(source) if adapters else None
    model = _shapes(sorted(folder.glob("*.safetensors"))) if folder is not None else {}
    for adapter in adapters if model else ():
        fault = fault_of(_shapes([adapter.folder / WEIGHTS]), model)
        if fault:
            raise not_loadable(adapter.name, f"it was made from another model than {source}: {fault}")


def fault_of(adapter: Mapping[str, Shape], model: Mapping[str, Shape]) -> str:
    """What an adapter's tensors say against this model; empty where they fit. Both by the names in their files."""
    wanted: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, shape in adapter.items():
        if (found := _PART.fullmatch(name)) is not None and len(shape) == 2:
            wanted[found["module"]][found["part"]] = shape[1] if found["part"] == "A" else shape[0]
    for module, sizes in wanted.items():
        has = model.get(f"{module}.weight")
        if has is None:
            if f"{_LAYER.sub('0', module, count=1)}.weight" in model:
                return f"the model has no {module}"
        elif len(has) == 2 and not _fits(sizes, has):
            told = " x ".join(str(sizes.get(part, "?")) for part in "BA")
            return f"{module} is {has[0]} x {has[1]} in the model and {told} in the adapter"
    return ""


def _fits(sizes: Mapping[str, int], has: Shape) -> bool:
    """Whether the layer of this shape is (out, in), or (in, out) as older models store it."""
    out_size, in_size = sizes.get("B"), sizes.get("A")
    return any(out_size in (None, rows) and in_size in (None, columns) for rows, columns in (has, has[::-1]))


def _shapes(paths: Iterable[Path]) -> dict[str, Shape]:
    """The shapes of all plain (not packed) tensors in these files; a file that cannot be read tells nothing."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, Shape] = {}
    for path in paths:
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118 - no dict: it has no iterator of its own
                    tensor = file.get_slice(name)
                    if tensor.get_dtype().startswith(("F", "BF")):
                        found[name] = tuple(tensor.get_shape())
        except (OSError, SafetensorError):
            continue
    return found


def _folder_of(source: str) -> Path | None:
    """Where the model's files are; None for one of the hub that was not downloaded yet."""
    if is_local(source):
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (OSError, EntryNotFoundError, HFValidationError):
        return None
