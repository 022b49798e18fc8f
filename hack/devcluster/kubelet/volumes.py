"""A Pod's volumes, made as folders of this machine that its containers then bind.

What a volume of files holds (Secret, ConfigMap, downward API, projected) is computed purely by `files_of`;
`write_files` swaps it in atomically, in the layout of the real kubelet, so an update is seen at once or not at
all. Files of Secrets live in a tmpfs and never reach the disk. A hostPath is the machine's own path: nothing
keeps a Pod from naming any of them.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devcluster.kubelet import system_calls as calls
from devcluster.kubelet.environment import ConfigError, PodFacts, Reference, expand, field_value, resource_value
from devcluster.kubelet.quantities import parse
from devcluster.kubelet.root import MOUNT_SOURCE, Mount
from devcluster.kubelet.security import owner_of_tokens
from devcluster.kubelet.tokens import key_of

Object = Mapping[str, Any]

OF_FILES = ("secret", "configMap", "downwardAPI", "projected")
DEFAULT_MODE = 0o644
DEFAULT_SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm where no volume is mounted there, as container runtimes give."""


@dataclass(frozen=True)
class File:
    """One file of a volume of files; `user` and `group` are the ids that own it."""

    content: bytes
    mode: int = DEFAULT_MODE
    user: int = 0
    group: int = 0


def references(volumes: list[Object]) -> Iterator[Reference]:
    """The Secrets and ConfigMaps that volumes show, whether optional or not."""
    for volume in volumes:
        projected = (volume.get("projected") or {}).get("sources") or []
        for source in (volume, *projected):
            if "secret" in source:
                yield "Secret", source["secret"].get("secretName") or source["secret"].get("name")
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]


def data_of(obj: Object) -> dict[str, bytes]:
    """The decoded contents of a Secret or a ConfigMap."""
    if obj.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    text = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return text | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def files_of(volume: Object, pod: Object, facts: PodFacts) -> dict[str, File]:
    """What a volume of files holds, by path. Raises `ConfigError` for what is missing and not optional."""
    group = _group_of(pod)
    files = _files_of(volume, pod, facts)
    if group is None:
        return files
    return {path: replace(file, mode=file.mode | 0o440, group=group) for path, file in files.items()}


def _group_of(pod: Object) -> int | None:
    """The Pod's fsGroup."""
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)


def _files_of(volume: Object, pod: Object, facts: PodFacts) -> dict[str, File]:
    if "projected" in volume:
        mode = volume["projected"].get("defaultMode", DEFAULT_MODE)
        files: dict[str, File] = {}
        for source in volume["projected"].get("sources") or []:
            files |= _files_of_source(source, pod, facts, mode)
        return files
    kind = next(kind for kind in OF_FILES if kind in volume)
    return _files_of_source(volume, pod, facts, volume[kind].get("defaultMode", DEFAULT_MODE))


def _files_of_source(source: Object, pod: Object, facts: PodFacts, mode: int) -> dict[str, File]:
    if "secret" in source:
        spec = source["secret"]
        return _files_of_data("Secret", spec.get("secretName") or spec.get("name"), spec, facts, mode)
    if "configMap" in source:
        return _files_of_data("ConfigMap", source["configMap"]["name"], source["configMap"], facts, mode)
    if "downwardAPI" in source:
        items = source["downwardAPI"].get("items") or []
        return {_safe(item["path"]): File(_downward(item, pod, facts), item.get("mode", mode)) for item in items}
    if "serviceAccountToken" in source:
        return _token_file(source["serviceAccountToken"], pod, facts, mode)
    raise ConfigError(f"volume source {sorted(source)} is not offered by the dev cluster", reason="ContainerCreating")


def _token_file(spec: Object, pod: Object, facts: PodFacts, mode: int) -> dict[str, File]:
    """As kubelet: a token is its user's alone where there is one or an fsGroup, else as readable as the volume says."""
    user = owner_of_tokens(pod)
    private = user is not None or _group_of(pod) is not None
    return {_safe(spec["path"]): File(facts.tokens[key_of(spec)], 0o600 if private else mode, user or 0)}


def _files_of_data(kind: str, name: str, spec: Object, facts: PodFacts, mode: int) -> dict[str, File]:
    content = facts.data.get((kind, name))
    if content is None:
        if spec.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found', reason="ContainerCreating")
    if not spec.get("items"):
        return {_safe(key): File(value, mode) for key, value in content.items()}
    files = {}
    for item in spec["items"]:
        if item["key"] in content:
            files[_safe(item["path"])] = File(content[item["key"]], item.get("mode", mode))
        elif not spec.get("optional"):
            raise ConfigError(f'{kind.lower()} "{name}" has no key {item["key"]!r}', reason="ContainerCreating")
    return files


def _downward(item: Object, pod: Object, facts: PodFacts) -> bytes:
    if "fieldRef" in item:
        return field_value(item["fieldRef"]["fieldPath"], pod, facts).encode()
    reference = item["resourceFieldRef"]
    container = next(one for one in pod["spec"]["containers"] if one["name"] == reference.get("containerName"))
    return resource_value(reference, container, facts).encode()


def _safe(path: str) -> str:
    """A relative path that stays inside its volume."""
    if path.startswith("/") or ".." in path.split("/") or not path:
        raise ConfigError(f"{path!r} is not a path inside a volume", reason="CreateContainerConfigError")
    return path


