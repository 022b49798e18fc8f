"""Whatever an endpoint and its world look like, there is a plan, and it keeps to what always holds."""

from datetime import timedelta
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.operator.builders import T0, make_cluster
from unit.operator.endpoint_builders import LATER, SETTINGS, make_endpoint, make_spec

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.v1alpha1.realtime_endpoint_status import (
    EndpointQueueStatus,
    RealtimeEndpointStatus,
    RevisionStatus,
    ScalingStatus,
    StartupStatus,
)
from tidemill_operator.core.endpoint import plan as actions
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.core.endpoint.planner import plan
from tidemill_operator.core.endpoint.snapshot import (
    DEPLOY_FAILED,
    DeploymentView,
    EndpointRejection,
    EndpointSnapshot,
    ReplicaView,
    RevisionView,
    ServeView,
    ServiceView,
)
from tidemill_operator.core.endpoint.victims import EngineSample
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster
from tidemill_operator.core.snapshot import WorkerPod

CRD = Path(__file__).parents[3] / "crds" / "tidemill.dev_realtimeendpoints.yaml"
SCHEMA = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
STATUS = Draft202012Validator(SCHEMA)

NAMES = ["r1", "r2", "r3"]
MOMENTS = st.none() | st.integers(-60, 4000).map(lambda seconds: LATER - timedelta(seconds=seconds))
SMALL = st.integers(0, 5)
STATES = st.sampled_from(["STARTING", "UPDATING", "RECOVERING", "RUNNING", "STOPPING", "PENDING_MIGRATION"])
REPLICAS = st.lists(
    st.builds(ReplicaView, st.sampled_from("abcdef"), STATES, st.integers(0, 5).map(lambda n: f"ip{n}" if n else "")),
    unique_by=lambda replica: replica.name,
    max_size=5,
).map(tuple)
DEPLOYMENTS = st.builds(
    DeploymentView,
    SMALL,
    REPLICAS,
    st.sampled_from(["HEALTHY", "UPDATING", DEPLOY_FAILED, ""]),
    st.sampled_from(
        ["", "Traceback\nRuntimeError: no", 'X TIDEMILL_PROBLEM {"reason": "ModelNotFound", "message": "m"}']
    ),
)
SERVES = st.builds(
    ServeView,
    deployed=st.booleans(),
    built=st.booleans(),
    failed=st.sampled_from(["", "ImportError: no"]),
    ingress=DEPLOYMENTS,
    engine=DEPLOYMENTS,
    settings=st.sampled_from([None, SETTINGS]),
    attempt=SMALL,
)
PODS = st.lists(
    st.builds(WorkerPod, st.sampled_from("uvwxyz"), st.integers(1, 5).map("ip{}".format), st.booleans(), st.booleans()),
    unique_by=lambda pod: pod.name,
    max_size=5,
).map(tuple)
SAMPLES = st.lists(
    st.builds(
        IngressSample,
        st.sampled_from("abcdef"),
        st.integers(0, 9).map(lambda ago: LATER - timedelta(seconds=ago)),
        st.integers(0, 99),
        st.integers(0, 99),
        st.floats(0, 99),
    ),
    max_size=5,
).map(tuple)
ENGINES = st.lists(
    st.builds(EngineSample, st.integers(1, 5).map("ip{}".format), st.just(LATER), SMALL, SMALL),
    max_size=4,
).map(tuple)


RARELY = st.sampled_from([False] * 7 + [True])


@st.composite
def clusters(draw, name):
    ready = draw(st.booleans())
    return make_cluster(
        name=name,
        uid=f"uid-{name}",
        deleting=draw(st.booleans()),
        head_ready=ready,
        head_ip="10.0.0.1" if ready else "",
        replicas=draw(SMALL),
        workers_to_delete=tuple(draw(st.sets(st.sampled_from("uvwxyz"), max_size=2))),
        worker_problem=draw(st.sampled_from(["", "Insufficient cpu"])),
        head_ready_since=draw(MOMENTS),
        creation_refused=draw(st.booleans()),
        fixed=draw(RARELY),
        queue=draw(st.sampled_from(["", "days"])),
        suspended_since=T0 if draw(RARELY) else None,
    )


@st.composite
def revisions(draw):
    chosen = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    return tuple(
        RevisionView(
            name,
            draw(clusters(name)),
            draw(PODS),
            draw(st.none() | SERVES),
            "no answer.",
            draw(SAMPLES),
            draw(ENGINES),
        )
        for name in chosen
    )


STATUSES = st.builds(
    RealtimeEndpointStatus,
    replicas=SMALL,
    ready_replicas=SMALL,
    queue=st.builds(EndpointQueueStatus, depth=SMALL, observed_time=MOMENTS),
    revision=st.builds(
        RevisionStatus,
        serving=st.sampled_from(["", *NAMES]),
        wanted=st.sampled_from(["", *NAMES]),
        serving_time=MOMENTS,
        wanted_time=MOMENTS,
    ),
    scaling=st.builds(
        ScalingStatus,
        last_scale_time=MOMENTS,
        last_start_time=MOMENTS,
        lower_since=MOMENTS,
        lower_peak=SMALL,
        idle_since=MOMENTS,
    ),
    startup=st.builds(StartupStatus, attempt=st.integers(1, 9), waits=SMALL, retry_time=MOMENTS),
)


