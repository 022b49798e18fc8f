"""What a plan consists of: values that say what to do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest


@dataclass(frozen=True)
class Announce:
    """An event on the RayCluster. `{name}` in the message stands for the object's namespace and name."""

    reason: str
    message: str
    action: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """How a change is followed up: `group` is set where the round after must wait until the change shows.

    `done` and `failed` are announced as it went; `condition` is the one that says why it failed.
    """

    group: str = ""
    done: Announce | None = None
    failed: Announce | None = None
    condition: str = ""


@dataclass(frozen=True)
class Create(Told):
    """Create an object."""

    kind: str
    body: Manifest


@dataclass(frozen=True)
class Delete(Told):
    """Delete a pod by name, with its own grace period. That it is gone already is no failure."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Finalize:
    """Write the RayCluster's own finalizers."""

    finalizers: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    """The round ends here and counts as failed; `error` says why."""

    error: str


Step = Create | Delete | Finalize | Announce


@dataclass(frozen=True)
class Plan:
    """Steps in order. A non-empty `error` says why the round counts as failed and is tried again soon."""

    steps: tuple[Step, ...] = ()
    error: str = ""
