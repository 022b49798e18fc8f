"""What to do for one RayCluster, decided from a snapshot: KubeRay's `reconcilePods` and its neighbours.

Pure: a snapshot goes in, steps come out, in the order in which they must be carried out. Nothing is
remembered here; `Snapshot.waiting` carries what the controller knows about its own unseen writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import environment, fault_tolerance, naming, pods, reading, services
from devcluster.kuberay.steps import Announce, Create, Delete, Finalize, Plan, Step, Stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from devcluster.kuberay.constants import Manifest


@dataclass(frozen=True)
class Snapshot:
    """All that a decision rests on.

    `pods` are those labelled with the cluster, in the server's order; `services` those of its namespace
    with the same label. `spare_token` is the random text for a Secret, should one be needed. `waiting`
    names the groups whose last creations and deletions the cache does not show yet.
    """

    cluster: Manifest
    pods: tuple[Manifest, ...] = ()
    services: tuple[Manifest, ...] = ()
    has_token_secret: bool = False
    spare_token: str = ""
    waiting: frozenset[str] = frozenset()


def plan(snapshot: Snapshot) -> Plan:
    """The steps for this round: finalizer, Secret, head Service, serve Service, pods."""
    steps: list[Step] = []
    for part in (_finalizer, _token_secret, _head_service, _serve_service, _pods):
        for step in part(snapshot):
            if isinstance(step, Stop):
                return Plan(tuple(steps), step.error)
            steps.append(step)
    return Plan(tuple(steps))


def _where(cluster: Manifest) -> str:
    return f"{naming.namespace_of(cluster)}/{cluster['metadata']['name']}"


def _finalizer(snapshot: Snapshot) -> Iterator[Step | Stop]:
    """A cluster that keeps its tables in Redis is held until they are gone."""
    metadata = snapshot.cluster["metadata"]
    if fault_tolerance.enabled(snapshot.cluster) and not fault_tolerance.holds(snapshot.cluster):
        yield Finalize((*(metadata.get("finalizers") or []), fault_tolerance.FINALIZER))
        yield Stop("the rest follows when the finalizer stands")


def _token_secret(snapshot: Snapshot) -> Iterator[Step | Stop]:
    cluster = snapshot.cluster
    options = cluster["spec"].get("authOptions")
    if options is None or options.get("mode") == "disabled" or options.get("secretName"):
        return
    if not snapshot.has_token_secret:
        yield Create("Secret", services.token_secret(cluster, environment.auth_secret(cluster), snapshot.spare_token))


def _head_service(snapshot: Snapshot) -> Iterator[Step | Stop]:
    found = [entry for entry in snapshot.services if services.is_head_service(snapshot.cluster, entry)]
    if len(found) > 1:
        yield Stop(f"{len(found)} head service found {_names(found)}")
    elif not found:
        yield Create(
            "Service",
            services.head_service(snapshot.cluster),
            done=Announce("CreatedService", "Created service {name}", "Create"),
            failed=Announce("FailedToCreateService", "Failed creating service {name}", "Create", warning=True),
        )


def _serve_service(snapshot: Snapshot) -> Iterator[Step | Stop]:
    cluster = snapshot.cluster
    if not services.wants_serve_service(cluster):
        return
    name = naming.serve_service_name(cluster["metadata"]["name"])
    if any(entry["metadata"]["name"] == name for entry in snapshot.services):
        return
    service = services.serve_service(cluster)
    if service is None:
        yield Stop(
            "Please specify a port named 'serve' (or with the prefix 'serve-') in the Ray head container; "
            "otherwise, the Kubernetes service for Ray Serve will not be created."
        )
    else:
        yield Create("Service", service)


def _pods(snapshot: Snapshot) -> Iterator[Step | Stop]:
    cluster = snapshot.cluster
    state = reading.suspension(cluster)
    if state == c.SUSPENDING:
        message = f"Deleted Pods for RayCluster {_where(cluster)} due to suspension"
        yield from _delete_all(snapshot.pods, Announce("DeletedPod", message, "Delete"), "FailedDeleteAllPods")
        return
    if state == c.SUSPENDED or cluster["spec"].get("suspend"):
        return
    if _must_recreate(snapshot):
        message = f"Deleted all Pods for RayCluster {_where(cluster)} due to spec change with Recreate upgradeStrategy"
        yield from _delete_all(snapshot.pods, Announce("DeletedPod", message, "Delete"), "FailedDeleteAllPods")
        return
    yield from _head(snapshot)
    for group in cluster["spec"].get("workerGroupSpecs") or []:
        if group["groupName"] not in snapshot.waiting:
            yield from _workers(snapshot, group)


def _must_recreate(snapshot: Snapshot) -> bool:
    spec = snapshot.cluster["spec"]
    heads = reading.of_type(snapshot.pods, c.HEAD)
    if (spec.get("upgradeStrategy") or {}).get("type") != "Recreate" or not heads:
        return False
    written = (heads[0]["metadata"].get("annotations") or {}).get(c.ANNOTATION_RECREATE_HASH, "")
    return bool(written) and written != naming.recreate_hash(spec)


def _delete_all(found: Iterable[Manifest], done: Announce, condition: str) -> Iterator[Step | Stop]:
    living = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
    failed = Announce("FailedToDeletePodCollection", "Failed deleting Pod {name}", "Delete", warning=True)
    for pod in living:
        yield Delete(pod["metadata"]["namespace"], pod["metadata"]["name"], failed=failed, condition=condition)
    if living:
        yield done


def _head(snapshot: Snapshot) -> Iterator[Step | Stop]:
    if c.HEAD_GROUP in snapshot.waiting:
        return
    heads = reading.of_type(snapshot.pods, c.HEAD)
    if len(heads) > 1:
        yield Stop(f"{len(heads)} head pods found {_names(heads)}. Please delete extra head pods")
    elif heads and reading.must_delete(heads[0]):
        yield _delete_ended(heads[0], c.HEAD_GROUP, "Head")
        yield Stop(f"the head Pod {heads[0]['metadata']['name']} ended and was deleted")
    elif not heads and not _stays_lost(snapshot.cluster):
        yield _create_head(snapshot.cluster)


def _create_head(cluster: Manifest) -> Create:
    return Create(
        "Pod",
        pods.head_pod(cluster),
        group=c.HEAD_GROUP,
        done=Announce("CreatedHeadPod", "Created head Pod {name}", "Create"),
        failed=Announce("FailedToCreateHeadPod", "Failed to create head Pod {name}", "Create", warning=True),
        condition="FailedCreateHeadPod",
    )


def _stays_lost(cluster: Manifest) -> bool:
    """Whether an annotation forbids a new head once the cluster was provisioned."""
    if (cluster["metadata"].get("annotations") or {}).get(c.ANNOTATION_KEEP_HEAD_LOST) != "true":
        return False
    conditions = (cluster.get("status") or {}).get("conditions") or []
    return any(entry["type"] == c.PROVISIONED and entry["status"] == "True" for entry in conditions)


def _workers(snapshot: Snapshot, group: Manifest) -> Iterator[Step | Stop]:
    name = group["groupName"]
    found = [pod for pod in snapshot.pods if pod["metadata"]["labels"].get(c.LABEL_GROUP) == name]
    if group.get("suspend"):
        message = f"Deleted all pods for suspended worker group {name} in RayCluster {_where(snapshot.cluster)}"
        yield from _delete_all(found, Announce("DeletedWorkerPod", message, "Delete"), "FailedDeleteWorkerPod")
        return
    ended = [pod for pod in found if reading.must_delete(pod)]
    if ended:
        yield from (_delete_ended(pod, name, "Worker") for pod in ended)
        yield Stop(f"delete {len(ended)} unhealthy worker Pods")
        return
    victims = list((group.get("scaleStrategy") or {}).get("workersToDelete") or [])
    namespace = naming.namespace_of(snapshot.cluster)
    yield from (_delete_worker(namespace, victim, name) for victim in victims)
    running = [pod for pod in found if pod["metadata"]["name"] not in victims]
    difference = reading.desired_replicas(group) - len(running)
    if difference > 0:
        yield from _create_workers(snapshot.cluster, group, running, difference)
    for pod in running[: max(0, -difference)]:
        yield _delete_worker(namespace, pod["metadata"]["name"], name)


def _create_workers(cluster: Manifest, group: Manifest, running: list[Manifest], count: int) -> Iterator[Create]:
    taken = {pod["metadata"]["labels"].get(c.LABEL_REPLICA_INDEX) for pod in running}
    free = [index for index in range(len(running) + count) if str(index) not in taken]
    for index in free[:count]:
        yield Create(
            "Pod",
            pods.worker_pod(cluster, group, index),
            group=group["groupName"],
            done=Announce("CreatedWorkerPod", "Created worker Pod {name}", "Create"),
            failed=Announce(
                "FailedToCreateWorkerPod",
                f"Failed to create worker Pod for the cluster {_where(cluster)}",
                "Create",
                warning=True,
            ),
            condition="FailedCreateWorkerPod",
        )


def _delete_worker(namespace: str, name: str, group: str) -> Delete:
    return Delete(
        namespace,
        name,
        group=group,
        done=Announce("DeletedWorkerPod", "Deleted Pod {name}", "Delete"),
        failed=Announce("FailedToDeleteWorkerPod", "Failed deleting Pod {name}", "Delete", warning=True),
        condition="FailedDeleteWorkerPod",
    )


def _delete_ended(pod: Manifest, group: str, node: str) -> Delete:
    exit_ = reading.ray_container_exit(pod) or {}
    details = (
        f"Pod status: {(pod.get('status') or {}).get('phase')}; "
        f"Pod restart policy: {pod['spec'].get('restartPolicy', 'Always')}; "
        f"Ray container exit code: {exit_.get('exitCode', 'none')}"
    )
    noun = f"{node.lower()} Pod {{name}}; {details}"
    return Delete(
        pod["metadata"]["namespace"],
        pod["metadata"]["name"],
        group=group,
        done=Announce(f"Deleted{node}Pod", f"Deleted {noun}", "Delete"),
        failed=Announce(f"FailedToDelete{node}Pod", f"Failed deleting {noun}", "Delete", warning=True),
        condition=f"FailedDelete{node}Pod",
    )


def _names(objects: Iterable[Manifest]) -> list[str]:
    return [entry["metadata"]["name"] for entry in objects]
