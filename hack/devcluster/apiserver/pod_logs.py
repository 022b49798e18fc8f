"""`kubectl logs`: reads the file a kubelet keeps for a container, whole, from the end, or as it grows.

The kubelet names the file in the Pod's annotation `devcluster.tidemill.dev/log-<container>`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster.apiserver.errors import StatusError, bad_request
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.requests import parse_boolean, parse_seconds

ANNOTATION = "devcluster.tidemill.dev/log-"
_CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class LogOptions:
    """Which log: `path` of the file; `tail` lines from its end (None: all); `follow` it; at most `limit` bytes."""

    path: Path
    follow: bool = False
    tail: int | None = None
    limit: int | None = None


def parse_log_options(pod: JsonObject, query: Mapping[str, str]) -> LogOptions:
    """Find the log that is asked for. Raises `StatusError` 400 where the container is not clear or has none yet."""
    name = metadata(pod)["name"]
    spec = pod.get("spec", {})
    containers = [c["name"] for c in spec.get("containers") or ()]
    initial = [c["name"] for c in spec.get("initContainers") or ()]
    container = query.get("container", "")
    if not container:
        if len(containers) > 1:
            choices = f"[{' '.join(containers)}]"
            raise bad_request(f"a container name must be specified for pod {name}, choose one of: {choices}")
        container = containers[0]
    if container not in containers + initial:
        raise bad_request(f"container {container} is not valid for pod {name}")
    path = (metadata(pod).get("annotations") or {}).get(ANNOTATION + container)
    if path and parse_boolean(query, "previous"):
        path += ".previous"
    if not path or not Path(path).exists():
        raise _waiting(name, container, pod, parse_boolean(query, "previous"))
    return LogOptions(
        path=Path(path),
        follow=parse_boolean(query, "follow"),
        tail=parse_seconds(query, "tailLines"),
        limit=parse_seconds(query, "limitBytes"),
    )


def _waiting(name: str, container: str, pod: JsonObject, previous: bool) -> StatusError:
    if previous:
        return bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    status = pod.get("status", {})
    statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    state: JsonObject = next((s.get("state", {}) for s in statuses if s.get("name") == container), {})
    reason = (state.get("waiting") or {}).get("reason") or "ContainerCreating"
    return bad_request(f'container "{container}" in pod "{name}" is waiting to start: {reason}')


async def read_log(options: LogOptions, still_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the log in pieces; when followed, until the container runs no more and the file is read to its end."""
    position = await asyncio.to_thread(_start, options)
    left = options.limit
    while True:
        # Asked before reading: what is written before the end is then surely read.
        running = options.follow and still_running()
        data = await asyncio.to_thread(_read, options.path, position)
        if data:
            position += len(data)
            yield data if left is None else data[:left]
            if left is not None:
                left -= len(data)
                if left <= 0:
                    return
            continue
        if not running:
            return
        await asyncio.sleep(_POLL_SECONDS)
        if await asyncio.to_thread(_size, options.path) < position:
            position = 0  # The kubelet has begun the file anew.


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(_CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _start(options: LogOptions) -> int:
    """Return the position the wanted lines begin at."""
    if options.tail is None:
        return 0
    starts: deque[int] = deque(maxlen=max(options.tail, 1))
    position = 0
    with options.path.open("rb") as file:
        for line in file:
            starts.append(position)
            position += len(line)
    if options.tail == 0 or not starts:
        return position
    return starts[0]
