"""How many replicas each ReplicaSet of a Deployment shall have now. Pure numbers.

After k8s.io/kubernetes/pkg/controller/deployment/{rolling,sync}.go and util/deployment_util.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from devcluster.workloads.objects import Object, amount


@dataclass(frozen=True)
class Limits:
    """How far a rollout may go beyond and below the wanted number of Pods."""

    wanted: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """The Pods there may be in all."""
        return self.wanted + self.surge

    @property
    def least_available(self) -> int:
        """The Pods that must be available throughout."""
        return max(self.wanted - self.unavailable, 0)


def limits_of(deployment: Object) -> Limits:
    """The limits by a Deployment's strategy; both being zero would never move, so one may be unavailable then."""
    spec = deployment["spec"]
    wanted = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(wanted, 0, wanted)
    rolling = strategy.get("rollingUpdate") or {}
    surge = amount(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = amount(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(wanted, surge, min(unavailable, wanted))


def replicas(replica_set: Object) -> int:
    """The Pods a ReplicaSet is asked for."""
    return int(replica_set["spec"].get("replicas", 1))


def available(replica_set: Object) -> int:
    """The Pods of it that are available."""
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def scale_up(new: Object, old: Sequence[Object], limits: Limits) -> int:
    """The replicas of the newest ReplicaSet: as many as the surge allows, never fewer than it has."""
    total = replicas(new) + sum(map(replicas, old))
    if replicas(new) >= limits.wanted:
        return limits.wanted
    return min(limits.wanted, replicas(new) + max(limits.most - total, 0))


def scale_down(new: Object, old: Sequence[Object], limits: Limits) -> dict[str, int]:
    """The replicas of those older ReplicaSets, by name, that can give Pods up: first the Pods that do not serve."""
    total = replicas(new) + sum(map(replicas, old))
    new_unavailable = replicas(new) - available(new)
    spare = total - limits.least_available - new_unavailable
    counts = {one["metadata"]["name"]: replicas(one) for one in old}
    if spare <= 0:
        return {}
    for one in old:
        name = one["metadata"]["name"]
        given = min(spare, counts[name] - min(available(one), counts[name]))
        counts[name] -= given
        spare -= given
    serving = available(new) + sum(min(available(one), counts[one["metadata"]["name"]]) for one in old)
    spare = serving - limits.least_available
    for one in old:
        name = one["metadata"]["name"]
        given = min(max(spare, 0), counts[name])
        counts[name] -= given
        spare -= given
    return {one["metadata"]["name"]: counts[one["metadata"]["name"]] for one in old
            if counts[one["metadata"]["name"]] != replicas(one)}  # fmt: skip


def shares(sets: Sequence[Object], limits: Limits) -> dict[str, int]:
    """The replicas of ReplicaSets that run side by side when the Deployment is scaled: each in proportion.

    The largest comes first and takes what rounding leaves.
    """
    total = sum(map(replicas, sets))
    wanted = limits.most if len(sets) > 1 and limits.wanted else limits.wanted
    left = wanted - total
    counts: dict[str, int] = {}
    for one in sorted(sets, key=lambda one: (-replicas(one), one["metadata"]["name"])):
        share = round(replicas(one) * wanted / total) - replicas(one) if total else 0
        share = min(share, left) if left > 0 else max(share, left)
        counts[one["metadata"]["name"]] = max(replicas(one) + share, 0)
        left -= share
    if left and counts:
        first = next(iter(counts))
        counts[first] = max(counts[first] + left, 0)
    return counts
