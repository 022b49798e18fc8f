"""Renders the job that the demo applies: a BatchInferenceJob manifest whose volumes lead to folders of this machine.

Pure. A volume named `input`, `output` or `models` is led to the demo's own folder unless the manifest already says
hostPath; `--input` and `--output` always win.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from demo.errors import DemoError
from demo.manifests import MODELS_MOUNT, lead, name_of, namespace_of

KIND = "BatchInferenceJob"
INPUT_MOUNT = "/data/input"
OUTPUT_MOUNT = "/data/output"


@dataclass(frozen=True)
class Folders:
    """Where the demo's files are on this machine. `input` and `output` are None where the user named none."""

    models: Path
    default_input: Path
    default_output: Path
    input: Path | None = None
    output: Path | None = None


@dataclass(frozen=True)
class DemoJob:
    """A rendered job and where its files lie on this machine."""

    manifest: dict[str, Any]
    input: Path
    output: Path

    @property
    def name(self) -> str:
        """metadata.name of the job."""
        return name_of(self.manifest)

    @property
    def namespace(self) -> str:
        """metadata.namespace of the job."""
        return namespace_of(self.manifest)


def render(manifest: dict[str, Any], folders: Folders) -> DemoJob:
    """The manifest with its volumes led to `folders`. Raises DemoError where a URI lies under no known folder."""
    manifest = copy.deepcopy(manifest)
    spec = manifest.setdefault("spec", {})
    template = spec.setdefault("template", {})
    if folders.input is not None:
        spec["input"] = {**spec.get("input", {}), "uri": f"{INPUT_MOUNT}/{folders.input.name}"}
    if folders.output is not None:
        spec["output"] = {**spec.get("output", {}), "uri": f"{OUTPUT_MOUNT}/"}
    lead(template, "models", folders.models, MODELS_MOUNT)
    default_input = folders.input or folders.default_input
    lead(template, "input", default_input.parent, INPUT_MOUNT, forced=folders.input is not None)
    lead(template, "output", folders.output or folders.default_output, OUTPUT_MOUNT, forced=folders.output is not None)
    return DemoJob(
        manifest,
        on_this_machine(template, _uri(spec, "input")),
        on_this_machine(template, _uri(spec, "output")),
    )


def _uri(spec: dict[str, Any], field: str) -> str:
    uri = (spec.get(field) or {}).get("uri")
    if not isinstance(uri, str):
        raise DemoError(f"the job has no spec.{field}.uri")
    return uri


def on_this_machine(template: dict[str, Any], uri: str) -> Path:
    """The folder or file of this machine that a local URI of the job means. Raises DemoError for another kind."""
    path = PurePosixPath(uri.removeprefix("file://"))
    hosts = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in template.get("volumes", [])}
    for mount in sorted(template.get("volumeMounts", []), key=lambda mount: -len(mount["mountPath"])):
        host = hosts.get(mount["name"])
        if host is not None and path.is_relative_to(mount["mountPath"]):
            return Path(host, mount.get("subPath", ""), path.relative_to(mount["mountPath"]))
    raise DemoError(f"{uri}: the demo shows jobs on local folders; mount one by a hostPath volume of the template")
