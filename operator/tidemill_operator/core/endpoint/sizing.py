"""From a number of replicas to what KubeRay and Serve are told: pods first, then Serve's targets after them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT, INGRESS_DEPLOYMENT
from tidemill_api.v1alpha1.realtime_endpoint_status import ScalingStatus
from tidemill_operator.core.endpoint.law import Law, Memory, Size, Sized, Why, next_size
from tidemill_operator.core.endpoint.load import STALE_AFTER, Load, load_of
from tidemill_operator.core.endpoint.plan import EndpointAction, ScaleServe
from tidemill_operator.core.endpoint.snapshot import DeploymentView
from tidemill_operator.core.endpoint.victims import group_for, pod_loads, serve_target
from tidemill_operator.core.plan import Event, ScaleCluster
from tidemill_operator.core.scaling import Group, Scale

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.case import RevisionCase
    from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot, RevisionView, ServeView
    from tidemill_operator.core.snapshot import ClusterView

HEAD_INGRESS = 1
"""Ingress replicas beside those of the workers: the one on the head."""


def load_on(view: RevisionView, seen: EndpointSnapshot, scaling: ScalingStatus | None = None) -> Load:
    """The load of one revision; with `scaling`, without what was measured before the last change of size."""
    ingress = view.serve.ingress if view.serve is not None else DeploymentView()
    running, there = ([replica.name for replica in of] for of in (ingress.running, ingress.replicas))
    return load_of(view.ingress_samples, running, seen.now, scaling.last_scale_time if scaling else None, there)


def sized_by_law(case: RevisionCase) -> Sized:
    """The size of the revision that serves, by its load. Held where Serve says nothing, and where it is fixed."""
    cluster, serve = case.view.cluster, case.view.serve
    kept = case.scaling
    memory = Memory(kept.last_start_time, kept.lower_since, kept.lower_peak, kept.idle_since)
    if cluster is None or serve is None or cluster.fixed:
        return Sized(cluster.replicas if cluster else 0, Why.HELD, memory)
    size = Size(cluster.replicas, case.running, _stuck(case, cluster.replicas - case.running))
    return next_size(load_on(case.view, case.seen, kept), size, _law_now(case, size.wanted), memory, case.seen.now)


def _law_now(case: RevisionCase, standing: int) -> Law:
    """The law of the spec, boosted while an alert says so; it grows into the room there is, and shrinks for no one."""
    law, boost, room = Law.of(case.spec), case.seen.endpoint.boost, case.seen.room
    law = law.boosted(boost.factor_at(case.seen.now)) if boost is not None else law
    return law if room is None else replace(law, most=min(law.most, max(room, standing, law.least)))


def _stuck(case: RevisionCase, missing: int) -> int:
    """Replicas that no start takes so long: nothing began, and nothing was asked for, within the spec's deadline."""
    kept = case.scaling
    changes = [kept.last_scale_time, kept.last_start_time, case.status.revision.serving_time]
    last = max((change for change in changes if change is not None), default=case.seen.now)
    deadline = timedelta(seconds=case.spec.upgrade.progress_deadline_seconds)
    return max(missing, 0) if case.seen.now - last > deadline else 0


def scaling_after(case: RevisionCase, sized: Sized, scale: Scale) -> ScalingStatus:
    """What is kept for the law once `scale` is in force.

    Where the group cannot yet be as small as was decided (a pod that is not seen yet), the calm is kept, so that the
    rest follows at the next look.
    """
    kept, cluster = case.scaling, case.view.cluster
    changed = cluster is not None and scale.replicas != cluster.replicas
    calm = kept if sized.replicas < scale.replicas else sized.memory
    return ScalingStatus(
        last_scale_time=case.seen.now if changed else kept.last_scale_time,
        last_start_time=kept.last_start_time,
        lower_since=calm.lower_since,
        lower_peak=calm.lower_peak,
        idle_since=calm.idle_since,
    )


def group_of(case: RevisionCase, wanted: int) -> Scale:
    """The worker group for so many replicas, and who leaves.

    A pod that was named leaves, even where nobody has told it yet: taken for one that stays, it would be spared by the
    next look, which may find another one to have less to do, and both would go.
    """
    view, cluster, serve = case.view, case.view.cluster, case.view.serve
    if cluster is None:
        return Scale(wanted)
    if case.seen.scale_refused or cluster.fixed:
        return Scale(cluster.replicas)
    workers = tuple(replace(w, deleting=w.deleting or w.name in cluster.workers_to_delete) for w in view.workers)
    running = [replica.node_ip for replica in serve.engine.running] if serve is not None else []
    loads = pod_loads(workers, running, view.engine_samples, case.seen.now - STALE_AFTER)
    starting = [worker.name for worker in workers if worker.ip not in running]
    group = Group(cluster.replicas, workers, case.spec.replicas.max, complete=cluster.creation_refused)
    return group_for(wanted, group, loads, starting)


