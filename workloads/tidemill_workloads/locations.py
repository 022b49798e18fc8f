"""From the URIs of a job to opened places: refuses what lies outside of the declared mounts or cannot be used.

Every check speaks to the user: the message names the field, what was found and the fix. A path is judged after
resolving `..` and symbolic links, so that no link leads out of a mount. Which kind of place a URI means is decided
here; `remote_locations` knows the places that are no paths.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.uris import public
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.http_input import standing_copy
from tidemill_workloads.identity import ATTEMPTS
from tidemill_workloads.index import INDEX_FILE
from tidemill_workloads.local_storage import LocalFolder, LocalInput
from tidemill_workloads.object_storage import ObjectFolder, ObjectInput
from tidemill_workloads.parts import PARTS
from tidemill_workloads.remote_locations import (
    STORE_SCHEMES,
    WEB_SCHEMES,
    object_folder,
    open_http_input,
    open_object_input,
    prove_writable,
    scheme_of,
)
from tidemill_workloads.storage import COPIES, TEMPORARY_PREFIX, input_changed, output_not_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.index import Index
    from tidemill_workloads.storage import Folder, Input

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".lz4", ".tgz")
COMPRESSED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
OWN_FOLDERS = (PARTS, INDEX_FILE.partition("/")[0], ATTEMPTS, COPIES)


def open_input(uri: str, mounts: Sequence[str], allow_loopback: bool = False) -> Input:
    """The file of requests, pinned. `allow_loopback`: whether a server may be the pod itself.

    Raises JobRefused with InvalidSpec, InputNotFound, InputNotReadable or StorageUnreachable.
    """
    field = "spec.input.uri"
    scheme = scheme_of(uri)
    if uri.partition("?")[0].lower().endswith(COMPRESSED_SUFFIXES):
        raise _compressed(field, uri, Reason.INVALID_SPEC)
    source: Input
    if scheme in STORE_SCHEMES:
        source = open_object_input(uri)
        head = source.read_range(0, min(8, source.identity.size))
    elif scheme in WEB_SCHEMES:
        source = open_http_input(uri, allow_loopback)
        head = source.head
    else:
        return _open_local_input(uri, mounts, field)
    if head.startswith(COMPRESSED_MAGIC):
        raise _compressed(field, uri, Reason.INPUT_NOT_READABLE)
    return source


def validated_input(config: JobConfig, folder: Folder, index: Index) -> Input:
    """The input that the index was made of: its copy beside the output where one stands, whatever became of the server.

    Raises JobRefused as `open_input` does, and with InputChanged.
    """
    copy = standing_copy(config.input_uri, index.state, folder)
    if copy is not None:
        return copy
    source = open_input(config.input_uri, config.mounts, config.allow_loopback_input).settled(folder)
    if source.identity.state != index.state:
        raise input_changed(config.input_uri)
    return source


def _open_local_input(uri: str, mounts: Sequence[str], field: str) -> LocalInput:
    path = _local_path(uri, field)
    _require_mount(path, mounts, field, Reason.INPUT_NOT_READABLE)
    try:
        if path.is_dir():
            message = f"{field}: {uri} is a folder; name the JSONL file in it"
            raise JobRefused(Reason.INPUT_NOT_READABLE, message)
        with path.open("rb") as file:
            if file.read(8).startswith(COMPRESSED_MAGIC):
                raise _compressed(field, uri, Reason.INPUT_NOT_READABLE)
        return LocalInput.at(path.resolve(), uri)
    except (FileNotFoundError, NotADirectoryError):
        message = f"{field}: there is no file {uri} on the head pod; put the file there or mend the mount"
        raise JobRefused(Reason.INPUT_NOT_FOUND, message) from None
    except OSError as error:
        message = f"{field}: {uri} cannot be read ({error.strerror}); mend its permissions or the mount"
        raise JobRefused(Reason.INPUT_NOT_READABLE, message) from error


def _compressed(field: str, uri: str, reason: Reason) -> JobRefused:
    message = f"{field}: {public(uri)} is compressed, which is not supported; decompress it and name the plain file"
    return JobRefused(reason, message)


def open_output(uri: str, mounts: Sequence[str]) -> Folder:
    """The folder for results, created and proven writable.

    Raises JobRefused with InvalidSpec, OutputNotWritable or StorageUnreachable.
    """
    field = "spec.output.uri"
    if scheme_of(uri) in STORE_SCHEMES:
        folder = object_folder(uri, field)
        prove_writable(folder)
        return folder
    return _open_local_output(uri, mounts, field)


def _open_local_output(uri: str, mounts: Sequence[str], field: str) -> LocalFolder:
    path = _local_path(uri, field)
    _require_mount(path, mounts, field, Reason.OUTPUT_NOT_WRITABLE)
    probe = f"{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        folder = LocalFolder(path.resolve(), uri)
        folder.create(probe, b"probe\n")  # written, synchronised and linked, as everything later
        folder.delete(probe)
    except (FileExistsError, NotADirectoryError):
        message = f"{field}: {uri} or a part of its path is a file, not a folder; name another folder"
        raise JobRefused(Reason.OUTPUT_NOT_WRITABLE, message) from None
    except OSError as error:
        raise output_not_writable(uri, error) from error
    return folder


def open_existing(uri: str, mounts: Sequence[str], field: str) -> Folder:
    """The output folder of another job, to read from: nothing is created or proven. Raises JobRefused(InvalidSpec).

    A link out of the mounts can be mended: JobRefused(ResubmitSourceNotReady).
    """
    if scheme_of(uri) in STORE_SCHEMES:
        return object_folder(uri, field)
    path = _local_path(uri, field)
    _require_mount(path, mounts, field, Reason.RESUBMIT_SOURCE_NOT_READY)
    return LocalFolder(path.resolve(), uri)


def refuse_input_in_own_folders(source: Input, folder: Folder) -> None:
    """Raises JobRefused(InvalidSpec) for an input in a folder that is removed, or is not the user's, at the end."""
    for name in OWN_FOLDERS:
        if _lies_in(source, folder, name):
            message = (
                f"spec.input.uri: {source.identity.uri} lies in {folder.uri(name)}, which the job keeps for itself; "
            )
            raise JobRefused(Reason.INVALID_SPEC, message + "put the file elsewhere, or name another output folder")


