"""From objects as the API server gives them to the values that decisions are made from. Pure reading, no I/O."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from pydantic import BaseModel, ValidationError

from tidemill_api import labels
from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
from tidemill_api.v1alpha1.uris import without_signatures
from tidemill_operator.core.boost import read_boost
from tidemill_operator.core.queueing import Queueing
from tidemill_operator.core.snapshot import ClusterView, JobView, SourceView, WorkerPod
from tidemill_operator.core.spec_checks import SpecPolicy, job_entry_problems, lasting_problems
from tidemill_operator.manifests.ray_cluster import WORKER_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tidemill_operator.core.boost import Boost

    Json = dict[str, Any]

NODE_TYPE_LABEL = "ray.io/node-type"
"""Written by KubeRay on each pod: `head` or `worker`."""

CREATION_REFUSED = "FailedCreateWorkerPod"
"""KubeRay's reason of ReplicaFailure while the API server refuses it a worker pod: a quota, an admission rule."""

SUSPENDED = ("RayClusterSuspending", "RayClusterSuspended")
"""KubeRay's conditions of a RayCluster whose pods have to go, or have gone."""

MAX_PROBLEMS = 2000
"""Characters of the message about a wrong spec: the first problems, not a page of them."""

STARTING = ("ContainerCreating", "PodInitializing")
"""Reasons of a container that waits for its turn: no trouble, unless a message says what holds it up."""

MAX_CRASH = 500
"""Characters of what a container said when it ended: its last lines."""

_Spec = TypeVar("_Spec", bound=BaseModel)