def may_sleep(case: RevisionCase) -> bool:
    """Whether nobody can reach the workers any more, so that they may all go: only the head has an ingress.

    A request that got to the ingress of a leaving worker would be held there until an engine answers it, the pod would
    stay for it, and KubeRay makes no other worker before that pod has gone. So their ingresses go first, while engines
    still answer what comes in by them.
    """
    serve, cluster = case.view.serve, case.view.cluster
    if serve is None or cluster is None:
        return True
    return len(serve.ingress.replicas) <= HEAD_INGRESS


def close_the_doors(case: RevisionCase) -> tuple[EndpointAction, ...]:
    """Only the head keeps its ingress, where it has one; Serve stops those of the workers before it."""
    serve, cluster = case.view.serve, case.view.cluster
    if serve is None or cluster is None or serve.ingress.target == HEAD_INGRESS:
        return ()
    if cluster.head_ip not in {replica.node_ip for replica in serve.ingress.running}:
        return ()
    return (ScaleServe(case.view.revision, cluster.head_ip, INGRESS_DEPLOYMENT, HEAD_INGRESS),)


def size_actions(case: RevisionCase, scale: Scale) -> tuple[EndpointAction, ...]:
    """The patch of the worker group and Serve's targets, as far as they are not as wanted."""
    cluster = case.view.cluster
    if cluster is None or cluster.deleting:
        return ()
    serve = serve_actions(case, cluster, case.view.serve, scale.replicas) if case.view.serve is not None else ()
    return (*cluster_actions(case, cluster, scale), *serve)


def cluster_actions(case: RevisionCase, cluster: ClusterView, scale: Scale) -> tuple[EndpointAction, ...]:
    """The patch of the worker group, or nothing. Names of pods that have gone leave workersToDelete.

    A pod that somebody else told to go (a node that is drained) is named too: KubeRay counts a leaving pod that nobody
    named as one that stands, and would make its replacement only when it has gone.
    """
    if case.seen.scale_refused or cluster.fixed:
        return ()
    leaving = {w.name for w in case.view.workers if w.deleting or w.name in cluster.workers_to_delete}
    named = tuple(sorted(leaving | set(scale.victims)))
    most = max(case.spec.replicas.max, scale.replicas)
    if (scale.replicas, most, named) == (cluster.replicas, cluster.max_replicas, cluster.workers_to_delete):
        return ()
    at = cluster.replicas
    return (ScaleCluster(cluster.name, scale.replicas, most, named, decided_at=at, generation=cluster.generation),)


def serve_actions(
    case: RevisionCase, cluster: ClusterView, serve: ServeView, replicas: int
) -> tuple[EndpointAction, ...]:
    """Serve's targets for so many engines: an engine per worker, an ingress per node."""
    if not serve.deployed or not cluster.head_ip:
        return ()
    told = (
        (ENGINE_DEPLOYMENT, serve.engine, replicas),
        (INGRESS_DEPLOYMENT, serve.ingress, HEAD_INGRESS + replicas),
    )
    targets = [(name, seen.target, serve_target(wanted, seen.target, seen.staying)) for name, seen, wanted in told]
    return tuple(
        ScaleServe(case.view.revision, cluster.head_ip, name, target)
        for name, before, target in targets
        if target != before
    )


def scaled_event(case: RevisionCase, sized: Sized, scale: Scale) -> Event | None:
    """What changed the size, for people; None where it stays."""
    cluster = case.view.cluster
    if cluster is None or scale.replicas == cluster.replicas:
        return None
    load = load_on(case.view, case.seen, case.scaling)
    said = {
        Why.BOUNDS: "replicas.min and replicas.max say so",
        Why.DEPTH: f"{load.depth} requests wait and run",
        Why.AGE: f"a request has waited for {load.oldest_seconds:.1f} s",
        Why.CALM: "fewer were enough for the stabilization",
        Why.IDLE: "no request came",
        Why.HELD: "as many are needed",
    }
    word = "ScaledUp" if scale.replicas > cluster.replicas else "ScaledDown"
    return Event("Normal", word, f"{cluster.replicas} -> {scale.replicas} replicas: {said[sized.why]}.")