def write_files(folder: Path, files: Mapping[str, File]) -> None:
    """Make a folder hold exactly these files: written aside, then shown by swapping one symbolic link."""
    current = folder / "..data"
    aside = folder / f"..{time.time_ns()}"
    for path, file in files.items():
        target = aside / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_bytes(file.content)
        os.chown(target, file.user, file.group)
        target.chmod(file.mode)
    aside.mkdir(exist_ok=True)
    before = folder / os.readlink(current) if current.is_symlink() else None  # noqa: PTH115 - the text as it stands
    link = folder / "..data.new"
    link.symlink_to(aside.name)
    link.replace(current)
    tops = {path.partition("/")[0] for path in files}
    for name in tops:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


def make_volume(volume: Object, folder: Path, claims: Path, pod: Object, facts: PodFacts) -> None:
    """Make one volume at `folder` (a folder, or a link to one elsewhere), or bring its files up to date.

    `claims` holds the folders of the namespace's PersistentVolumeClaims, made when a claim is bound.
    Raises `ConfigError` where something it needs is not there.
    """
    if any(kind in volume for kind in OF_FILES):
        files = files_of(volume, pod, facts)
        _tmpfs_once(folder, "mode=755,size=64m")
        if json.dumps(_fingerprint(files)) != _shown(folder):
            write_files(folder, files)
            (folder / "..fingerprint").write_text(json.dumps(_fingerprint(files)))
    elif "emptyDir" in volume:
        _make_empty(volume["emptyDir"] or {}, folder)
        _give_to_group(folder, _group_of(pod))
    elif "hostPath" in volume:
        _link(folder, _host_path(volume["hostPath"]))
    elif "persistentVolumeClaim" in volume:
        claim = volume["persistentVolumeClaim"]["claimName"]
        if not (claims / claim).is_dir():
            raise ConfigError(f'persistentvolumeclaim "{claim}" not found', reason="ContainerCreating")
        _link(folder, claims / claim)
        if not (claims / claim).is_symlink():  # as in Kubernetes: fsGroup does not reach a hostPath
            _give_to_group(claims / claim, _group_of(pod))
    else:
        kinds = sorted(set(volume) - {"name"})
        raise ConfigError(f"volume {volume['name']!r}: {kinds} is not offered by the dev cluster")


def _fingerprint(files: Mapping[str, File]) -> list[list[str | int]]:
    return [
        [path, hashlib.sha256(file.content).hexdigest(), file.mode, file.user, file.group]
        for path, file in sorted(files.items())
    ]


def _shown(folder: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return (folder / "..fingerprint").read_text()
    return ""


def _make_empty(spec: Object, folder: Path) -> None:
    limit = spec.get("sizeLimit")
    if spec.get("medium") == "Memory" or limit:
        _tmpfs_once(folder, "mode=1777" + (f",size={int(parse(limit))}" if limit else ""))
    elif not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o777)


def _give_to_group(folder: Path, group: int | None) -> None:
    """Let a Pod's fsGroup write to a folder, and have what is made in it belong to the group."""
    if group is not None and folder.stat().st_gid != group:
        os.chown(folder, -1, group)
        folder.chmod(folder.stat().st_mode & 0o7777 | 0o2770)


def make_shared_memory(folder: Path) -> None:
    """The Pod's own /dev/shm, for when it mounts nothing there."""
    _tmpfs_once(folder, f"mode=1777,size={DEFAULT_SHARED_MEMORY}")


def _tmpfs_once(folder: Path, options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_mount():
        calls.mount(MOUNT_SOURCE, str(folder), "tmpfs", calls.MS_NOSUID | calls.MS_NODEV, options)


def _link(folder: Path, target: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.unlink(missing_ok=True)
    folder.symlink_to(target)


def _host_path(spec: Object) -> Path:
    path, kind = Path(spec["path"]), spec.get("type") or ""
    if kind in {"", "DirectoryOrCreate"} and not path.exists():
        path.mkdir(parents=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch()
    fits = {"Directory": path.is_dir(), "DirectoryOrCreate": path.is_dir(), "File": path.is_file()}
    if not path.exists() or not fits.get(kind, True):
        raise ConfigError(f"hostPath type check failed: {path} is not a {kind or 'path'}", reason="ContainerCreating")
    return path


def mounts_of(container: Object, volumes: Path, environment: Mapping[str, str]) -> list[Mount]:
    """The binds of one container's volumeMounts; missing subPath folders are made. Raises `ConfigError`."""
    mounts = []
    for spec in container.get("volumeMounts") or []:
        volume = volumes / spec["name"]
        if not volume.exists():
            raise ConfigError(f"volumeMount {spec['mountPath']}: the pod has no volume {spec['name']!r}")
        source = volume.resolve()
        sub_path = spec.get("subPath") or expand(spec.get("subPathExpr") or "", environment)
        if sub_path:
            source /= _safe(sub_path)
            if not source.exists():
                source.mkdir(parents=True)
            if not source.resolve().is_relative_to(volume.resolve()):
                raise ConfigError(f"subPath {sub_path!r} leads out of volume {spec['name']!r}")
        mounts.append(Mount(str(source), spec["mountPath"], bool(spec.get("readOnly"))))
    return mounts
