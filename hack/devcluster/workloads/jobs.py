"""One Job: its Pods side by side until enough have succeeded, too many have failed or its time is up. Pure.

After k8s.io/kubernetes/pkg/controller/job, without the finalizer by which that counts Pods that somebody deletes: the
Pods there are and the status written before are what is counted, so a finished Pod is to be left to its Job.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devcluster.client import JOBS, PODS
from devcluster.kubelet.events import Event
from devcluster.workloads.objects import (
    Object,
    condition,
    controlled_by,
    is_terminating,
    rfc3339,
    seconds_of,
    with_condition,
)
from devcluster.workloads.pods import from_template, is_active, is_ready, phase
from devcluster.workloads.steps import Create, Delete, Plan, Status, Step

FIRST_BACK_OFF_SECONDS, LONGEST_BACK_OFF_SECONDS = 10.0, 600.0
"""Before a Pod is replaced that failed; doubled at each failure."""


@dataclass(frozen=True)
class Tally:
    """A Job's Pods: those at work, and how many of all that ever were have succeeded and failed."""

    active: tuple[Object, ...]
    ending: tuple[Object, ...]
    succeeded: int
    failed: int
    last_failure: float


@dataclass(frozen=True)
class Verdict:
    """How a Job has ended: condition `Complete` or `Failed`, its reason and its message."""

    kind: str
    reason: str
    message: str

    @property
    def announced(self) -> str:
        """The condition that is told first, while Pods still end."""
        return "SuccessCriteriaMet" if self.kind == "Complete" else "FailureTarget"


def unsupported(job: Object) -> str:
    """What of a Job's spec is not offered; empty if nothing."""
    spec = job["spec"]
    asked = [field for field in ("podFailurePolicy", "successPolicy", "managedBy", "backoffLimitPerIndex")
             if spec.get(field) is not None]  # fmt: skip
    if spec.get("completionMode", "NonIndexed") != "NonIndexed":
        asked.append("completionMode")
    return f"{', '.join(asked)}: not offered by the dev cluster" if asked else ""


def plan(job: Object, pods: Iterable[Object], now: float) -> Plan:
    """What to do about one Job, given the Pods of its namespace."""
    before = job.get("status") or {}
    conditions: list[Object] = before.get("conditions") or []
    if is_terminating(job):
        return Plan()
    if ended(conditions):
        return _after_its_end(job, conditions, now)
    tally = tally_of(job, pods)
    started = _started(job, before, now)
    verdict = _announced(conditions) or judge(job, tally, started, now)
    suspended = bool(job["spec"].get("suspend"))
    steps: list[Step] = []
    again = None
    if verdict is not None or suspended:
        steps += [_deletion(pod) for pod in tally.active]
    else:
        steps, again = _adjust(job, tally, started, now)
    status = _status(tally, started, conditions)
    if verdict is None:
        status["conditions"] = _with_suspension(conditions, suspended=suspended, now=now)
    else:
        status |= _end(verdict, tally, conditions, now)
    status = {field: value for field, value in status.items() if value not in (None, [])}
    return Plan((*steps, Status(JOBS, job, status)), again)


def ended(conditions: Sequence[Object]) -> Object | None:
    """The condition that says that a Job has ended, if it has."""
    final = (condition(conditions, kind) for kind in ("Complete", "Failed"))
    return next((one for one in final if one is not None and one["status"] == "True"), None)


def _after_its_end(job: Object, conditions: Sequence[Object], now: float) -> Plan:
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    final = ended(conditions)
    if seconds is None or final is None:
        return Plan()
    left = seconds_of(final["lastTransitionTime"]) + seconds - now
    return Plan(again=left) if left > 0 else Plan((Delete(JOBS, job),))


def tally_of(job: Object, pods: Iterable[Object]) -> Tally:
    """Count a Job's Pods."""
    ours = controlled_by(job, pods)
    before = job.get("status") or {}
    failed = [pod for pod in ours if phase(pod) == "Failed"]
    succeeded = sum(phase(pod) == "Succeeded" for pod in ours)
    return Tally(
        active=tuple(pod for pod in ours if is_active(pod)),
        ending=tuple(pod for pod in ours if is_terminating(pod) and phase(pod) not in {"Succeeded", "Failed"}),
        succeeded=max(succeeded, int(before.get("succeeded") or 0)),
        failed=max(len(failed), int(before.get("failed") or 0)),
        last_failure=max(map(_finished, failed), default=0.0),
    )


def _finished(pod: Object) -> float:
    """When a Pod ended, in seconds since 1970."""
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or []]
    times = [seconds_of(one["terminated"]["finishedAt"]) for one in states if one.get("terminated")]
    return max(times, default=seconds_of(pod["metadata"]["creationTimestamp"]))