def _lies_in(source: Input, folder: Folder, name: str) -> bool:
    if isinstance(source, LocalInput) and isinstance(folder, LocalFolder):
        return source.path.is_relative_to(folder.root / name)
    if isinstance(source, ObjectInput) and isinstance(folder, ObjectFolder):
        return source.bucket == folder.bucket and source.key.startswith(f"{folder.prefix}/{name}/")
    return False


def model_folder(source: str, mounts: Sequence[str], field: str) -> Path:
    """The folder that a local source of a model or adapter names. Raises JobRefused: InvalidSpec or ModelNotFound."""
    path = _local_path(source, field)
    _require_mount(path, mounts, field, Reason.MODEL_NOT_FOUND)
    return path


def is_local(source: str) -> bool:
    """Whether a model source is a path; anything else is a hub id."""
    return source.startswith("/")


def _local_path(uri: str, field: str) -> Path:
    """The path of a URI. A plain path is taken as it is written: `%20` is decoded in `file://` only."""
    scheme, marked, rest = uri.partition("://")
    if marked and scheme.lower() in (*STORE_SCHEMES, *WEB_SCHEMES):
        message = f"{field}: {scheme}:// cannot be used here; name a path under a mount of spec.template"
        raise JobRefused(Reason.INVALID_SPEC, message)
    path = uri
    if marked and scheme.lower() == "file":
        host, slash, below = rest.partition("/")
        path = unquote(slash + below) if host in ("", "localhost") else ""
    if not path.startswith("/") or "\0" in path:
        message = f"{field}: {uri!r} is not an absolute path; name a path under a mount of spec.template"
        raise JobRefused(Reason.INVALID_SPEC, message)
    return Path(path)


def _require_mount(path: Path, mounts: Sequence[str], field: str, reason_of_link: Reason) -> None:
    """A path that is written outside of the mounts can never heal; one that a symbolic link leads out can."""
    written = Path(os.path.normpath(path))
    named = ", ".join(mounts) or "none"
    if not _lies_under(written, [Path(mount) for mount in mounts]):
        message = f"{field}: {path} lies under no mount of spec.template (mounts: {named}); mount its volume there"
        raise JobRefused(Reason.INVALID_SPEC, message)
    resolved = Path(os.path.realpath(path))
    if not _lies_under(resolved, [Path(os.path.realpath(mount)) for mount in mounts]):
        message = f"{field}: {path} leads to {resolved}, which lies under no mount (mounts: {named}); mend the link"
        raise JobRefused(reason_of_link, message)


def _lies_under(path: Path, mounts: Sequence[Path]) -> bool:
    return any(path.is_relative_to(mount) for mount in mounts)
