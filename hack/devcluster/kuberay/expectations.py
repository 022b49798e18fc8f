"""Pods that were created or deleted and that the watch has not shown yet.

A cache lags behind one's own writes; deciding on it again at once would create a second head. As in
KubeRay, a group is left alone until each of its created pods has shown up (for 30 s at most) and each
deleted pod has gone for good, so a worker that takes its grace period holds its group's scaling up.
This is the controller's only memory, and losing it costs nothing: the first list of a new process is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from devcluster.client import Key

CREATION_TIMEOUT_SECONDS = 30.0
"""A pod that was removed before it was ever seen must not block its group for ever."""


@dataclass
class Expectations:
    """By cluster, group and pod name: the time of an unseen creation, or None for a deletion."""

    _expected: dict[Key, dict[str, dict[str, float | None]]] = field(default_factory=dict)

    def created(self, cluster: Key, group: str, pod: str, now: float) -> None:
        """A pod was created at `now` (seconds of any steady clock)."""
        self._expected.setdefault(cluster, {}).setdefault(group, {})[pod] = now

    def deleted(self, cluster: Key, group: str, pod: str) -> None:
        """A pod was deleted, or asked to go."""
        self._expected.setdefault(cluster, {}).setdefault(group, {})[pod] = None

    def waiting(self, cluster: Key, group: str, present: AbstractSet[str], now: float) -> bool:
        """Whether the group must wait, `present` being the pod names that the cache shows."""
        expected = self._expected.get(cluster, {}).get(group, {})
        for pod, created in list(expected.items()):
            seen = pod in present
            if (not seen) if created is None else (seen or now - created > CREATION_TIMEOUT_SECONDS):
                del expected[pod]
        return bool(expected)

    def forget(self, cluster: Key) -> None:
        """The cluster is gone."""
        self._expected.pop(cluster, None)
