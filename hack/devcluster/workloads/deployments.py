"""One Deployment: its rollout by rolling update or by recreation, scaling, pausing and history. Pure.

After k8s.io/kubernetes/pkg/controller/deployment. Each round decides anew from the ReplicaSets as they are, so a
rollout goes on wherever it was left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devcluster.client import DEPLOYMENTS, REPLICA_SETS
from devcluster.kubelet.events import Event
from devcluster.workloads import revisions
from devcluster.workloads.deployment_status import Rollout, is_complete, seconds_to_deadline, status_of
from devcluster.workloads.objects import Object, controlled_by, is_terminating
from devcluster.workloads.pods import phase
from devcluster.workloads.replica_sets import claim
from devcluster.workloads.rolling import Limits, limits_of, replicas, scale_down, scale_up, shares
from devcluster.workloads.steps import Create, Delete, Patch, Plan, Status, Step


@dataclass(frozen=True)
class Observed:
    """A Deployment with the ReplicaSets that are its own: that of today's template, and the others, oldest first."""

    deployment: Object
    new: Object | None
    old: tuple[Object, ...]
    limits: Limits

    @property
    def number(self) -> int:
        """The number of the newest revision."""
        highest = max(map(revisions.revision, self.old), default=0) + 1
        return max(highest, revisions.revision(self.new) if self.new else 0)


def plan(deployment: Object, sets: Iterable[Object], pods: Iterable[Object], now: float) -> Plan:
    """What to do about one Deployment, given the ReplicaSets and Pods of its namespace."""
    ours, claims = claim(deployment, REPLICA_SETS, sets)
    ours = controlled_by(deployment, ours)
    new = revisions.newest(deployment, ours)
    observed = Observed(deployment, new, tuple(one for one in ours if one is not new), limits_of(deployment))
    steps = [] if is_terminating(deployment) else _steps(observed, list(pods), now)
    made = any(isinstance(step, Create) for step in steps)
    status = status_of(Rollout(deployment, new, tuple(ours), observed.limits, made), now)
    number = str(observed.number)
    tell = new is not None and revisions.revision(deployment) != observed.number and not is_terminating(deployment)
    if tell:  # the write of the status comes in the next round, upon the new version
        change = {"metadata": {"annotations": {revisions.REVISION: number}}}
        return Plan((*claims, *steps, Patch(DEPLOYMENTS, deployment, change)), 0)
    again = 0 if claims else seconds_to_deadline(deployment, status, now)
    return Plan((*claims, *steps, Status(DEPLOYMENTS, deployment, status)), again)


def _steps(observed: Observed, pods: list[Object], now: float) -> list[Step]:
    deployment = observed.deployment
    sets = [*observed.old, *([observed.new] if observed.new else [])]
    if revisions.was_scaled(sets, observed.limits):
        return _scale(observed, sets)
    if deployment["spec"].get("paused"):
        return []
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        steps = _recreate(observed, pods)
    else:
        steps = _roll(observed)
    if not steps and observed.new is not None:
        status = status_of(Rollout(deployment, observed.new, tuple(sets), observed.limits), now)
        if is_complete(deployment, status):
            steps = [Delete(REPLICA_SETS, one) for one in revisions.forgotten(deployment, observed.old)]
    return steps


def _scale(observed: Observed, sets: Sequence[Object]) -> list[Step]:
    """Give a new size to whatever runs now: the one ReplicaSet that does, or all of them in proportion."""
    running = [one for one in sets if replicas(one) > 0]
    limits = observed.limits
    if len(running) > 1 and (observed.deployment["spec"].get("strategy") or {}).get("type") != "Recreate":
        wanted = shares(running, limits)
    else:
        one = running[0] if running else observed.new
        wanted = {one["metadata"]["name"]: limits.wanted} if one else {}
    return [step for one in sets if one["metadata"]["name"] in wanted
            for step in _resized(one, wanted[one["metadata"]["name"]], limits)]  # fmt: skip


def _recreate(observed: Observed, pods: list[Object]) -> list[Step]:
    """End every older Pod, and only then make new ones."""
    steps = [step for one in observed.old if replicas(one) for step in _resized(one, 0, observed.limits)]
    uids = {one["metadata"]["uid"] for one in observed.old}
    left = [pod for pod in pods if _owner(pod) in uids and phase(pod) not in {"Succeeded", "Failed"}]
    if steps or left:
        return steps
    return _newest(observed, observed.limits.wanted)


def _owner(pod: Object) -> str:
    references: list[Object] = pod["metadata"].get("ownerReferences") or []
    return next((str(one["uid"]) for one in references if one.get("controller")), "")


def _roll(observed: Observed) -> list[Step]:
    """Grow the newest ReplicaSet as far as the surge allows; when it has its size, shrink the others."""
    limits, new = observed.limits, observed.new
    if new is None:
        spare = max(limits.most - sum(map(replicas, observed.old)), 0)
        return _newest(observed, min(limits.wanted, spare))
    steps = _newest(observed, scale_up(new, observed.old, limits))
    if steps:
        return steps
    fewer = scale_down(new, [one for one in observed.old if replicas(one)], limits)
    return [step for one in observed.old if one["metadata"]["name"] in fewer
            for step in _resized(one, fewer[one["metadata"]["name"]], limits)]  # fmt: skip


def _newest(observed: Observed, count: int) -> list[Step]:
    """Make the ReplicaSet of today's template, or bring its size and its annotations up to date."""
    deployment, new, limits = observed.deployment, observed.new, observed.limits
    if new is None:
        body = revisions.new_replica_set(deployment, observed.number, count, limits)
        name = body["metadata"]["name"]
        return [Create(REPLICA_SETS, body, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {count}")]
    present = new["metadata"].get("annotations") or {}
    wanted = revisions.annotations(deployment, present, observed.number, limits)
    if wanted == present and replicas(new) == count:
        return []
    return _resized(new, count, limits, wanted)


def _resized(replica_set: Object, count: int, limits: Limits, wanted: dict[str, str] | None = None) -> list[Step]:
    """The step to another number of replicas and to these annotations; none where both are so already."""
    present = replica_set["metadata"].get("annotations") or {}
    wanted = {**present, **revisions.scale_annotations(limits)} if wanted is None else wanted
    before = replicas(replica_set)
    if before == count and wanted == present:
        return []
    change: Object = {"metadata": {"annotations": wanted}}
    event = None
    if before != count:
        way = "up" if count > before else "down"
        told = f"Scaled {way} replica set {replica_set['metadata']['name']} from {before} to {count}"
        change["spec"], event = {"replicas": count}, Event("Normal", "ScalingReplicaSet", told)
    return [Patch(REPLICA_SETS, replica_set, change, event)]
