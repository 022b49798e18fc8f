"""A Deployment's status and conditions, by which kubectl and helm judge a rollout. Pure.

After k8s.io/kubernetes/pkg/controller/deployment/{progress,sync}.go.
"""

from dataclasses import dataclass

from devcluster.workloads.objects import Object, condition, rfc3339, seconds_of
from devcluster.workloads.rolling import Limits

NO_DEADLINE = 2**31 - 1
_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


@dataclass(frozen=True)
class Rollout:
    """What a status is told of. `created`: the newest ReplicaSet is being made in this very round."""

    deployment: Object
    new: Object | None
    sets: tuple[Object, ...]
    limits: Limits
    created: bool = False


def status_of(rollout: Rollout, now: float) -> Object:
    """The whole status."""
    deployment, before = rollout.deployment, rollout.deployment.get("status") or {}
    status = _counts(rollout)
    conditions = [one for one in before.get("conditions") or [] if one["type"] != "ReplicaFailure"]
    enough = status.get("availableReplicas", 0) >= rollout.limits.least_available
    conditions = _set(conditions, _availability(enough=enough), now)
    if _deadline(deployment) is None:
        conditions = [one for one in conditions if one["type"] != "Progressing"]
    else:
        conditions = _progress(rollout, status, conditions, now)
    failures = [one for each in rollout.sets for one in (each.get("status") or {}).get("conditions") or []
                if one["type"] == "ReplicaFailure"]  # fmt: skip
    if failures:
        conditions = _set(conditions, {**failures[-1], "lastUpdateTime": rfc3339(now)}, now)
    return status | {"conditions": conditions}


def _counts(rollout: Rollout) -> Object:
    deployment, before = rollout.deployment, rollout.deployment.get("status") or {}
    of_all = [one.get("status") or {} for one in rollout.sets]
    of_new = (rollout.new or {}).get("status") or {}
    total = sum(int(one["spec"].get("replicas", 1)) for one in rollout.sets)
    available = sum(int(one.get("availableReplicas") or 0) for one in of_all)
    counts = {
        "replicas": sum(int(one.get("replicas") or 0) for one in of_all),
        "updatedReplicas": int(of_new.get("replicas") or 0),
        "readyReplicas": sum(int(one.get("readyReplicas") or 0) for one in of_all),
        "availableReplicas": available,
        "unavailableReplicas": max(total - available, 0),
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 1)}
    if "collisionCount" in before:
        status["collisionCount"] = before["collisionCount"]
    return status | {field: count for field, count in counts.items() if count}


def _availability(*, enough: bool) -> Object:
    if enough:
        return _told("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    message = "Deployment does not have minimum availability."
    return _told("Available", "False", "MinimumReplicasUnavailable", message)


def _told(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _set(conditions: list[Object], wanted: Object, now: float) -> list[Object]:
    """With this condition, unless its status and reason are so already; `lastUpdateTime` is when it was told."""
    before = condition(conditions, wanted["type"])
    if before and (before["status"], before["reason"]) == (wanted["status"], wanted["reason"]):
        return conditions
    return _renewed(conditions, wanted, now)


def _renewed(conditions: list[Object], wanted: Object, now: float) -> list[Object]:
    """With this condition told anew, whatever it was; `lastTransitionTime` stays while the status does."""
    before = condition(conditions, wanted["type"])
    kept = before is not None and before["status"] == wanted["status"]
    since = before["lastTransitionTime"] if before is not None and kept else rfc3339(now)
    others = [one for one in conditions if one["type"] != wanted["type"]]
    return [*others, wanted | {"lastUpdateTime": rfc3339(now), "lastTransitionTime": since}]


def _progress(rollout: Rollout, status: Object, conditions: list[Object], now: float) -> list[Object]:
    before = condition(conditions, "Progressing")
    reason = before["reason"] if before else ""
    told = _pause(rollout.deployment, reason) or _way(rollout, status, before, now)
    if told is None:
        return conditions
    again = told["reason"] in {"NewReplicaSetCreated", "ReplicaSetUpdated"}  # each is a sign of life: the time counts
    return _renewed(conditions, told, now) if again else _set(conditions, told, now)


def _pause(deployment: Object, reason: str) -> Object | None:
    if deployment["spec"].get("paused"):
        late = reason == "ProgressDeadlineExceeded"
        return None if late else _told("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if reason == "DeploymentPaused":
        return _told("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
    return None


def _way(rollout: Rollout, status: Object, before: Object | None, now: float) -> Object | None:
    """How far the rollout is; None where there is nothing new to say."""
    deployment, name = rollout.deployment, _name(rollout)
    done = before is not None and before["reason"] == "NewReplicaSetAvailable"
    told: Object | None = None
    if deployment["spec"].get("paused"):
        told = None
    elif rollout.created:
        told = _told("Progressing", "True", "NewReplicaSetCreated", f"Created new replica set {name}")
    elif done and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        told = None
    elif rollout.new is not None and is_complete(deployment, status):
        message = f"ReplicaSet {name} has successfully progressed."
        told = _told("Progressing", "True", "NewReplicaSetAvailable", message)
    elif before is None or _has_moved(deployment.get("status") or {}, status):
        told = _told("Progressing", "True", "ReplicaSetUpdated", f"ReplicaSet {name} is progressing.")
    elif not done and _is_late(deployment, before, now):
        message = f"ReplicaSet {name} has timed out progressing."
        told = _told("Progressing", "False", "ProgressDeadlineExceeded", message)
    return told


def _name(rollout: Rollout) -> str:
    named = rollout.new["metadata"] if rollout.new else rollout.deployment["metadata"]
    return f'"{named["name"]}"'


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether every wanted Pod is of today's template and available, and no other is left."""
    wanted = int(deployment["spec"].get("replicas", 1))
    fields = ("replicas", "updatedReplicas", "availableReplicas")
    return all(int(status.get(field) or 0) == wanted for field in fields)


def _has_moved(before: Object, status: Object) -> bool:
    was, now = ({field: int(one.get(field) or 0) for field in _COUNTS} for one in (before, status))
    grown = any(now[field] > was[field] for field in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grown or now["replicas"] - now["updatedReplicas"] < was["replicas"] - was["updatedReplicas"]


def _deadline(deployment: Object) -> float | None:
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return None if seconds is None or seconds >= NO_DEADLINE else float(seconds)


def _is_late(deployment: Object, progressing: Object, now: float) -> bool:
    if progressing["reason"] == "ProgressDeadlineExceeded":
        return True
    deadline = _deadline(deployment)
    return deadline is not None and seconds_of(progressing["lastUpdateTime"]) + deadline < now


def seconds_to_deadline(deployment: Object, status: Object, now: float) -> float | None:
    """When a rollout that does not move would be late, a second on; None for one that is done, late or paused."""
    progressing = condition(status["conditions"], "Progressing")
    deadline = _deadline(deployment)
    reasons = {"NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated", "DeploymentResumed"}
    if progressing is None or deadline is None or progressing["reason"] not in reasons:
        return None
    return max(seconds_of(progressing["lastUpdateTime"]) + deadline - now, 0) + 1
