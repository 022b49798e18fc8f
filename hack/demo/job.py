"""Renders the job that the demo applies: a BatchInferenceJob manifest whose volumes lead to folders of this machine.

Pure but for reading the manifest. A volume named `input`, `output` or `models` is led to the demo's own folder unless
the manifest already says hostPath; `--input` and `--output` always win.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

INPUT_MOUNT = "/data/input"
OUTPUT_MOUNT = "/data/output"
MODELS_MOUNT = "/models"


class DemoError(Exception):
    """What the user has to mend before the demo can go on; its text is all that is shown."""


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
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """metadata.namespace of the job."""
        return str(self.manifest["metadata"].get("namespace", "default"))


def load_manifest(path: Path) -> dict[str, Any]:
    """The one BatchInferenceJob in a YAML file. Raises DemoError where there is none."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise DemoError(f"--job {path}: {error}") from error
    jobs = [document for document in documents if isinstance(document, dict) and _kind(document)]
    if len(jobs) != 1:
        raise DemoError(f"--job {path}: expected one BatchInferenceJob, found {len(jobs)}")
    return jobs[0]


def _kind(document: dict[str, Any]) -> bool:
    return document.get("kind") == "BatchInferenceJob"


def render(manifest: dict[str, Any], folders: Folders) -> DemoJob:
    """The manifest with its volumes led to `folders`. Raises DemoError where a URI lies under no known folder."""
    manifest = copy.deepcopy(manifest)
    spec = manifest.setdefault("spec", {})
    template = spec.setdefault("template", {})
    if folders.input is not None:
        spec["input"] = {**spec.get("input", {}), "uri": f"{INPUT_MOUNT}/{folders.input.name}"}
    if folders.output is not None:
        spec["output"] = {**spec.get("output", {}), "uri": f"{OUTPUT_MOUNT}/"}
    _lead(template, "models", folders.models, MODELS_MOUNT, forced=False)
    default_input = folders.input or folders.default_input
    _lead(template, "input", default_input.parent, INPUT_MOUNT, forced=folders.input is not None)
    _lead(template, "output", folders.output or folders.default_output, OUTPUT_MOUNT, forced=folders.output is not None)
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


def _lead(template: dict[str, Any], name: str, folder: Path, mount: str, *, forced: bool) -> None:
    """Leads the volume `name` to `folder`; adds volume and mount where they are missing."""
    volumes = template.setdefault("volumes", [])
    mounts = template.setdefault("volumeMounts", [])
    volume = next((volume for volume in volumes if volume.get("name") == name), None)
    if volume is None:
        if any(existing.get("mountPath") == mount for existing in mounts):
            return  # the manifest serves this path by a volume of its own
        volumes.append({"name": name, "hostPath": {"path": str(folder)}})
    elif forced or "hostPath" not in volume:
        volumes[volumes.index(volume)] = {"name": name, "hostPath": {"path": str(folder)}}
    existing = next((existing for existing in mounts if existing.get("name") == name), None)
    if existing is None:
        mounts.append({"name": name, "mountPath": mount, **({} if name == "output" else {"readOnly": True})})
    elif forced:
        existing["mountPath"] = mount
        existing.pop("subPath", None)


def on_this_machine(template: dict[str, Any], uri: str) -> Path:
    """The folder or file of this machine that a local URI of the job means. Raises DemoError for another kind."""
    path = PurePosixPath(uri.removeprefix("file://"))
    hosts = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in template.get("volumes", [])}
    for mount in sorted(template.get("volumeMounts", []), key=lambda mount: -len(mount["mountPath"])):
        host = hosts.get(mount["name"])
        if host is not None and path.is_relative_to(mount["mountPath"]):
            return Path(host, mount.get("subPath", ""), path.relative_to(mount["mountPath"]))
    raise DemoError(f"{uri}: the demo shows jobs on local folders; mount one by a hostPath volume of the template")
