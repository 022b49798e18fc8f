"""Where the containers' output goes: one file per container, the one before beside it, all bounded.

The launcher writes and rotates (`launch.Log`); a Pod's annotations name the files, from which the API server
answers `kubectl logs`. Files outlive their Pod, the newest ones, so that a failed run can be looked at.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ANNOTATION = "devcluster.tidemill.dev/log-"
KEPT_AFTER_DELETION = 100
"""Pods whose logs are kept after they are gone."""

LAST_WORDS_BYTES, LAST_WORDS_LINES = 2048, 80
"""How much of a log becomes a termination message: the kubelet's own bounds."""


def log_file(state: Path, pod: dict[str, Any], container: str) -> Path:
    """The log of a container; `<file>.previous` is that of its run before, `<file>.1` the older part."""
    metadata = pod["metadata"]
    return state / "logs" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}" / f"{container}.log"


def annotations(state: Path, pod: dict[str, Any]) -> dict[str, str]:
    """What to write on a Pod so that its logs are found."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    return {
        f"{ANNOTATION}{container['name']}"[: len(ANNOTATION) + 59]: str(log_file(state, pod, container["name"]))
        for container in containers
    }


def turn_over(log: Path) -> None:
    """Begin an empty log for the next run of a container."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.with_name(log.name + ".1").unlink(missing_ok=True)
    if log.exists():
        log.replace(log.with_name(log.name + ".previous"))
    log.touch()


def last_words(log: Path) -> str:
    """The end of a log, as `terminationMessagePolicy: FallbackToLogsOnError` shows it."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(text.splitlines(keepends=True)[-LAST_WORDS_LINES:])


def remove_old(state: Path, living: Iterable[str]) -> None:
    """Delete the logs of Pods gone longest, but for the newest; `living` are the uids of Pods that still are."""
    folder = state / "logs"
    if not folder.is_dir():
        return
    uids = set(living)
    gone = [entry for entry in folder.iterdir() if entry.name.rpartition("_")[2] not in uids]
    newest_first = sorted(gone, key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in newest_first[KEPT_AFTER_DELETION:]:
        shutil.rmtree(entry, ignore_errors=True)