@st.composite
def snapshots(draw):
    low = draw(st.integers(0, 3))
    spec = make_spec(replicas={"min": low, "max": max(low + draw(SMALL), 1)})
    wanted = draw(st.sampled_from(["", *NAMES]))
    endpoint = make_endpoint(
        spec=spec,
        status=draw(STATUSES),
        problem="" if wanted else "it is wrong.",
        deleting=draw(st.integers(0, 9)) == 0,
    )
    service = st.builds(ServiceView, st.sampled_from(NAMES), st.integers(0, 4).map(lambda n: n == 0))
    rejection = EndpointRejection(EndpointReason.CLUSTER_REJECTED, "quota.")
    return EndpointSnapshot(
        now=LATER,
        endpoint=endpoint,
        wanted=wanted,
        settings=SETTINGS,
        revisions=draw(revisions()),
        service=draw(st.none() | service),
        missing_secrets=draw(st.sampled_from([(), ("keys",)])),
        rejection=draw(st.sampled_from([None, None, rejection])),
    )


anything = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@anything
@given(snapshots())
def test_there_is_always_a_plan_and_a_status_that_the_crd_takes(seen):
    decided = plan(seen)
    STATUS.validate(decided.status.model_dump(mode="json", by_alias=True, exclude_none=True))
    if seen.endpoint.deleting:
        assert (decided.actions, decided.status) == ((), seen.endpoint.status)
        return
    assert [c.type for c in decided.status.conditions] == ["Progressing", "Available", "Ready"]
    assert decided.recheck_after is None or decided.recheck_after >= timedelta(0)
    assert all(len(event.message) > 3 for event in decided.events)


@anything
@given(snapshots())
def test_what_serves_or_is_wanted_is_never_deleted(seen):
    """But for a cluster of one size for life (Kueue), which gives its quota back until the next try."""
    deleted = {action.name for action in plan(seen).actions if isinstance(action, DeleteCluster)}
    fixed = {view.revision for view in seen.revisions if view.cluster is not None and view.cluster.fixed}
    waits = fixed & {seen.wanted} if seen.endpoint.status.startup.retry_time is not None else set()
    assert not deleted & ({seen.serving, seen.wanted} - waits)
    assert not deleted or seen.wanted, "nothing goes on a spec that may not run"


@anything
@given(snapshots())
def test_a_group_never_falls_below_the_pods_that_nobody_named(seen):
    """Else KubeRay would choose one by itself."""
    views = {view.cluster.name: view for view in seen.revisions}
    for action in plan(seen).actions:
        if isinstance(action, ScaleCluster) and action.replicas > 0:
            view = views[action.name]
            assert not view.cluster.fixed, "Kueue would take it back"
            staying = {pod.name for pod in view.workers if not pod.deleting} - set(action.workers_to_delete)
            assert action.replicas >= len(staying)


@anything
@given(snapshots())
def test_serve_is_never_told_to_stop_a_running_replica_of_its_own_choice(seen):
    views = {view.revision: view for view in seen.revisions}
    for action in plan(seen).actions:
        if isinstance(action, actions.ScaleServe) and action.replicas > 0:
            serve = views[action.revision].serve
            of = serve.engine if action.deployment == "Engine" else serve.ingress
            assert action.replicas >= min(of.staying, of.target)


@anything
@given(snapshots())
def test_a_foreign_service_is_never_touched_and_nothing_is_made_for_it(seen):
    if seen.service is not None and seen.service.foreign and not seen.endpoint.deleting:
        kinds = {type(action) for action in plan(seen).actions}
        assert not kinds & {actions.PointService, actions.CreateRevision}


@anything
@given(snapshots())
def test_the_service_moves_only_to_a_revision_that_answers(seen):
    views = {view.revision: view for view in seen.revisions}
    for action in plan(seen).actions:
        if isinstance(action, actions.PointService) and action.revision != seen.serving:
            view = views[action.revision]
            assert view.serve.engine.running
            assert len(view.serve.ingress.running) > 1, "the head's, and that of a worker"
            assert any(pod.ready and not pod.deleting for pod in view.workers)


@anything
@given(snapshots())
def test_nothing_that_may_have_a_request_is_deleted_where_it_is_not_known_when_the_service_moved(seen):
    if seen.endpoint.status.revision.serving != seen.serving and seen.serving:
        assert not any(isinstance(action, DeleteCluster) for action in plan(seen).actions)


@anything
@given(snapshots())
def test_the_same_plan_comes_of_the_same_snapshot_and_a_second_look_says_nothing_new(seen):
    first = plan(seen)
    assert plan(seen) == first
    assert first.status.queue.observed_time is None or first.status.queue.observed_time >= T0 - timedelta(days=1)
