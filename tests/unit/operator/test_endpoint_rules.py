"""The rules about one endpoint, as sentences. A snapshot goes in, a plan comes out."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.builders import make_cluster
from unit.operator.endpoint_builders import (
    LATER,
    SETTINGS,
    condition,
    engines,
    look,
    make_endpoint,
    make_revision,
    make_serve,
    make_spec,
    message,
    reasons,
    samples,
    served_status,
)

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import INGRESS_DEPLOYMENT
from tidemill_operator.core.endpoint.plan import CreateRevision, Deploy, PointService, ScaleServe
from tidemill_operator.core.endpoint.snapshot import (
    EndpointRejection,
    RevisionView,
    ServeView,
    ServiceView,
)
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster

STARTING, DRAINING = "STARTING", "PENDING_MIGRATION"
SECOND = timedelta(seconds=1)
NOTHING = ServeView(deployed=False)


def fresh(**fields):
    """A revision whose cluster was just created."""
    given = {"serve": NOTHING, "workers": (), "ingress_samples": (), "engine_samples": (), "replicas": 0}
    return make_revision(**given | fields)


# From nothing to the first answer


def test_a_new_endpoint_gets_a_cluster_and_says_all_conditions():
    first = look()
    assert first.actions == (CreateRevision("r1", 1),)
    assert [c.type for c in first.status.conditions] == ["Progressing", "Available", "Ready"]
    assert condition(first, "Progressing") == ("True", "ClusterStarting")
    assert condition(first, "Available") == ("False", "IngressNotReady")
    assert condition(first, "Ready")[0] == "False"
    assert (first.status.url, first.status.revision.wanted) == ("", "r1")


def test_a_head_that_is_not_ready_is_waited_for_and_its_problem_is_said():
    cluster = make_cluster(head_ready=False, head_ip="", head_problem="0/1 nodes: Insufficient cpu.")
    waiting = look(fresh(cluster=cluster, serve=None))
    assert waiting.actions == ()
    assert "Insufficient cpu" in message(waiting, "Progressing")


def test_serve_is_told_what_to_run_as_soon_as_it_answers():
    told = look(fresh())
    assert told.actions == (Deploy("r1", "10.0.0.1", 1, 2, SETTINGS, 1),)
    assert condition(told, "Progressing") == ("True", "Deploying")
    assert told.recheck_after < SECOND


def test_nothing_is_scaled_while_serve_builds_the_application():
    building = look(fresh(serve=ServeView(deployed=True, built=False)))
    assert building.actions == ()
    assert condition(building, "Progressing") == ("True", "Deploying")


def test_an_application_that_cannot_be_built_is_tried_again_later():
    broken = look(fresh(serve=ServeView(deployed=True, built=False, failed="ImportError: no module", attempt=1)))
    assert condition(broken, "Progressing") == ("False", "ReplicasFailing")
    assert "ImportError: no module" in message(broken, "Progressing")
    later = broken.status.startup.retry_time
    due = look(fresh(serve=ServeView(True, False, "ImportError", attempt=1)), status=broken.status, now=later)
    assert due.actions == (Deploy("r1", "10.0.0.1", 1, 2, SETTINGS, 2),)


def test_an_endpoint_that_may_sleep_starts_one_replica_all_the_same():
    """A model that cannot load is found out before anyone asks."""
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 0, "max": 4}))
    started = look(fresh(serve=make_serve(0, engine=engines([], target=1))), endpoint=endpoint)
    assert ScaleCluster("chat-r1", 1, 4) in started.actions


def test_a_dashboard_that_is_starting_is_no_trouble_and_one_that_stays_silent_is():
    def silent(since):
        cluster = make_cluster(head_ready_since=LATER - since)
        return look(fresh(cluster=cluster, serve=None, serve_problem="connection refused."))

    assert condition(silent(timedelta(seconds=30)), "Progressing") == ("True", "ClusterStarting")
    assert condition(silent(timedelta(minutes=5)), "Progressing") == ("Unknown", "RayUnreachable")
    assert silent(timedelta(minutes=5)).actions == ()


def test_the_service_comes_when_the_first_replica_answers():
    starting = look(make_revision(running=0, serve=make_serve(0, engine=engines([STARTING]))))
    assert starting.actions == (ScaleServe("r1", "10.0.0.1", INGRESS_DEPLOYMENT, 2),)
    assert condition(starting, "Progressing") == ("True", "ReplicasStarting")
    serves = look(make_revision())
    assert serves.actions == (PointService("r1"),)
    assert serves.status.url == "http://chat.team.svc/v1"
    assert "RevisionServes" in reasons(serves)
    assert condition(serves, "Ready") == ("True", "Serving")


def test_the_first_revision_serves_with_its_first_replica_and_is_ready_with_the_least():
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 3, "max": 4}))
    assert PointService("r1") not in look(make_revision(replicas=3, running=0), endpoint=endpoint).actions
    one = look(make_revision(replicas=3, running=1), endpoint=endpoint)
    assert PointService("r1") in one.actions
    assert condition(one, "Available") == ("True", "ReplicasRunning")
    assert condition(one, "Ready") == ("False", "ReplicasStarting")
    assert message(one, "Ready") == "1 of at least 3 replicas answer."
    served = look(make_revision(replicas=3), endpoint=endpoint, serving="r1")
    assert condition(served, "Ready") == ("True", "Serving")


def test_a_later_revision_takes_over_with_all_that_serve_now():
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 3, "max": 4}), status=served_status())
    old = make_revision(replicas=3)
    two = look(old, make_revision("r2", replicas=3, running=2), endpoint=endpoint, wanted="r2", serving="r1")
    assert PointService("r2") not in two.actions
    three = look(old, make_revision("r2", replicas=3), endpoint=endpoint, wanted="r2", serving="r1")
    assert PointService("r2") in three.actions


def test_a_settled_endpoint_does_nothing_and_looks_again_soon():
    settled = look(make_revision(), serving="r1", status=served_status())
    assert settled.actions == ()
    assert condition(settled, "Progressing") == ("False", "Settled")
    assert settled.status.selector == (
        "tidemill.dev/realtime-endpoint=chat,tidemill.dev/revision=r1,tidemill.dev/role=worker"
    )
    assert settled.recheck_after <= 2 * SECOND


# What is wrong


def test_a_missing_secret_is_named_and_no_pod_is_made():
    missing = look(missing_secrets=("keys",))
    assert missing.actions == ()
    assert condition(missing, "Progressing") == ("False", "SecretNotFound")
    assert "Secret keys" in message(missing, "Progressing")
    assert "SecretNotFound" in reasons(missing)
    assert look(status=missing.status).actions == (CreateRevision("r1", 1),), "it heals"


def test_a_secret_that_goes_missing_later_does_not_stop_what_serves():
    assert look(make_revision(), serving="r1", status=served_status(), missing_secrets=("keys",)).actions == ()


def test_a_spec_that_may_not_run_holds_what_serves():
    endpoint = make_endpoint(problem="model.source: /models lies under no mount.", status=served_status())
    held = look(make_revision(), serving="r1", wanted="", endpoint=endpoint)
    assert held.actions == ()
    assert condition(held, "Progressing") == ("False", "InvalidSpec")
    assert condition(held, "Available") == ("True", "ReplicasRunning")
    assert condition(held, "Ready") == ("False", "InvalidSpec")


def test_a_spec_that_cannot_be_read_changes_nothing():
    endpoint = replace(make_endpoint(problem="model: field required.", status=served_status()), spec=None)
    held = look(make_revision(replicas=3), serving="r1", wanted="", endpoint=endpoint)
    assert held.actions == ()
    assert condition(held, "Ready") == ("False", "InvalidSpec")


def test_a_spec_that_may_not_run_still_scales_what_serves():
    endpoint = make_endpoint(problem="template.volumes: hostPath.", status=served_status())
    busy = make_revision(ingress_samples=samples(1, waiting=30))
    grown = look(busy, serving="r1", wanted="", endpoint=endpoint)
    assert ScaleCluster("chat-r1", 3, 4) in grown.actions


def test_a_refused_cluster_is_said_and_tried_again_later_and_later():
    refused = EndpointRejection(EndpointReason.CLUSTER_REJECTED, "exceeded quota: gpus.")
    status, waits, now = None, [], LATER
    for _ in range(7):
        assert CreateRevision("r1", 1) in look(now=now, status=status).actions
        said = look(now=now, status=status, rejection=refused)
        assert said.actions == ()
        assert condition(said, "Progressing") == ("False", "ClusterRejected")
        status = said.status
        waits.append((status.startup.retry_time - now).total_seconds())
        assert look(now=now + SECOND, status=status).actions == (), "not before its time"
        now = status.startup.retry_time
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_a_service_of_somebody_else_is_left_alone_and_nothing_is_paid_for():
    taken = look(service=ServiceView("", foreign=True))
    assert taken.actions == ()
    assert condition(taken, "Progressing") == ("False", "ServiceNameTaken")


def test_pods_that_find_no_place_are_said():
    said = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    cluster = make_cluster(name="chat-r1", replicas=3, worker_problem=said, no_room=True)
    short = look(make_revision(replicas=3, running=1, cluster=cluster), serving="r1", status=served_status())
    assert condition(short, "Progressing") == ("False", "InsufficientCapacity")
    assert message(short, "Progressing") == (
        f"1 of 3 replicas answer. {said} Add nodes, or lower replicas or resources in the spec."
    )
    assert condition(short, "Available") == ("True", "ReplicasRunning")


def test_pods_that_do_not_start_for_another_reason_are_no_matter_of_capacity():
    cluster = make_cluster(name="chat-r1", replicas=3, worker_problem="ImagePullBackOff: no such image")
    failing = look(make_revision(replicas=3, running=1, cluster=cluster), serving="r1", status=served_status())
    assert condition(failing, "Progressing") == ("False", "PodsFailing")
    assert "ImagePullBackOff: no such image. Mend image" in message(failing, "Progressing")
    assert ("Warning", "PodsFailing") in [(event.type, event.reason) for event in failing.events]


@pytest.mark.parametrize(("no_room", "reason"), [(True, "InsufficientCapacity"), (False, "PodsFailing")])
def test_a_head_that_does_not_start_is_said(no_room, reason):
    cluster = make_cluster(name="chat-r1", head_ready=False, head_problem="It is so.", no_room=no_room)
    waiting = look(make_revision(serve=None, cluster=cluster))
    assert condition(waiting, "Progressing") == ("False", reason)
    assert message(waiting, "Progressing").startswith("The head pod does not start: It is so. ")
    assert condition(waiting, "Ready")[0] == "False"


# The head


def test_a_head_that_forgot_everything_is_told_anew_with_the_size_that_was():
    amnesic = make_revision(replicas=3, serve=NOTHING)
    told = look(amnesic, serving="r1", status=served_status())
    assert told.actions == (Deploy("r1", "10.0.0.1", 3, 4, SETTINGS, 1),)
    assert condition(told, "Available") == ("False", "IngressNotReady")


def test_a_silent_head_holds_the_size_and_unknown_is_said():
    silent = make_revision(replicas=3, serve=None, serve_problem="timeout.")
    held = look(silent, serving="r1", status=served_status())
    assert held.actions == ()
    assert condition(held, "Progressing") == ("Unknown", "RayUnreachable")
    assert condition(held, "Available") == ("Unknown", "RayUnreachable")
    assert (held.status.replicas, held.status.ready_replicas) == (3, 1), "as was said last: unknown is no zero"


def test_a_cluster_that_somebody_deleted_is_made_again():
    gone = look(RevisionView("r1"), serving="r1", status=served_status())
    assert gone.actions == (CreateRevision("r1", 1),)


# What is said of the queue


@pytest.mark.parametrize(
    ("oldest", "ratio", "health"), [(0.0, "0.00", "Healthy"), (3.9, "1.95", "Healthy"), (4.0, "2.00", "Warning")]
)
def test_the_queue_is_healthy_below_twice_the_target_age(oldest, ratio, health):
    busy = make_revision(ingress_samples=samples(1, waiting=bool(oldest), oldest=oldest))
    queue = look(busy, serving="r1", status=served_status()).status.queue
    assert (queue.age_ratio, queue.health) == (ratio, health)


def test_missing_figures_are_an_unknown_health():
    blind = make_revision(ingress_samples=())
    assert look(blind, serving="r1", status=served_status()).status.queue.health == "Unknown"


def test_figures_alone_are_written_every_few_seconds():
    first = look(make_revision(), serving="r1", status=served_status())

    def after(seconds, running):
        now = LATER + seconds * SECOND
        busy = make_revision(ingress_samples=samples(1, now=now, running=running), now=now)
        return look(busy, serving="r1", status=first.status, now=now).status

    first = replace(first, status=after(1, 3))
    assert after(2, 7) == first.status
    assert after(7, 7).queue.depth == 7


def writes_of(minute, *, least=1, replicas=1):
    """How often the status is written in a minute of looks each second, at these numbers of requests by turns."""
    spec = make_spec(replicas={"min": least, "max": 4})
    status, written = served_status(), []
    for second in range(60):
        now = LATER + second * SECOND
        load = samples(replicas, now=now, running=minute[second % len(minute)])
        seen = make_revision(replicas=replicas, now=now, ingress_samples=load)
        after = look(seen, serving="r1", endpoint=make_endpoint(spec=spec, status=status), now=now).status
        written += [now] if after != status else []
        status = after
    return len(written), status


@pytest.mark.parametrize(
    ("minute", "least", "replicas"),
    [([0, 1], 1, 1), ([0, 1], 0, 1), ([9, 7], 1, 2), ([0, 18], 0, 2)],
    ids=["at most one request", "one that may sleep", "about what fewer would do for", "on and off"],
)
def test_a_load_that_comes_and_goes_is_no_write_at_every_look(minute, least, replicas):
    writes, status = writes_of(minute, least=least, replicas=replicas)
    assert writes <= 26, "the figures each five seconds, and the end of a calm that had been written"
    assert status.replicas >= replicas, "and none of it is taken for a calm that lasts"


def test_a_calm_that_begins_is_written_within_seconds_and_its_end_at_once():
    _, status = writes_of([0], least=0)
    begun = status.scaling.idle_since
    assert begun is not None
    assert begun - LATER < 6 * SECOND
    now = LATER + 61 * SECOND
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 0, "max": 4}), status=status)
    busy = make_revision(now=now, ingress_samples=samples(1, now=now, running=1))
    assert look(busy, serving="r1", endpoint=endpoint, now=now).status.scaling.idle_since is None


def test_an_endpoint_that_is_being_deleted_is_left_to_its_owner_references():
    endpoint = make_endpoint(deleting=True, status=served_status())
    assert look(make_revision(), serving="r1", endpoint=endpoint).actions == ()


def test_a_deleted_endpoint_that_a_finalizer_keeps_lets_its_clusters_go():
    endpoint = replace(make_endpoint(deleting=True, status=served_status()), held=True)
    one, leaving = make_revision(), make_revision("r2")
    leaving = replace(leaving, cluster=replace(leaving.cluster, deleting=True))
    held = look(one, leaving, serving="r1", endpoint=endpoint)
    assert (held.actions, held.status) == ((DeleteCluster(one.cluster.name, one.cluster.uid),), endpoint.status)