class Identity(TypedDict):
    """What the view of each kind has of the object's metadata."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool


def read_identity(body: Json) -> Identity:
    """Which object it is."""
    metadata = body["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "generation": metadata.get("generation", 1),
        "created": datetime.fromisoformat(metadata["creationTimestamp"]),
        "deleting": "deletionTimestamp" in metadata,
    }


COLLECTORS = frozenset({"orphan", "foregroundDeletion"})
"""Finalizers of the garbage collector, which does with the children what the user asked for."""


def is_held(body: Json) -> bool:
    """Whether the object was deleted and a finalizer of somebody else keeps it, and so its children."""
    metadata = body["metadata"]
    finalizers = frozenset(metadata.get("finalizers") or ())
    return "deletionTimestamp" in metadata and bool(finalizers - COLLECTORS) and "orphan" not in finalizers


def read_spec(of: type[_Spec], body: Json, check: Callable[[_Spec], tuple[str, ...]]) -> tuple[_Spec | None, str]:
    """The spec, None where it cannot be read, and its problems in words: empty where it may run."""
    try:
        spec = of.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return None, _listed(_fault(fault["loc"], fault["msg"]) for fault in error.errors())
    found = check(spec)
    return spec, told(found)


def read_job(body: Json, policy: SpecPolicy) -> JobView:
    """A job as a value; a spec that does not hold is None with its problems in words.

    Raises pydantic.ValidationError for a status that this operator cannot read: better loud than a job started anew.
    """
    identity = read_identity(body)
    status = BatchInferenceJobStatus.model_validate(body.get("status") or {})
    begun = bool(status.driver.attempt or status.cluster_name)
    spec, problem = read_spec(
        BatchInferenceJobSpec, body, lambda read: _problems(identity["name"], read, policy, begun=begun)
    )
    return JobView(
        **identity,
        spec=spec if not problem else None,
        spec_problem=problem,
        outdated=told(job_entry_problems(spec, policy)) if begun and spec is not None else "",
        status=status,
        boost=boost_of(body),
        resource_version=body["metadata"].get("resourceVersion", ""),
        held=is_held(body),
        queueing=queueing_of(body, policy),
    )


def queueing_of(body: Json, policy: SpecPolicy) -> Queueing:
    """By which Kueue queue new RayClusters of a job or an endpoint go."""
    given = body["metadata"].get("labels") or {}
    return Queueing(given.get(labels.KUEUE_QUEUE, ""), given.get(labels.KUEUE_PRIORITY, ""), policy.elastic_jobs)


def boost_of(body: Json) -> Boost | None:
    """The scaling boost that stands on a job or an endpoint, whether or not its time is over."""
    return read_boost((body["metadata"].get("annotations") or {}).get(labels.SCALING_BOOST))


def _problems(name: str, spec: BatchInferenceJobSpec, policy: SpecPolicy, *, begun: bool) -> tuple[str, ...]:
    own = ("resubmitOf must name another job than this one",) if spec.resubmit_of == name else ()
    entry = () if begun else job_entry_problems(spec, policy)
    return (*lasting_problems(spec, policy), *entry, *own)


def _fault(location: tuple[int | str, ...], message: str) -> str:
    field = ".".join(str(part) for part in location)
    text = message.removeprefix("Value error, ")
    return f"{field}: {text}" if field else text


def told(found: tuple[str, ...]) -> str:
    """Problems as one message, empty where there is none."""
    return _listed(found) if found else ""


def _listed(found: Iterable[str]) -> str:
    """Problems as one message of bounded length."""
    return f"{'; '.join(found)[:MAX_PROBLEMS]}."


def read_source(body: Json) -> SourceView:
    """The job that another one continues, as far as that one needs to know it; its spec may be wrong."""
    status = body.get("status") or {}
    ends = [of for of in status.get("conditions") or () if (of.get("type"), of.get("status")) == ("Finished", "True")]
    written = bool((status.get("output") or {}).get("resultsURI"))
    return SourceView(
        finished=bool(ends),
        output_uri=((body.get("spec") or {}).get("output") or {}).get("uri", ""),
        unwritten="" if written or not ends else str(ends[0].get("reason", "Finished")),
    )


def read_circle(body: Json, source_of: Callable[[Json], Json | None]) -> tuple[str, ...]:
    """The names from this job, over the jobs that it waits for, back to itself; empty where the chain ends elsewhere.

    A job that has ended, or knows the folder of its source already, waits for nobody.
    """
    names, current = [body["metadata"]["name"]], body
    while _waits(current) and (source := source_of(current)) is not None:
        current = source
        name = current["metadata"]["name"]
        if name in names:
            return (*names, name) if name == names[0] else ()
        names.append(name)
    return ()


def _waits(body: Json) -> bool:
    status = body.get("status") or {}
    return not status.get("completionTime") and not (status.get("driver") or {}).get("resubmitOfURI")


def read_cluster(body: Json, pods: tuple[Json, ...]) -> ClusterView:
    """A RayCluster and what keeps its pods from being ready."""
    metadata, status, group = body["metadata"], body.get("status") or {}, _worker_group(body)
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    refused = conditions.get("ReplicaFailure", {})
    refusal = refused.get("message", "") if refused.get("status") == "True" else ""
    head = conditions.get("HeadPodReady", {})
    head_ready = head.get("status") == "True"
    since = head.get("lastTransitionTime")
    queue = str((metadata.get("labels") or {}).get(labels.KUEUE_QUEUE, ""))
    elastic = (metadata.get("annotations") or {}).get(labels.KUEUE_ELASTIC) == "true"
    return ClusterView(
        name=metadata["name"],
        uid=metadata["uid"],
        deleting="deletionTimestamp" in metadata,
        head_ready=head_ready,
        head_ip=(status.get("head") or {}).get("podIP", "") if head_ready else "",
        head_problem=_pod_problem(of_type(pods, "head")) or refusal,
        replicas=worker_replicas(body),
        max_replicas=group.get("maxReplicas", 0),
        workers_to_delete=tuple((group.get("scaleStrategy") or {}).get("workersToDelete") or ()),
        worker_problem=_pod_problem(of_type(pods, "worker")) or refusal,
        head_ready_since=datetime.fromisoformat(since) if since and head_ready else None,
        head_away_since=datetime.fromisoformat(since) if since and not head_ready else None,
        creation_refused=bool(refusal) and refused.get("reason") == CREATION_REFUSED,
        generation=metadata.get("generation"),
        fixed=bool(queue) and not elastic,
        queue=queue,
        suspended_since=_suspended_since(body, conditions),
        no_room=any(map(_finds_no_node, pods)) or (bool(refusal) and "quota" in refusal),
    )


def _suspended_since(body: Json, conditions: dict[str, Json]) -> datetime | None:
    """Since when a RayCluster is suspended, None where it is not; one that KubeRay says nothing of, since it stands."""
    if body["spec"].get("suspend") is not True:
        return None
    said = [conditions[of] for of in SUSPENDED if conditions.get(of, {}).get("status") == "True"]
    times = [condition["lastTransitionTime"] for condition in said if condition.get("lastTransitionTime")]
    return datetime.fromisoformat(min(times, default=body["metadata"]["creationTimestamp"]))


def _worker_group(body: Json) -> Json:
    groups = body["spec"].get("workerGroupSpecs") or ()
    return next((group for group in groups if group.get("groupName") == WORKER_GROUP), {})


def worker_replicas(body: Json) -> int:
    """How many workers a RayCluster of ours is to have."""
    return int(_worker_group(body).get("replicas", 0))


def read_workers(pods: tuple[Json, ...]) -> tuple[WorkerPod, ...]:
    """The worker pods that exist, ended ones left out: KubeRay replaces those by itself."""
    return tuple(
        WorkerPod(
            name=pod["metadata"]["name"],
            ip=(pod.get("status") or {}).get("podIP", ""),
            ready=_condition(pod, "Ready").get("status") == "True",
            deleting="deletionTimestamp" in pod["metadata"],
            created=_created(pod),
        )
        for pod in of_type(pods, "worker")
        if not _ended(pod)
    )


def _created(pod: Json) -> datetime | None:
    created = pod["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(created) if created else None


def count_pods(pods: tuple[Json, ...]) -> int:
    """How many of a cluster's pods, head and workers, have not ended."""
    return sum(not _ended(pod) for pod in pods)


