"""Small makers of inputs, jobs and answered lines for the tests of the workloads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tidemill_api.job_contract import JobConfig
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.identity import Claim
from tidemill_workloads.local_storage import LocalFolder, LocalInput
from tidemill_workloads.parts import RESULT, PartLine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MODEL = "m"
NO_TENSORS = (2).to_bytes(8, "little") + b"{}"
"""A whole safetensors file without a tensor."""


def request(identifier: str, **changes: Any) -> dict[str, Any]:
    """A valid chat request; a change of None removes the key."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    line = {"custom_id": identifier, "method": "POST", "url": "/v1/chat/completions", "body": body} | changes
    return {key: value for key, value in line.items() if value is not None}


def chat(**changes: Any) -> dict[str, Any]:
    """The body of a valid chat request with changes."""
    body = request("x")["body"] | changes
    return {key: value for key, value in body.items() if value is not None}


def write_lines(path: Path, lines: Iterable[dict[str, Any] | bytes]) -> LocalInput:
    """An input of those lines, each with a newline; bytes stand as they are."""
    encoded = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return LocalInput.at(path, str(path))


def folder_at(path: Path) -> LocalFolder:
    """An output folder."""
    path.mkdir(parents=True, exist_ok=True)
    return LocalFolder(path, str(path))


def claim_at(path: Path) -> Claim:
    """The next attempt on an output folder."""
    return Claim.next(folder_at(path))


def model_at(path: Path) -> Path:
    """A folder that passes for a local model's: a config and weights. Nothing loads it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(NO_TENSORS)
    return path


def job(root: Path, **changes: Any) -> JobConfig:
    """A job over `root/input.jsonl` into `root/output/`, with a model that passes for one."""
    values: dict[str, Any] = {
        "namespace": "shop",
        "name": "tickets",
        "attempt": 1,
        "model": ModelSpec(name=MODEL, source=str(model_at(root / "model"))),
        "input_uri": str(root / "input.jsonl"),
        "output_uri": str(root / "output") + "/",
        "workers_max": 1,
        "gpus_per_worker": 0,
        "mounts": (str(root),),
        "metrics_port": 0,
        "retry_backoff_seconds": 0,
    }
    return JobConfig(**(values | changes))


def answered(line: int, kind: bytes = RESULT, note: str = "") -> PartLine:
    """The durable line of an answered row."""
    return PartLine(line, kind, 3, 2, 1_700_000_000_000 + line, json.dumps({"line": line, "note": note}).encode())
