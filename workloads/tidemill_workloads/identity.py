"""Whose output folder is it, and which attempt owns it now? Both answered by create-only writes.

`job.json` binds a folder to one job: the first writer wins and everybody else compares. It never holds the object's
uid, so that a job deleted and applied again goes on where it was, and never a URL's query, which can be a signature.
`attempts/<n>` makes attempts take turns: each claims the next number, and stops as soon as it sees a higher one.
Refuses to touch a folder that is not ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.uris import on_server, public
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.index import INDEX_FILE
from tidemill_workloads.storage import COPIES, InputIdentity, input_changed

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig
    from tidemill_api.v1alpha1.common import ModelSpec
    from tidemill_workloads.storage import Folder

JOB_FILE = "job.json"
ATTEMPTS = "attempts"
FORMAT_VERSION = 1
QUERY_DIGEST = "query_sha256"
DEFAULTS = {"onInvalid": "Fail", "resubmitOf": ""}
"""What a `job.json` without these keys says: it was written before they were."""

FOREIGN_FILES = (
    "driver.log",
    "results.jsonl",
    "errors.jsonl",
    "manifest.json",
    "validation.jsonl",
    "parts",
    "started",
    "index",
    ATTEMPTS,
    COPIES,
)
"""What we would overwrite or remove: standing without our job.json it belongs to somebody else."""


def describe(config: JobConfig, identity: InputIdentity) -> dict[str, Any]:
    """The content of `job.json`: all that makes two attempts the same job.

    That is what decides which rows there are and what their lines say. Retries, bounds, workers and the window may
    change from one attempt to the next.
    """
    return {
        "version": FORMAT_VERSION,
        "job": f"{config.namespace}/{config.name}",
        "model": _model(config.model),
        "input": _unsigned({key: value for key, value in asdict(identity).items() if key != "etag" or value}),
        "onInvalid": config.on_invalid,
        "resubmitOf": config.resubmit_of_uri,
    }


def _model(model: ModelSpec) -> dict[str, Any]:
    """Adapters only where there are any: a `job.json` from before they were stays equal."""
    content: dict[str, Any] = {
        "name": model.name,
        "source": model.source,
        "engineArgs": model.engine_args.model_dump(by_alias=True, exclude_none=True),
    }
    if model.adapters:
        content["adapters"] = [adapter.model_dump(by_alias=True) for adapter in model.adapters]
    return content


def _unsigned(content: dict[str, Any]) -> dict[str, Any]:
    """An input's entry with a digest in the place of a server's query, which can be a signature.

    An entry that is so already stays as it is; one of before is made equal to what is written now.
    """
    uri = content.get("uri")
    if not isinstance(uri, str) or not on_server(uri) or "?" not in uri or QUERY_DIGEST in content:
        return content
    digest = hashlib.sha256(uri.partition("?")[2].encode()).hexdigest()
    return content | {"uri": public(uri), QUERY_DIGEST: digest}


def own_folder(folder: Folder, config: JobConfig, identity: InputIdentity) -> None:
    """Makes the folder this job's, or finds that it is.

    Raises JobRefused(OutputInUse) where another job has it and JobRefused(InputChanged) where rows of another state
    of the input were begun. An input that never passed validation may be mended: nothing of it was used.
    """
    ours = describe(config, identity)
    data = json.dumps(ours, indent=2).encode() + b"\n"
    if not folder.exists(JOB_FILE):
        _refuse_foreign_files(folder)
        if folder.create(JOB_FILE, data):
            return
    theirs = _read(folder)
    if _without_input_state(theirs) != _without_input_state(ours):
        raise _in_use(folder, theirs, ours)
    if theirs["input"] != ours["input"]:
        if folder.exists(INDEX_FILE) or folder.exists("manifest.json"):
            raise input_changed(identity.uri)
        folder.replace(JOB_FILE, data)


def belongs_to(folder: Folder, config: JobConfig) -> bool:
    """Whether the folder was made this job's by an earlier attempt, whatever became of the input since."""
    if not folder.exists(JOB_FILE):
        return False
    ours = describe(config, InputIdentity(config.input_uri, 0, 0))
    return _without_input_state(_read(folder)) == _without_input_state(ours)


def _refuse_foreign_files(folder: Folder) -> None:
    for name in FOREIGN_FILES:
        if folder.exists(name) and not folder.exists(JOB_FILE):
            message = f"spec.output.uri: {folder.uri(name)} exists and is not of this job; name another folder"
            raise JobRefused(Reason.OUTPUT_IN_USE, message)


def _read(folder: Folder) -> dict[str, Any]:
    try:
        content = json.loads(folder.read(JOB_FILE) or b"")
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("input"), dict):
        message = f"spec.output.uri: {folder.uri(JOB_FILE)} is not a file of Tidemill; name another folder"
        raise JobRefused(Reason.OUTPUT_IN_USE, message)
    return content | {"input": _unsigned(content["input"])}


def _without_input_state(content: dict[str, Any]) -> dict[str, Any]:
    of_input = content["input"]
    return DEFAULTS | content | {"input": (of_input.get("uri"), of_input.get(QUERY_DIGEST))}


def _in_use(folder: Folder, theirs: dict[str, Any], ours: dict[str, Any]) -> JobRefused:
    if theirs.get("job") != ours["job"]:
        what = f"job {theirs.get('job')}"
    else:
        known = DEFAULTS | theirs
        differing = [key for key in ("model", "input", *DEFAULTS) if known.get(key) != ours[key]]
        what = f"an earlier job {ours['job']} with another {' and '.join(differing) or 'format'}"
    message = f"spec.output.uri: {folder.uri('')} belongs to {what}; name another folder, or empty this one"
    return JobRefused(Reason.OUTPUT_IN_USE, message)


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt's hold on the output folder. Picklable: engine actors check it at each flush."""

    folder: Folder
    number: int

    @classmethod
    def next(cls, folder: Folder) -> Claim:
        """Takes the next number. Every other attempt sees it and stops."""
        number = max((int(name) for name in folder.names(ATTEMPTS) if name.isdigit()), default=0)
        while True:
            number += 1
            note = json.dumps({"attempt": number, "claimed_unix": time.time(), "pid": os.getpid()})
            if folder.create(_attempt(number), note.encode()):
                return cls(folder, number)

    def check(self) -> None:
        """Raises Superseded where a higher number stands. Numbers have no gaps, so one look is enough."""
        if self.folder.exists(_attempt(self.number + 1)):
            raise Superseded(f"attempt {self.number} ends: attempt {self.number + 1} has taken over the output folder")

    def first_claim_unix(self) -> float:
        """When the first attempt began, in seconds since 1970."""
        note = self.folder.read(_attempt(1))
        return float(json.loads(note)["claimed_unix"]) if note else time.time()


def _attempt(number: int) -> str:
    return f"{ATTEMPTS}/{number:06d}"