def _ended(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def of_type(pods: tuple[Json, ...], node_type: str) -> tuple[Json, ...]:
    """The pods of a RayCluster that are `head` or `worker`."""
    return tuple(pod for pod in pods if (pod["metadata"].get("labels") or {}).get(NODE_TYPE_LABEL) == node_type)


def _condition(pod: Json, of: str) -> Json:
    conditions: list[Json] = (pod.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == of), {})


def _finds_no_node(pod: Json) -> bool:
    """Whether the scheduler has no node for it; one that waits for its volume is no matter of room."""
    scheduled = _condition(pod, "PodScheduled")
    return scheduled.get("status") == "False" and "persistentvolumeclaim" not in scheduled.get("message", "")


def _pod_problem(pods: tuple[Json, ...]) -> str:
    """Why the first pod that is not ready is not: the scheduler's words, or the container's."""
    for pod in pods:
        scheduled = _condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            return str(scheduled.get("message") or scheduled.get("reason", ""))
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting and (waiting.get("message") or waiting["reason"] not in STARTING):
                return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ") + _last_end(container)
    return ""


def _last_end(container: Json) -> str:
    """How the container ended the last time, in words: a back-off alone says that it crashed, not why."""
    ended = (container.get("lastState") or {}).get("terminated")
    if ended is None:
        return ""
    told = without_signatures(str(ended.get("message") or "").strip())[-MAX_CRASH:]
    cause = f" ({ended['reason']})" if ended.get("reason", "Error") != "Error" else ""
    return f"; it ended with exit code {ended.get('exitCode')}{cause}" + (f": {told}" if told else "")
