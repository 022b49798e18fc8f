"""What fails is said, tried again later, and takes nothing with it that answers."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.builders import make_cluster, make_workers
from unit.operator.endpoint_builders import (
    LATER,
    SETTINGS,
    condition,
    engines,
    ingresses,
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
from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT, EngineProblem
from tidemill_operator.core.endpoint.plan import CreateRevision, Deploy, PointService, ScaleServe
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED, RUNNING, DeploymentView, RevisionView, ServeView
from tidemill_operator.core.plan import ScaleCluster

SECOND = timedelta(seconds=1)
DEADLINE = timedelta(seconds=1800)
ZERO = {"min": 0, "max": 4}


def rolling(new, *, old=None, now=LATER, status=None, **seen):
    """Revision r1 serves, r2 is wanted, since long unless `status` says otherwise."""
    before = status or served_status()
    since = before.revision.model_copy(update={"wanted": "r2", "wanted_time": LATER - timedelta(hours=5)})
    status = status or before.model_copy(update={"revision": since})
    return look(old or make_revision("r1", now=now), new, wanted="r2", serving="r1", status=status, now=now, **seen)


def in_time():
    """The status of an endpoint whose new revision has just begun."""
    return look(make_revision("r1"), wanted="r2", serving="r1", status=served_status()).status


# When the Service moves


def test_the_service_does_not_move_to_engines_without_an_ingress():
    nobody = make_serve(1, ingress=DeploymentView(2, ()))
    kept = rolling(make_revision("r2", serve=nobody, ingress_samples=()), status=in_time())
    assert PointService("r2") not in kept.actions
    assert condition(kept, "Available") == ("True", "ReplicasRunning")
    head_only = make_serve(1, ingress=replace(ingresses(0), target=2))
    assert PointService("r2") not in rolling(make_revision("r2", serve=head_only), status=in_time()).actions


def test_the_service_does_not_move_to_pods_that_it_would_not_lead_to():
    unready = make_revision("r2", workers=make_workers(1, ready=False))
    kept = rolling(unready, status=in_time())
    assert PointService("r2") not in kept.actions
    assert message(kept, "Progressing").endswith("All replicas answer, but not yet the ingress of each pod.")


def test_a_first_revision_serves_only_once_a_pod_takes_requests():
    assert PointService("r1") not in look(make_revision(workers=make_workers(1, ready=False))).actions
    assert PointService("r1") in look(make_revision()).actions


def test_an_endpoint_short_of_capacity_is_upgraded_with_what_it_has():
    old = make_revision("r1", replicas=4, running=2)
    short = rolling(make_revision("r2", replicas=4, running=1), old=old, status=in_time())
    assert PointService("r2") not in short.actions
    moved = rolling(make_revision("r2", replicas=4, running=2), old=old, status=in_time())
    assert PointService("r2") in moved.actions


def test_while_nobody_knows_what_the_old_one_has_the_new_one_has_to_be_whole():
    old = make_revision("r1", replicas=4, serve=None, serve_problem="timeout.")
    new = make_revision("r2", replicas=4, running=2)
    assert PointService("r2") not in rolling(new, old=old, status=in_time()).actions


# A revision that is late


def headless(**fields):
    cluster = make_cluster(name="chat-r2", uid="cluster-r2", replicas=3, **fields)
    return RevisionView("r2", cluster, make_workers(3), serve_problem="connection refused.")


NEVER_READY = {
    "its head does not run": (headless(head_ready=False, head_ip="", head_problem="ImagePullBackOff"), "ImagePull"),
    "its Ray says nothing": (headless(head_ready_since=LATER - timedelta(hours=5)), "connection refused"),
    "Serve builds for ever": (make_revision("r2", replicas=3, running=0, serve=make_serve(0, built=False)), "0 of 3"),
    "Serve takes no word": (make_revision("r2", replicas=3, running=0, serve=ServeView(deployed=False)), "0 of 3"),
    "no ingress answers": (make_revision("r2", replicas=3, serve=make_serve(3, ingress=DeploymentView(4))), "3 of 3"),
}


@pytest.mark.parametrize("why", NEVER_READY)
def test_a_revision_is_late_whatever_keeps_it(why):
    new, said = NEVER_READY[why]
    late = rolling(new, old=make_revision("r1", replicas=3))
    assert condition(late, "Progressing") == ("False", "RevisionLate")
    assert said in message(late, "Progressing")
    assert "RolloutFailed" in reasons(late)
    (given_back,) = (action for action in late.actions if isinstance(action, ScaleCluster))
    assert (given_back.name, given_back.replicas) == ("chat-r2", 0)
    assert given_back.workers_to_delete == ("w1", "w2", "w3")


def test_the_time_of_a_revision_begins_with_its_cluster():
    """It waited for hours for a Secret, say: that was no fault of its own."""
    begun = rolling(RevisionView("r2"))
    assert begun.actions == (CreateRevision("r2", 1),)
    now = LATER + DEADLINE - SECOND
    starting = make_revision("r2", serve=None, cluster=make_cluster(name="chat-r2", head_ready=False, head_ip=""))
    waited = rolling(starting, now=now, status=begun.status)
    assert condition(waited, "Progressing") == ("True", "RollingOut")
    late = rolling(starting, now=now + SECOND, status=begun.status)
    assert condition(late, "Progressing") == ("False", "RevisionLate")


def going(view):
    """What is seen a second after its workers were given back: they drain, and still answer."""
    cluster = replace(view.cluster, replicas=0, workers_to_delete=tuple(worker.name for worker in view.workers))
    return replace(view, cluster=cluster)


def test_what_is_given_back_stays_so_while_some_of_it_still_answers():
    old, part = make_revision("r1", replicas=3), make_revision("r2", replicas=3, running=2)
    late = rolling(part, old=old)
    assert condition(late, "Progressing") == ("False", "RevisionLate")
    after = rolling(going(part), old=old, now=LATER + SECOND, status=late.status)
    assert not any(isinstance(action, ScaleCluster | PointService) for action in after.actions)
    assert condition(after, "Progressing") == ("False", "RevisionLate")


def test_what_is_said_while_a_try_is_awaited_stays_the_same():
    late = rolling(make_revision("r2", replicas=1, running=0))
    waiting = make_revision("r2", replicas=0, serve=make_serve(0))
    status = late.status
    for seconds in (1, 2, 3):
        now = LATER + seconds * SECOND
        status = rolling(waiting, now=now, status=status).status
        assert [c.message for c in status.conditions] == [c.message for c in late.status.conditions]


# A try that fails


def failing(text, **fields):
    serve = make_serve(0, engine=engines([], target=1, status=DEPLOY_FAILED, message=text), **fields)
    return make_revision(replicas=1, running=0, serve=serve)


def test_an_engine_that_cannot_start_says_why_and_its_workers_are_given_back():
    problem = EngineProblem(reason=EndpointReason.MODEL_NOT_FOUND, message="/models/x is not there: mount it.")
    failed = look(failing(f"Traceback ...\nEngineStartError: {problem.to_text()}"))
    assert condition(failed, "Progressing") == ("False", "ModelNotFound")
    assert "/models/x is not there" in message(failed, "Progressing")
    assert "Tried again at" in message(failed, "Progressing")
    assert failed.actions == (
        ScaleCluster("chat-r1", 0, 4, ("w1",)),
        ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 0),
    )
    assert (failed.status.startup.attempt, failed.status.startup.waits) == (2, 1)


def test_replicas_that_answer_are_never_given_back_whatever_serve_says_of_the_application():
    for fault in ({"failed": "ValueError: user_config"}, {"engine": engines([RUNNING], status=DEPLOY_FAILED)}):
        serve = make_serve(1, **fault)
        kept = look(make_revision(serve=serve), serving="r1", status=served_status())
        assert kept.actions == ()
        assert condition(kept, "Available") == ("True", "ReplicasRunning")


def test_an_engine_that_fails_in_other_words_is_shown_by_its_last_line():
    failed = look(failing("Traceback\n  File x\nRuntimeError: CUDA out of memory\n"))
    assert condition(failed, "Progressing") == ("False", "ReplicasFailing")
    assert "CUDA out of memory" in message(failed, "Progressing")
    assert "Traceback" not in message(failed, "Progressing")


def test_a_failed_start_is_tried_again_with_a_new_number_and_no_sooner():
    first = look(failing("RuntimeError: no"))
    waiting = make_revision(replicas=0, serve=make_serve(0, engine=engines([], status=DEPLOY_FAILED)))
    early = look(waiting, status=first.status, now=LATER + 29 * SECOND)
    assert early.actions == ()
    assert condition(early, "Progressing") == ("False", "ReplicasFailing")
    due = look(waiting, status=first.status, now=LATER + 30 * SECOND)
    assert due.actions == (Deploy("r1", "10.0.0.1", 1, 2, SETTINGS, 2),)
    again = look(failing("RuntimeError: no", attempt=2), status=due.status, now=LATER + 60 * SECOND)
    assert again.status.startup.attempt == 3
    assert again.status.startup.retry_time - LATER == timedelta(seconds=60 + 60)


def test_the_next_try_waits_until_the_workers_of_the_last_one_have_gone():
    first = look(failing("RuntimeError: no"))
    assert message(first, "Progressing").startswith("No replica starts: RuntimeError: no. Tried again at ")
    serve = make_serve(0, engine=engines([], status=DEPLOY_FAILED))
    leaving = make_revision(replicas=0, serve=serve, workers=make_workers(1, deleting=True))
    held = look(leaving, status=first.status, now=LATER + 31 * SECOND)
    assert not [action for action in held.actions if isinstance(action, Deploy)]
    assert condition(held, "Progressing") == ("False", "ReplicasFailing")
    assert held.recheck_after <= 2 * SECOND
    gone = look(make_revision(replicas=0, serve=serve), status=held.status, now=LATER + 40 * SECOND)
    assert gone.actions == (Deploy("r1", "10.0.0.1", 1, 2, SETTINGS, 2),)
    evicted = replace(leaving, serve=make_serve(0, attempt=2))
    begun = look(evicted, status=held.status, now=LATER + 41 * SECOND)
    assert condition(begun, "Progressing") == ("True", "ReplicasStarting")


def test_a_start_that_works_forgets_the_tries_before_it():
    failed = look(failing("RuntimeError: no")).status
    serves = look(make_revision(serve=make_serve(attempt=2)), status=failed, now=LATER + timedelta(minutes=2))
    assert PointService("r1") in serves.actions
    settled = look(
        make_revision(serve=make_serve(attempt=2), now=LATER + timedelta(minutes=3)),
        status=serves.status,
        serving="r1",
        now=LATER + timedelta(minutes=3),
    )
    assert (settled.status.startup.waits, settled.status.startup.retry_time) == (0, None)


def test_a_worker_that_leaves_before_the_first_try_holds_nothing_up():
    begun = rolling(RevisionView("r2")).status
    leaving = make_revision("r2", replicas=1, workers=make_workers(1, deleting=True), serve=ServeView(deployed=False))
    told = rolling(leaving, now=LATER + SECOND, status=begun)
    assert Deploy("r2", "10.0.0.1", 1, 2, SETTINGS, 1) in told.actions


# What a failing endpoint says of itself


def no_model(attempt=1, target=1):
    engine = engines([], target=target, status=DEPLOY_FAILED, message="OSError: no model")
    held = samples(0, waiting=5, oldest=30)
    serve = make_serve(0, engine=engine, attempt=attempt)
    return make_revision("r1", replicas=target, running=0, serve=serve, ingress_samples=held)


@pytest.mark.parametrize("least", [0, 1])
def test_an_endpoint_that_cannot_start_does_not_say_that_it_sleeps(least):
    endpoint = make_endpoint(spec=make_spec(replicas={"min": least, "max": 4}), status=served_status())
    failed = look(no_model(), serving="r1", endpoint=endpoint)
    waiting = look(
        no_model(target=0), serving="r1", endpoint=replace(endpoint, status=failed.status), now=LATER + SECOND
    )
    for said in (failed, waiting):
        assert condition(said, "Progressing") == ("False", "ReplicasFailing")
        assert condition(said, "Available") == ("False", "NoReplicaRunning")
        assert "OSError: no model" in message(said, "Available")
        assert condition(said, "Ready") == ("False", "NoReplicaRunning")


def test_one_that_failed_and_that_nobody_asks_any_more_is_not_said_to_be_well_before_it_answered():
    endpoint = make_endpoint(spec=make_spec(replicas=ZERO), status=served_status())
    failed = look(no_model(), serving="r1", endpoint=endpoint).status
    now = LATER + timedelta(minutes=5)
    idle = make_revision("r1", replicas=0, serve=make_serve(0, attempt=2), ingress_samples=samples(0, now=now), now=now)
    quiet = look(idle, serving="r1", endpoint=replace(endpoint, status=failed), now=now)
    assert quiet.actions == ()
    assert condition(quiet, "Available") == ("False", "NoReplicaRunning")
    assert message(quiet, "Available").endswith("the next request has another made.")
    up = make_revision("r1", serve=make_serve(1, attempt=2), now=now)
    healed = look(up, serving="r1", endpoint=replace(endpoint, status=failed), now=now).status
    asleep = look(idle, serving="r1", endpoint=replace(endpoint, status=healed), now=now)
    assert condition(asleep, "Available") == ("True", "ScaledToZero")


# What fails beside replicas that answer


def partly(attempt=1, **failed):
    """One of three replicas answers, and Serve has given something up."""
    return make_revision("r1", replicas=3, running=1, serve=make_serve(1, attempt=attempt, **failed))


FAILED_PARTS = {
    "the engine": {"engine": engines([RUNNING], target=3, status=DEPLOY_FAILED, message="OSError: no disk")},
    "the ingress": {
        "engine": engines([RUNNING], target=3),
        "ingress": DeploymentView(4, (), DEPLOY_FAILED, "PermissionError: no keys"),
    },
}


@pytest.mark.parametrize("part", FAILED_PARTS)
def test_what_serve_gave_up_beside_replicas_that_answer_is_tried_again_and_nothing_is_given_back(part):
    failed = FAILED_PARTS[part]
    told = next(view.message for view in failed.values() if view.message)
    noticed = look(partly(**failed), serving="r1", status=served_status())
    assert condition(noticed, "Progressing") == ("False", "ReplicasFailing")
    assert told in message(noticed, "Progressing")
    assert noticed.status.startup.retry_time == LATER + timedelta(seconds=30)
    early = look(partly(**failed), serving="r1", status=noticed.status, now=LATER + 29 * SECOND)
    assert early.status.startup == noticed.status.startup
    for kept in (noticed, early):
        assert not any(isinstance(action, Deploy | ScaleCluster) for action in kept.actions)
    due = look(partly(**failed), serving="r1", status=noticed.status, now=LATER + 30 * SECOND)
    assert due.actions[-1] == Deploy("r1", "10.0.0.1", 3, 4, SETTINGS, 2)
    again = look(partly(attempt=2, **failed), serving="r1", status=due.status, now=LATER + 60 * SECOND)
    assert again.status.startup.attempt == 3
    assert again.status.startup.retry_time == LATER + timedelta(seconds=60 + 60), "longer each time"


def test_a_replica_that_serve_tries_to_start_for_ever_is_said_while_others_answer():
    words = "A replica failed to start with exception. Retrying. Error:\nTraceback ...\nOSError: no disk"
    engine = engines([RUNNING, "STARTING"], target=3, status="UPSCALING", message=words)
    said = look(partly(engine=engine), serving="r1", status=served_status())
    assert condition(said, "Progressing") == ("True", "ReplicasStarting")
    assert message(said, "Progressing") == (
        "1 of 3 replicas answer. One failed to start and is tried again: OSError: no disk"
    )


def test_tries_are_forgotten_once_all_answer():
    status = look(partly(**FAILED_PARTS["the engine"]), serving="r1", status=served_status()).status
    now = LATER + timedelta(minutes=1)
    healed = look(
        make_revision(replicas=3, serve=make_serve(3, attempt=2), now=now), serving="r1", status=status, now=now
    )
    assert (healed.status.startup.waits, healed.status.startup.retry_time) == (0, None)
    assert condition(healed, "Progressing") == ("False", "Settled")


def test_an_endpoint_whose_ingress_is_gone_says_so():
    gone = make_serve(1, ingress=DeploymentView(2, (), DEPLOY_FAILED, "PermissionError: /etc/tidemill/api-keys"))
    said = look(make_revision("r1", serve=gone, ingress_samples=()), serving="r1", status=served_status())
    assert condition(said, "Progressing") == ("False", "ReplicasFailing")
    assert message(said, "Progressing") == "No ingress replica starts: PermissionError: /etc/tidemill/api-keys"
    assert condition(said, "Available") == ("False", "IngressNotReady")


def test_an_ingress_that_never_starts_on_a_new_endpoint_costs_no_worker_while_it_waits():
    serve = make_serve(0, engine=engines(["STARTING"]), ingress=DeploymentView(2, (), DEPLOY_FAILED, "OSError: no"))
    failed = look(make_revision("r1", running=0, serve=serve, ingress_samples=()))
    assert condition(failed, "Progressing") == ("False", "ReplicasFailing")
    assert ScaleCluster("chat-r1", 0, 4, ("w1",)) in failed.actions


def test_a_new_revision_that_fails_in_part_has_its_whole_time():
    """Serve says so too where one replica died while others were loading."""
    part = make_revision("r2", replicas=3, running=1, serve=make_serve(1, **FAILED_PARTS["the engine"]))
    failed = rolling(part, old=make_revision("r1", replicas=3), status=in_time())
    assert not any(isinstance(action, ScaleCluster | PointService) for action in failed.actions)
    assert condition(failed, "Progressing") == ("False", "ReplicasFailing")
    assert failed.status.startup.retry_time == in_time().startup.retry_time
    moved = rolling(part, old=make_revision("r1", replicas=3, running=1), status=in_time())
    assert PointService("r2") in moved.actions
    late = rolling(part, old=make_revision("r1", replicas=3))
    assert condition(late, "Progressing") == ("False", "RevisionLate")


def test_a_new_revision_that_nobody_can_reach_is_given_back_though_its_engines_run():
    part = make_revision("r2", replicas=3, running=1, serve=make_serve(1, **FAILED_PARTS["the ingress"]))
    failed = rolling(part, old=make_revision("r1", replicas=3), status=in_time())
    assert "RolloutFailed" in reasons(failed)
    assert ScaleServe("r2", "10.0.0.1", "Engine", 0) in failed.actions


# What keeps KubeRay from making workers


def test_missing_workers_that_wait_for_those_that_leave_are_said():
    cluster = make_cluster(name="chat-r1", uid="cluster-r1", replicas=3, workers_to_delete=("w2",))
    pods = tuple(replace(pod, deleting=pod.name == "w2") for pod in make_workers(2))
    stuck = make_revision(
        cluster=cluster, workers=pods, serve=make_serve(1, engine=engines([RUNNING], target=3)), replicas=3, running=1
    )
    said = message(look(stuck, serving="r1", status=served_status()), "Progressing")
    assert said == "1 of 3 replicas answer. " + (
        "Workers are leaving (1): KubeRay makes no other before those that it deleted have gone."
    )
