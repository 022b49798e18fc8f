"""The states a container goes through, as values, and whether it is started again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


def rfc3339(seconds: float) -> str:
    """A time in seconds since 1970 as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float:
    """The seconds since 1970 of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True)
class Waiting:
    """Not running, and why not yet."""

    reason: str
    message: str = ""

    def to_status(self) -> dict[str, Any]:
        """As in `containerStatuses[].state`."""
        return {"waiting": {"reason": self.reason} | ({"message": self.message} if self.message else {})}


@dataclass(frozen=True)
class Running:
    """Running since `started_at`, in seconds since 1970."""

    started_at: float
    container_id: str

    def to_status(self) -> dict[str, Any]:
        """As in `containerStatuses[].state`."""
        return {"running": {"startedAt": rfc3339(self.started_at)}}


@dataclass(frozen=True)
class Terminated:
    """Ended. Times are in seconds since 1970; `signal` is 0 if it ended by itself."""

    exit_code: int
    started_at: float
    finished_at: float
    container_id: str = ""
    signal: int = 0
    reason: str = ""
    message: str = ""

    def to_status(self) -> dict[str, Any]:
        """As in `containerStatuses[].state`."""
        told = {
            "exitCode": self.exit_code,
            "reason": self.reason or ("Completed" if self.exit_code == 0 else "Error"),
            "startedAt": rfc3339(self.started_at),
            "finishedAt": rfc3339(self.finished_at),
            "containerID": self.container_id,
        }
        told |= {"signal": self.signal} if self.signal else {}
        told |= {"message": self.message} if self.message else {}
        return {"terminated": told}


State = Waiting | Running | Terminated


@dataclass(frozen=True)
class ContainerView:
    """All that a Pod's status says of one container."""

    name: str
    image: str = ""
    state: State = field(default_factory=lambda: Waiting("PodInitializing"))
    last: Terminated | None = None
    ready: bool = False
    started: bool = False
    restarts: int = 0


def starts_again(policy: str, ended: Terminated) -> bool:
    """Whether `restartPolicy` (Always, OnFailure or Never) starts a container again."""
    return policy == "Always" or (policy == "OnFailure" and ended.exit_code != 0)


def policy_of(container: Mapping[str, Any], pod_spec: Mapping[str, Any], *, init: bool) -> str:
    """The restart policy of one container: an init container is done after a success, a sidecar never."""
    own = container.get("restartPolicy")
    if own:
        return str(own)
    policy = str(pod_spec.get("restartPolicy") or "Always")
    return "OnFailure" if init and policy == "Always" else policy


@dataclass(frozen=True)
class BackOff:
    """Seconds to wait before restarts: none before the first, then `base`, doubling up to `longest`.

    A run of `forgiven_after` seconds starts the count anew, as the kubelet's 10 minutes do.
    """

    base: float = 10.0
    longest: float = 300.0
    forgiven_after: float = 600.0

    def delay(self, crashes: int) -> float:
        """The wait after the `crashes`-th end in a row (1 or more)."""
        if crashes <= 1:
            return 0.0
        return float(min(self.longest, self.base * 2 ** min(crashes - 2, 30)))

    def count(self, crashes: int, ended: Terminated) -> int:
        """The number of ends in a row, this one included."""
        return 1 if ended.finished_at - ended.started_at >= self.forgiven_after else crashes + 1
