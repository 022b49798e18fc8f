"""Are the model and its adapters there? Asked on the head before anything is paid for; of weights the headers are read.

A source that is a path must be a folder with a config and whole weights; any other source is a hub id, whose config is
fetched by the hub's own client, which honours HF_HUB_OFFLINE and its cache.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_workloads.adapter_files import check_adapters
from tidemill_workloads.adapter_shapes import require_shapes
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.locations import is_local, model_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_api.v1alpha1.common import ModelSpec

CONFIG = "config.json"
WEIGHT_PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
INDEX = "model.safetensors.index.json"
FIELD = "spec.model.source"


def check_model(model: ModelSpec, mounts: Sequence[str]) -> None:
    """Raises JobRefused with the cause: ModelNotFound, or ModelNotLoadable for weights that are no whole files.

    InvalidSpec for a path outside of the mounts, and what `check_adapters` and `require_shapes` raise.
    """
    if is_local(model.source):
        _check_folder(model_folder(model.source, mounts, FIELD))
    else:
        _check_hub(model.source)
    require_shapes(model.source, check_adapters(model.adapters, mounts))


def check_model_of_engine(source: str) -> None:
    """The same for the model alone, asked by the engine of an endpoint on its worker pod. Raises as `check_model`."""
    if is_local(source):
        _check_folder(Path(source), "worker")
    else:
        _check_hub(source)


def _check_folder(folder: Path, pod: str = "head") -> None:
    if not folder.is_dir():
        raise _not_found(f"there is no folder {folder} on the {pod} pod; put the model there or mend the mount")
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError:
        raise _not_found(f"{folder} holds no {CONFIG}; name the folder of a Hugging Face model") from None
    except (OSError, ValueError) as error:
        raise _not_found(f"{folder}/{CONFIG} cannot be read ({error}); put the model's own file there") from error
    if not isinstance(config, dict):
        raise _not_found(f"{folder}/{CONFIG} is no model's config; put the model's own file there")
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHT_PATTERNS):
        names = ", ".join(WEIGHT_PATTERNS)
        raise _not_found(f"{folder} holds no weights ({names}); was the model copied whole?")
    _check_weights(folder)


def _check_weights(folder: Path) -> None:
    """Every safetensors file is as long as its header says, and none that the index names is missing."""
    from safetensors import SafetensorError, safe_open

    missing = sorted(name for name in _indexed(folder / INDEX) if not (folder / name).is_file())
    if missing:
        raise _not_found(f"{folder} lacks {missing[0]} of its weights ({len(missing)} in all); was it copied whole?")
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np"):
                pass
        except (OSError, SafetensorError) as error:
            found = f"{path} is no whole file of weights ({error}); was it copied whole, no git-lfs pointer?"
            raise JobRefused(Reason.MODEL_NOT_LOADABLE, f"{FIELD}: {found}") from error


def _indexed(path: Path) -> set[str]:
    """The files that an index of several weight files names; none where there is no index that can be read."""
    try:
        index = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return set()
    named = index.get("weight_map") if isinstance(index, dict) else None
    return {str(name) for name in named.values()} if isinstance(named, dict) else set()


def _check_hub(source: str) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        hf_hub_download(source, CONFIG)
    except HFValidationError as error:
        raise _not_found(f"{source!r} is neither a path nor a hub id ({error})") from error
    except (OSError, EntryNotFoundError) as error:  # the hub client's network and "no such repository" errors
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"the hub has no readable model {source!r} from here ({cause}); mend the id, the token or the network"
        raise _not_found(message) from error


def _not_found(found: str) -> JobRefused:
    return JobRefused(Reason.MODEL_NOT_FOUND, f"{FIELD}: {found}")