def _started(job: Object, before: Object, now: float) -> str | None:
    """When the Job began, as the API writes it; a Job at rest has not."""
    if job["spec"].get("suspend"):
        return None
    return str(before.get("startTime") or rfc3339(now))


def judge(job: Object, tally: Tally, started: str | None, now: float) -> Verdict | None:
    """Whether the Job has ended, and how."""
    spec = job["spec"]
    limit = int(spec.get("backoffLimit", 6))
    deadline = spec.get("activeDeadlineSeconds")
    if tally.failed > limit or _restarts_too_often(spec, tally, limit):
        return Verdict("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if deadline is not None and started and seconds_of(started) + deadline <= now:
        return Verdict("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    wanted = spec.get("completions")
    enough = tally.succeeded >= wanted if wanted is not None else tally.succeeded > 0 and not tally.active
    if enough:
        return Verdict("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _restarts_too_often(spec: Object, tally: Tally, limit: int) -> bool:
    """Whether containers that are restarted in place have used up the limit."""
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    statuses = [one for pod in tally.active for field in ("initContainerStatuses", "containerStatuses")
                for one in (pod.get("status") or {}).get(field) or []]  # fmt: skip
    restarts = sum(int(one.get("restartCount") or 0) for one in statuses)
    return restarts > 0 if limit == 0 else restarts >= limit


def _announced(conditions: Sequence[Object]) -> Verdict | None:
    """The end that was told already; it is not judged again."""
    for kind, told in (("Complete", "SuccessCriteriaMet"), ("Failed", "FailureTarget")):
        found = condition(conditions, told)
        if found is not None and found["status"] == "True":
            return Verdict(kind, found["reason"], found["message"])
    return None


def _adjust(job: Object, tally: Tally, started: str | None, now: float) -> tuple[list[Step], float | None]:
    """Start or end Pods so that as many run as should; and when to look again."""
    spec = job["spec"]
    side_by_side, completions = int(spec.get("parallelism", 1)), spec.get("completions")
    wanted = side_by_side
    if completions is not None:
        wanted = min(side_by_side, completions - tally.succeeded)
    elif tally.succeeded:
        wanted = len(tally.active)
    waits = []
    if spec.get("activeDeadlineSeconds") is not None and started:
        waits.append(seconds_of(started) + spec["activeDeadlineSeconds"] - now)
    steps: list[Step] = []
    missing = wanted - len(tally.active) - len(tally.ending)
    rest = tally.last_failure + back_off(tally.failed) - now if tally.failed else 0
    if missing > 0 and rest > 0:
        waits.append(rest)
    elif missing > 0:
        steps += [Create(PODS, from_template(job, spec["template"]))] * missing
    elif len(tally.active) > wanted:
        newest_first = list(reversed(tally.active))
        steps += [_deletion(pod) for pod in newest_first[: len(tally.active) - wanted]]
    return steps, max(min(waits), 0.1) if waits else None


def back_off(failures: int) -> float:
    """Seconds from a failure, the last of so many, to the next Pod."""
    return float(min(FIRST_BACK_OFF_SECONDS * 2 ** min(failures - 1, 10), LONGEST_BACK_OFF_SECONDS))


def _deletion(pod: Object) -> Delete:
    return Delete(PODS, pod, Event("Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}"))


def _status(tally: Tally, started: str | None, conditions: list[Object]) -> Object:
    return {
        "startTime": started,
        "active": len(tally.active) or None,
        "ready": sum(map(is_ready, tally.active)),
        "terminating": len(tally.ending),
        "succeeded": tally.succeeded or None,
        "failed": tally.failed or None,
        "conditions": conditions,
        "uncountedTerminatedPods": {},
    }


def _with_suspension(conditions: list[Object], *, suspended: bool, now: float) -> list[Object]:
    if suspended:
        told = {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}
    elif condition(conditions, "Suspended") is not None:
        told = {"type": "Suspended", "status": "False", "reason": "JobResumed", "message": "Job resumed"}
    else:
        return conditions
    return with_condition(conditions, told, now)


def _end(verdict: Verdict, tally: Tally, conditions: list[Object], now: float) -> Object:
    """What a status says at the end: the verdict at once, the final condition when every Pod has gone."""
    body = {"status": "True", "reason": verdict.reason, "message": verdict.message}
    told = with_condition(conditions, {"type": verdict.announced, **body}, now)
    if tally.active or tally.ending:
        return {"conditions": told}
    end: Object = {"conditions": with_condition(told, {"type": verdict.kind, **body}, now)}
    return end | ({"completionTime": rfc3339(now)} if verdict.kind == "Complete" else {})
