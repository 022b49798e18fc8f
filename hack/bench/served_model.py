"""The model of the realtime benchmarks, as a user names it, and what both sides are told about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import MODEL, TICKETS

from tidemill_api.endpoint_contract import EndpointConfig
from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec
from tidemill_workloads.serving.engine import ServerSettings

if TYPE_CHECKING:
    import argparse

MOUNT = "/models"


@dataclass(frozen=True)
class ServedModel:
    """A model folder and how it is served. `sequences` is how many requests the engine decodes at once."""

    folder: Path
    dtype: str
    length: int
    sequences: int

    @property
    def name(self) -> str:
        """By which requests ask for it."""
        return re.sub(r"[^A-Za-z0-9._-]", "-", self.folder.name)

    def spec(self) -> dict[str, Any]:
        """`spec.model` and what stands beside it of an endpoint with one replica, whose pods mount the folder."""
        volume = {"name": "models", "hostPath": {"path": str(self.folder.parent)}}
        arguments = {"dtype": self.dtype, "maxModelLen": self.length}
        return {
            "model": {"name": self.name, "source": f"{MOUNT}/{self.folder.name}", "engineArgs": arguments},
            "batching": {"maxSequences": self.sequences},
            "resources": {"gpu": 0, "cpu": "2", "memory": "8Gi"},
            "head": {"cpu": "1", "memory": "3Gi"},
            "template": {
                "volumes": [volume],
                "volumeMounts": [{"name": "models", "mountPath": MOUNT, "readOnly": True}],
            },
        }

    def server(self) -> ServerSettings:
        """The same as the endpoint's engine is built from, with the folder as it is called on this machine."""
        arguments = EngineArgs.model_validate({"dtype": self.dtype, "max_model_len": self.length})
        return ServerSettings(
            EndpointConfig(
                namespace="bench",
                name="bare",
                revision="none",
                model=ModelSpec(name=self.name, source=str(self.folder), engine_args=arguments),
                gpus_per_replica=0,
                max_sequences=self.sequences,
                drain_seconds=1,
            )
        )


def add_options(line: argparse.ArgumentParser) -> None:
    """`--model`, `--prompts` and what goes with them."""
    line.add_argument("--model", metavar="FOLDER", default=str(MODEL), help="a Hugging Face folder (default: smollm2)")
    line.add_argument("--prompts", metavar="FILE", default=str(TICKETS), help="lines of a batch input, bodies or text")
    line.add_argument("--natural", action="store_true", help="the model ends its answers, instead of drawn lengths")
    line.add_argument("--dtype", default="float32", help="engineArgs.dtype (default float32)")
    line.add_argument("--max-model-len", type=int, default=2048, help="engineArgs.maxModelLen (default 2048)")
    line.add_argument("--max-sequences", type=int, default=32, help="batching.maxSequences (default 32)")


def served_model(options: argparse.Namespace) -> ServedModel:
    """The model that the options name. Raises SystemExit where there is none."""
    folder = Path(options.model).resolve()
    if not (folder / "config.json").is_file():
        raise SystemExit(
            f"--model {folder} has no config.json: a Hugging Face folder is wanted (./hack/setup.sh makes one)"
        )
    return ServedModel(folder, options.dtype, options.max_model_len, options.max_sequences)
