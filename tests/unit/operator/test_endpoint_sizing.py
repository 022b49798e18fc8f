"""How an endpoint's replicas follow its load: what KubeRay and Serve are told, and in which order."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.builders import make_cluster, make_workers
from unit.operator.endpoint_builders import (
    LATER,
    SETTINGS,
    condition,
    engine_samples,
    engines,
    ingresses,
    look,
    make_endpoint,
    make_revision,
    make_serve,
    make_spec,
    reasons,
    samples,
    served_status,
)

from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT, INGRESS_DEPLOYMENT, IngressSettings
from tidemill_operator.core.boost import Boost
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.core.endpoint.plan import Deploy, ScaleServe
from tidemill_operator.core.endpoint.snapshot import RUNNING, DeploymentView, ReplicaView
from tidemill_operator.core.plan import ScaleCluster
from tidemill_operator.ray_clusters import scale_patch

DRAINING = "PENDING_MIGRATION"
SECOND = timedelta(seconds=1)


def test_waiting_requests_grow_pods_first_and_serve_at_once():
    busy = make_revision(ingress_samples=samples(1, waiting=20, running=10))
    grown = look(busy, serving="r1", status=served_status())
    assert grown.actions == (
        ScaleCluster("chat-r1", 3, 4),
        ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 3),
        ScaleServe("r1", "10.0.0.1", INGRESS_DEPLOYMENT, 4),
    )
    assert "ScaledUp" in reasons(grown)
    assert grown.status.replicas == 3
    assert grown.status.scaling.last_scale_time == LATER


def test_a_boost_asks_for_more_replicas_of_the_same_load_while_it_lasts():
    busy = make_revision(ingress_samples=samples(1, waiting=8, running=2))
    calm = make_endpoint(status=served_status())
    told = {}
    for left in (600, 0):
        boost = Boost(2.0, LATER + left * SECOND, "TidemillEndpointAge")
        told[left] = look(busy, serving="r1", endpoint=replace(calm, boost=boost)).status.replicas
    assert look(busy, serving="r1", endpoint=calm).status.replicas == told[0] == 1
    assert told[600] == 2


@pytest.mark.parametrize(("room", "replicas"), [(None, 3), (2, 2), (1, 1), (0, 1), (9, 3)])
def test_an_endpoint_grows_into_the_room_there_is_and_shrinks_for_no_one(room, replicas):
    busy = make_revision(ingress_samples=samples(1, waiting=20, running=10))
    assert look(busy, serving="r1", status=served_status(), room=room).status.replicas == replicas


def test_figures_from_before_the_change_are_not_looked_at_again():
    grown = served_status(last_scale_time=LATER)
    busy = make_revision(replicas=3, running=1, ingress_samples=samples(1, waiting=200))
    again = look(busy, serving="r1", status=grown)
    assert not any(isinstance(action, ScaleCluster) for action in again.actions)


def test_a_replica_that_begins_to_answer_is_remembered_so_that_what_waited_for_it_does_not_count():
    grown = served_status(last_scale_time=LATER - 60 * SECOND).model_copy(update={"ready_replicas": 1, "replicas": 2})
    began = look(
        make_revision(replicas=2, ingress_samples=samples(2, waiting=5, oldest=50.0)), serving="r1", status=grown
    )
    assert began.status.scaling.last_start_time == LATER
    assert not any(isinstance(action, ScaleCluster) for action in began.actions), "it came before the replica did"
    still_late = make_revision(
        replicas=2, ingress_samples=samples(2, now=LATER + 9 * SECOND, waiting=5, oldest=5.0), now=LATER + 9 * SECOND
    )
    corrected = look(still_late, serving="r1", status=began.status, now=LATER + 9 * SECOND)
    assert ScaleCluster("chat-r1", 4, 4) in corrected.actions


def shrinking(**fields):
    calm = served_status(lower_since=LATER - timedelta(hours=1), lower_peak=1)
    revision = make_revision(replicas=3, engine_samples=engine_samples([4, 0, 2]), **fields)
    return revision, calm


def test_the_emptiest_pods_leave_and_serve_waits_for_their_nodes():
    revision, calm = shrinking()
    shrunk = look(revision, serving="r1", status=calm)
    assert shrunk.actions == (ScaleCluster("chat-r1", 1, 4, ("w2", "w3")),)
    assert "ScaledDown" in reasons(shrunk)


def test_serves_targets_follow_as_the_nodes_drain():
    pods = tuple(replace(pod, deleting=pod.name in ("w2", "w3")) for pod in make_workers(3))
    cluster = make_cluster(name="chat-r1", replicas=1, workers_to_delete=("w2", "w3"))
    serve = make_serve(3, engine=engines([RUNNING, DRAINING, RUNNING]))
    draining = make_revision(replicas=1, cluster=cluster, workers=pods, serve=serve, ingress_samples=samples(3))
    follows = look(draining, serving="r1", status=served_status())
    assert follows.actions == (ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 2),)
    assert condition(follows, "Progressing") == ("True", "ScalingDown")


def test_a_silent_ingress_keeps_every_replica():
    revision, calm = shrinking(ingress_samples=samples(2))
    assert look(revision, serving="r1", status=calm).actions == ()


def test_names_of_pods_that_have_gone_are_taken_off_the_list():
    cluster = make_cluster(name="chat-r1", replicas=1, workers_to_delete=("w9",))
    tidy = look(make_revision(cluster=cluster), serving="r1", status=served_status())
    assert tidy.actions == (ScaleCluster("chat-r1", 1, 4, ()),)


def test_a_pod_that_others_told_to_go_is_named_so_that_its_replacement_need_not_wait_for_its_end():
    pods = tuple(replace(pod, deleting=pod.name == "w2") for pod in make_workers(3))
    cluster = make_cluster(name="chat-r1", replicas=3)
    serve = make_serve(3, engine=engines([RUNNING, DRAINING, RUNNING]))
    evicted = make_revision(replicas=3, cluster=cluster, workers=pods, serve=serve, ingress_samples=samples(3))
    named = look(evicted, serving="r1", status=served_status())
    assert ScaleCluster("chat-r1", 3, 4, ("w2",)) in named.actions


def test_the_last_replica_goes_after_the_delay_and_the_ingress_on_the_head_stays():
    endpoint = make_endpoint(
        spec=make_spec(replicas={"min": 0, "max": 4}), status=served_status(idle_since=LATER - timedelta(hours=1))
    )
    drowsy = look(make_revision(), serving="r1", endpoint=endpoint)
    assert drowsy.actions == (ScaleServe("r1", "10.0.0.1", INGRESS_DEPLOYMENT, 1),), "nobody is to reach the worker"
    assert condition(drowsy, "Progressing") == ("True", "ScalingDown")
    assert condition(drowsy, "Ready") == ("True", "Serving")
    endpoint = replace(endpoint, status=drowsy.status)
    unreachable = make_revision(serve=make_serve(1, ingress=ingresses(0)), ingress_samples=samples(0))
    slept = look(unreachable, serving="r1", endpoint=endpoint)
    assert slept.actions == (
        ScaleCluster("chat-r1", 0, 4, ("w1",)),
        ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 0),
    )
    asleep = make_revision(replicas=0, serve=make_serve(0, ingress=ingresses(0)), ingress_samples=samples(0))
    held = look(asleep, serving="r1", endpoint=replace(endpoint, status=slept.status), now=LATER + 2 * SECOND)
    assert condition(held, "Available") == ("True", "ScaledToZero")
    assert condition(held, "Ready") == ("True", "Serving")


def test_a_request_that_comes_while_it_falls_asleep_keeps_the_workers():
    endpoint = make_endpoint(
        spec=make_spec(replicas={"min": 0, "max": 4}), status=served_status(idle_since=LATER - timedelta(hours=1))
    )
    drowsy = look(make_revision(), serving="r1", endpoint=endpoint)
    closing = make_serve(1, ingress=ingresses(1, target=1))
    asked = make_revision(serve=closing, ingress_samples=samples(1, now=LATER + SECOND, running=1))
    endpoint = replace(endpoint, status=drowsy.status)
    stays = look(asked, serving="r1", endpoint=endpoint, now=LATER + SECOND)
    assert stays.actions == (ScaleServe("r1", "10.0.0.1", INGRESS_DEPLOYMENT, 2),)


def test_without_an_ingress_on_the_head_nobody_goes_to_sleep():
    endpoint = make_endpoint(
        spec=make_spec(replicas={"min": 0, "max": 4}), status=served_status(idle_since=LATER - timedelta(hours=1))
    )
    headless = DeploymentView(2, (ReplicaView("i1", RUNNING, "10.0.1.1"), ReplicaView("i0", "STARTING")))
    view = make_revision(serve=make_serve(1, ingress=headless), ingress_samples=samples(1))
    assert look(view, serving="r1", endpoint=endpoint).actions == ()


def test_the_first_request_wakes_it():
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 0, "max": 4}), status=served_status())
    asleep = make_revision(
        replicas=0, serve=make_serve(0, ingress=ingresses(0)), ingress_samples=samples(0, waiting=1, oldest=0.4)
    )
    woken = look(asleep, serving="r1", endpoint=endpoint)
    assert woken.actions[0] == ScaleCluster("chat-r1", 1, 4)
    assert ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 1) in woken.actions
    assert condition(woken, "Available") == ("False", "NoReplicaRunning")


@pytest.mark.parametrize(
    "ingress",
    [
        (("i0", RUNNING, "10.0.0.1"), ("i1", "PENDING_MIGRATION", "10.0.1.1")),
        (("i1", "PENDING_MIGRATION", "10.0.0.1"),),
    ],
    ids=["that of a worker that goes", "that of a head that is drained by others"],
)
def test_a_request_that_a_leaving_ingress_holds_wakes_a_replica_too(ingress):
    listed = DeploymentView(1, tuple(ReplicaView(*replica) for replica in ingress))
    held = IngressSample("i1", LATER, 3, 0, 40.0)
    asleep = make_revision(
        replicas=0, serve=make_serve(0, ingress=listed), ingress_samples=(IngressSample("i0", LATER, 0, 0, 0.0), held)
    )
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 0, "max": 4}), status=served_status())
    woken = look(asleep, serving="r1", endpoint=endpoint)
    assert ScaleCluster("chat-r1", 1, 4, decided_at=0) in woken.actions
    assert woken.status.queue.depth == 3


def test_a_replica_that_never_comes_keeps_no_other_from_starting():
    """It counts as starting for as long as the spec says that a start may take."""
    scaling = {"targetQueueDepth": 10, "scaleUp": {"maxStarting": 1}}
    spec = make_spec(scaling=scaling, upgrade={"progressDeadlineSeconds": 300})
    stuck = make_revision(replicas=2, running=1, ingress_samples=samples(1, waiting=500, oldest=400))
    for minutes, grown in ((4, ()), (6, (ScaleCluster("chat-r1", 3, 4),))):
        hours_ago = LATER - timedelta(hours=1)
        before = served_status(last_scale_time=LATER - timedelta(minutes=minutes), last_start_time=hours_ago)
        revision = before.revision.model_copy(update={"serving_time": hours_ago})
        status = before.model_copy(update={"revision": revision})
        told = look(stuck, serving="r1", endpoint=make_endpoint(spec=spec, status=status)).actions
        assert tuple(action for action in told if isinstance(action, ScaleCluster)) == grown


def test_new_limits_are_told_without_a_new_revision_and_with_the_counts_that_are():
    tighter = IngressSettings(queue_bound=5, request_timeout_seconds=600)
    told = look(make_revision(replicas=3), serving="r1", status=served_status(), settings=tighter)
    assert told.actions == (Deploy("r1", "10.0.0.1", 3, 4, tighter, 1),)


def test_sizes_do_not_wait_for_new_limits_to_be_taken():
    busy = make_revision(ingress_samples=samples(1, waiting=30), serve=make_serve(settings=None))
    told = look(busy, serving="r1", status=served_status())
    assert told.actions == (
        ScaleCluster("chat-r1", 3, 4),
        ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 3),
        ScaleServe("r1", "10.0.0.1", INGRESS_DEPLOYMENT, 4),
        Deploy("r1", "10.0.0.1", 3, 4, SETTINGS, 1),
    )
    assert condition(told, "Progressing") == ("True", "ReplicasStarting")


def test_a_put_that_reset_the_replicas_is_mended():
    reset = make_serve(3, engine=engines([RUNNING], target=1))
    mended = look(make_revision(replicas=3, serve=reset), serving="r1", status=served_status())
    assert ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 3) in mended.actions


def test_while_a_named_pod_has_not_been_told_to_go_no_other_one_is_named_in_its_place():
    cluster = make_cluster(name="chat-r1", uid="cluster-r1", replicas=1, workers_to_delete=("w1",))
    engine = engines([RUNNING] * 2, target=1)
    serve = make_serve(2, engine=engine, ingress=ingresses(2, target=2))
    busier = engine_samples([3, 0])  # w1 was empty when it was named; now w2 is
    seen = make_revision(
        cluster=cluster, workers=make_workers(2), serve=serve, engine_samples=busier, ingress_samples=samples(2)
    )
    waiting = look(seen, serving="r1", status=served_status())
    assert not any(isinstance(action, ScaleCluster) for action in waiting.actions)
    assert condition(waiting, "Progressing") == ("True", "ScalingDown")


def test_a_size_is_put_in_force_only_where_the_group_stands_as_it_did_when_that_was_decided():
    busy = make_revision(ingress_samples=samples(1, waiting=20, running=10))
    (scale,) = (a for a in look(busy, serving="r1", status=served_status()).actions if isinstance(a, ScaleCluster))
    tests = [step for step in scale_patch(scale) if step["op"] == "test"]
    assert {"op": "test", "path": "/spec/workerGroupSpecs/0/replicas", "value": 1} in tests
