"""Small builders of endpoint snapshots: each names only what a test is about."""

from datetime import timedelta

from unit.operator.builders import T0, make_cluster, make_workers

from tidemill_api.endpoint_contract import IngressSettings
from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.core.endpoint.planner import plan
from tidemill_operator.core.endpoint.snapshot import (
    RUNNING,
    DeploymentView,
    EndpointSnapshot,
    EndpointView,
    ReplicaView,
    RevisionView,
    ServeView,
    ServiceView,
)
from tidemill_operator.core.endpoint.victims import EngineSample

SETTINGS = IngressSettings(queue_bound=1000, request_timeout_seconds=600)
MINIMAL = {
    "model": {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    "replicas": {"min": 1, "max": 4},
    "scaling": {"targetQueueDepth": 10, "targetQueueAgeMilliseconds": 2000},
}
LATER = T0 + timedelta(minutes=10)


def make_spec(**fields):
    return RealtimeEndpointSpec.model_validate(MINIMAL | fields)


def make_endpoint(*, spec=None, status=None, generation=1, deleting=False, problem=""):
    return EndpointView(
        namespace="team",
        name="chat",
        uid="uid-1",
        generation=generation,
        created=T0,
        deleting=deleting,
        spec=spec or make_spec(),
        spec_problem=problem,
        status=status or RealtimeEndpointStatus(),
    )


def engines(states, *, target=None, **fields):
    """The engine deployment: one replica per state, on the workers' addresses in order."""
    replicas = tuple(ReplicaView(f"e{i}", state, f"10.0.1.{i}") for i, state in enumerate(states, 1))
    return DeploymentView(len(states) if target is None else target, replicas, **fields)


def ingresses(workers, *, target=None):
    """An ingress on the head and on each worker, all running."""
    replicas = [ReplicaView("i0", RUNNING, "10.0.0.1")]
    replicas += [ReplicaView(f"i{n}", RUNNING, f"10.0.1.{n}") for n in range(1, workers + 1)]
    return DeploymentView(len(replicas) if target is None else target, tuple(replicas))


def make_serve(running=1, **fields):
    given = {
        "deployed": True,
        "ingress": ingresses(running),
        "engine": engines([RUNNING] * running),
        "settings": SETTINGS,
        "attempt": 1,
    }
    return ServeView(**given | fields)


def samples(workers, *, now=LATER, ago=0.0, waiting=0, running=0, oldest=0.0, **ended):
    """One sample of each ingress; all requests are at the head's, `answered` and `unanswered` ones too."""
    time = now - timedelta(seconds=ago)
    first = IngressSample("i0", time, waiting, running, oldest, **ended)
    return (first, *(IngressSample(f"i{n}", time, 0, 0, 0.0) for n in range(1, workers + 1)))


def engine_samples(requests, *, now=LATER):
    """One sample of each engine with so many requests."""
    return tuple(EngineSample(f"10.0.1.{n}", now, 0, r) for n, r in enumerate(requests, 1))


def make_revision(revision="r1", *, replicas=1, running=None, now=LATER, **fields):
    """A revision whose replicas all run and have nothing to do."""
    up = replicas if running is None else running
    cluster = make_cluster(name=f"chat-{revision}", uid=f"cluster-{revision}", replicas=replicas)
    given = {
        "cluster": cluster,
        "workers": make_workers(replicas),
        "serve": make_serve(up) if up == replicas else make_serve(up, engine=engines([RUNNING] * up, target=replicas)),
        "ingress_samples": samples(up, now=now),
        "engine_samples": engine_samples([0] * up, now=now),
    }
    return RevisionView(revision, **given | fields)


def look(*revisions, now=LATER, wanted="r1", serving="", endpoint=None, status=None, **seen):
    """What is planned for an endpoint with these revisions."""
    service = ServiceView(serving) if serving else None
    given = {"service": service, "settings": SETTINGS} | seen
    endpoint = endpoint or make_endpoint(status=status)
    return plan(EndpointSnapshot(now=now, endpoint=endpoint, wanted=wanted, revisions=revisions, **given))


def served_status(revision="r1", *, now=LATER, **scaling):
    """The status of an endpoint that has served this revision for a while."""
    seen = look(make_revision(revision, now=now), wanted=revision, serving=revision, now=now - timedelta(minutes=5))
    status = seen.status
    kept = status.scaling.model_copy(update=scaling)
    return status.model_copy(update={"scaling": kept})


def condition(of_plan, of):
    """A condition as (status, reason)."""
    found = next(c for c in of_plan.status.conditions if c.type == of)
    return found.status, str(found.reason)


def message(of_plan, of):
    return next(c.message for c in of_plan.status.conditions if c.type == of)


def reasons(of_plan):
    return [str(event.reason) for event in of_plan.events]
