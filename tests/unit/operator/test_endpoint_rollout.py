"""A changed spec: the new revision is brought up beside the old one, which serves until it is warm, and then drains."""

from dataclasses import replace
from datetime import timedelta

import pytest
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

from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT, INGRESS_DEPLOYMENT, EngineProblem, IngressSettings
from tidemill_operator.core.endpoint.plan import CreateRevision, Deploy, PointService, ScaleServe
from tidemill_operator.core.endpoint.rollout import DRAIN_MARGIN, SETTLING
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED, ServeView
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster

SECOND = timedelta(seconds=1)
STARTING = "STARTING"


def rolling(new=None, *, old=None, now=LATER, status=None, **seen):
    """Revision r1 serves, r2 is wanted."""
    standing = [old or make_revision("r1", now=now)] + ([new] if new else [])
    status = status or served_status(now=now)
    return look(*standing, wanted="r2", serving="r1", status=status, now=now, **seen)


def test_a_new_revision_gets_a_cluster_of_its_own_and_the_old_one_serves_on():
    begun = rolling()
    assert begun.actions == (CreateRevision("r2", 1),)
    assert condition(begun, "Progressing") == ("True", "RollingOut")
    assert condition(begun, "Available") == ("True", "ReplicasRunning")
    assert condition(begun, "Ready") == ("False", "RollingOut")
    revision = begun.status.revision
    assert (revision.serving, revision.wanted, revision.wanted_time) == ("r1", "r2", LATER)


def test_the_new_one_is_deployed_as_large_as_the_old_one_is():
    empty = make_revision("r2", replicas=0, serve=ServeView(deployed=False))
    told = rolling(empty, old=make_revision("r1", replicas=3))
    assert Deploy("r2", "10.0.0.1", 3, 4, SETTINGS, 1) in told.actions
    serve = make_serve(0, engine=engines([], target=3))
    sized = rolling(make_revision("r2", replicas=0, serve=serve), old=make_revision("r1", replicas=3))
    assert ScaleCluster("chat-r2", 3, 4) in sized.actions
    assert ScaleServe("r2", "10.0.0.1", INGRESS_DEPLOYMENT, 4) in sized.actions


def test_the_old_one_goes_on_scaling_meanwhile():
    busy = make_revision("r1", ingress_samples=samples(1, waiting=25))
    grown = rolling(make_revision("r2", replicas=1, running=0), old=busy)
    assert ScaleCluster("chat-r1", 3, 4) in grown.actions


def test_the_service_moves_only_once_all_of_the_new_replicas_answer():
    two_of_three = make_revision("r2", replicas=3, running=2)
    assert PointService("r2") not in rolling(two_of_three, old=make_revision("r1", replicas=3)).actions
    moved = rolling(make_revision("r2", replicas=3), old=make_revision("r1", replicas=3))
    assert moved.actions == (PointService("r2"),)
    assert "RevisionServes" in reasons(moved)
    assert (moved.status.revision.serving, moved.status.revision.serving_time) == ("r2", LATER)
    assert condition(moved, "Progressing") == ("True", "DrainingOldRevision")
    assert condition(moved, "Ready") == ("True", "Serving")


def test_a_sleeping_endpoint_is_rolled_over_with_one_replica():
    endpoint = make_endpoint(spec=make_spec(replicas={"min": 0, "max": 4}), status=served_status())
    asleep = make_revision("r1", replicas=0, serve=make_serve(0), ingress_samples=samples(0))
    warm = look(asleep, make_revision("r2"), wanted="r2", serving="r1", endpoint=endpoint)
    assert PointService("r2") in warm.actions


def moved(now, old, status=None):
    status = status or served_status("r2", now=LATER)
    status = status.model_copy(
        update={"revision": status.revision.model_copy(update={"serving": "r2", "serving_time": LATER, "wanted": "r2"})}
    )
    return look(make_revision("r2", now=now), old, wanted="r2", serving="r2", status=status, now=now)


LEAVING = SETTINGS.model_copy(update={"leaving": True})


def leaving(now, **fields):
    """The old revision, once its ingress was told to have its clients leave."""
    return make_revision("r1", now=now, **{"serve": make_serve(settings=LEAVING)} | fields)


def test_clients_of_the_old_one_are_told_to_leave_as_soon_as_the_service_has_moved():
    told = moved(LATER + SECOND, make_revision("r1", replicas=2, now=LATER + SECOND))
    assert told.actions == (Deploy("r1", "10.0.0.1", 2, 3, LEAVING, 1),)


def test_one_that_is_wanted_again_has_its_clients_stay():
    back = look(make_revision("r2"), leaving(LATER), wanted="r1", serving="r2", status=served_status("r2"))
    assert Deploy("r1", "10.0.0.1", 1, 2, SETTINGS, 1) in back.actions


def test_the_old_one_stays_until_every_node_knows_of_the_move():
    now = LATER + SETTLING - SECOND
    kept = moved(now, leaving(now))
    assert kept.actions == ()
    assert condition(kept, "Progressing") == ("True", "DrainingOldRevision")
    assert kept.recheck_after <= 2 * SECOND


def test_the_old_one_stays_while_it_has_a_request():
    now = LATER + timedelta(minutes=5)
    assert moved(now, leaving(now, ingress_samples=samples(1, now=now, running=1))).actions == ()


def test_the_old_one_stays_while_its_figures_are_missing():
    now = LATER + timedelta(minutes=5)
    assert moved(now, leaving(now, ingress_samples=samples(1, now=now, ago=60))).actions == ()
    assert moved(now, leaving(now, serve=None)).actions == ()


def test_what_serve_gave_up_on_the_old_one_is_tried_again_as_long_as_it_serves():
    failed = engines([], target=2, status=DEPLOY_FAILED, message="OSError: the hub is away")
    old = make_revision("r1", replicas=2, running=0, serve=make_serve(0, engine=failed, attempt=4))
    told = rolling(make_revision("r2", replicas=2, running=0), old=old)
    assert Deploy("r1", "10.0.0.1", 2, 3, SETTINGS, 5) in told.actions
    assert not [action for action in told.actions if isinstance(action, ScaleCluster) and action.name == "chat-r1"]


@pytest.mark.parametrize(("attempt", "wait"), [(1, 30), (2, 60), (4, 240), (40, 600)])
def test_the_tries_of_the_old_one_have_waits_between_them_that_grow(attempt, wait):
    failed = engines([], target=1, status=DEPLOY_FAILED, message="OSError: the hub is away")

    def tries(seconds):
        serve = make_serve(0, engine=failed, attempt=attempt, told_time=LATER - timedelta(seconds=seconds))
        old = make_revision("r1", replicas=1, running=0, serve=serve)
        told = rolling(make_revision("r2", replicas=1, running=0), old=old)
        return [action.attempt for action in told.actions if isinstance(action, Deploy) and action.revision == "r1"]

    assert (tries(wait - 1), tries(wait)) == ([], [attempt + 1])


def test_a_request_that_reached_a_sleeping_old_one_while_the_service_moved_is_answered_there():
    now = LATER + SETTLING + SECOND
    held = {"ingress_samples": samples(0, now=now, waiting=2, oldest=15)}
    asleep = leaving(now, replicas=0, serve=make_serve(0, settings=LEAVING), **held)
    woken = moved(now, asleep)
    assert woken.actions == (
        ScaleCluster("chat-r1", 1, 4, decided_at=0),
        ScaleServe("r1", "10.0.0.1", ENGINE_DEPLOYMENT, 1),
        ScaleServe("r1", "10.0.0.1", INGRESS_DEPLOYMENT, 2),
    )
    starting = leaving(now, running=0, serve=make_serve(0, settings=LEAVING, engine=engines([], target=1)), **held)
    assert moved(now, starting).actions == (), "once"


def test_an_idle_old_one_goes():
    now = LATER + SETTLING
    gone = moved(now, make_revision("r1", now=now))
    assert gone.actions == (DeleteCluster("chat-r1", "cluster-r1"),)


def test_an_old_one_that_never_falls_silent_goes_after_the_longest_request():
    now = LATER + timedelta(seconds=600) + DRAIN_MARGIN
    busy = leaving(now, ingress_samples=samples(1, now=now, running=1))
    assert moved(now - SECOND, busy).actions == ()
    assert moved(now, busy).actions == (DeleteCluster("chat-r1", "cluster-r1"),)


def test_a_move_that_nobody_wrote_down_is_taken_for_one_of_this_moment():
    """The Service moved, the status write after it was lost: r1 has served for long, and has requests."""
    before = served_status("r1")
    since = before.revision.model_copy(update={"serving_time": LATER - timedelta(days=3), "wanted": "r2"})
    busy = make_revision("r1", ingress_samples=samples(1, running=7))
    status = before.model_copy(update={"revision": since})
    found = look(make_revision("r2"), busy, wanted="r2", serving="r2", status=status)
    assert found.actions == (Deploy("r1", "10.0.0.1", 1, 2, LEAVING, 1),)
    assert (found.status.revision.serving, found.status.revision.serving_time) == ("r2", LATER)


def test_a_cluster_that_is_going_already_is_not_deleted_twice():
    now = LATER + timedelta(minutes=1)
    old = make_revision("r1", now=now)
    assert moved(now, replace(old, cluster=replace(old.cluster, deleting=True))).actions == ()


def test_a_revision_that_cannot_start_is_reported_and_the_old_one_serves_on():
    problem = EngineProblem(reason="ModelNotLoadable", message="config.json is not JSON: mend the model.")
    engine = engines([], target=1, status=DEPLOY_FAILED, message=f"RuntimeError: {problem.to_text()}")
    failed = rolling(make_revision("r2", running=0, serve=make_serve(0, engine=engine)))
    assert condition(failed, "Progressing") == ("False", "ModelNotLoadable")
    assert message(failed, "Progressing").startswith("New revision r2: config.json is not JSON")
    assert "RolloutFailed" in reasons(failed)
    assert condition(failed, "Available") == ("True", "ReplicasRunning")
    assert condition(failed, "Ready")[0] == "False"
    assert ScaleCluster("chat-r2", 0, 4, ("w1",)) in failed.actions
    assert not any(getattr(action, "name", "") == "chat-r1" for action in failed.actions)


def late(now, status, *, attempt=1):
    serve = make_serve(0, engine=engines([STARTING], target=1), attempt=attempt)
    return rolling(make_revision("r2", running=0, serve=serve, now=now), now=now, status=status)


def test_a_revision_that_is_late_gives_its_workers_back_and_is_tried_again():
    begun = rolling().status
    deadline = LATER + timedelta(seconds=1800)
    assert condition(late(deadline - SECOND, begun), "Progressing") == ("True", "RollingOut")
    given_up = late(deadline, begun)
    assert condition(given_up, "Progressing") == ("False", "RevisionLate")
    assert ScaleCluster("chat-r2", 0, 4, ("w1",)) in given_up.actions
    assert "0 of 1 replicas answer" in message(given_up, "Progressing")
    retry = given_up.status.startup.retry_time
    assert retry == deadline + timedelta(seconds=30)
    waiting = make_revision("r2", replicas=0, serve=make_serve(0))
    assert rolling(waiting, now=retry - SECOND, status=given_up.status).actions == ()
    again = rolling(waiting, now=retry, status=given_up.status)
    assert Deploy("r2", "10.0.0.1", 1, 2, SETTINGS, 2) in again.actions
    second = late(retry + timedelta(seconds=1799), again.status, attempt=2)
    assert condition(second, "Progressing")[0] == "True", "each try has the whole time"
    third = late(retry + timedelta(seconds=1800), again.status, attempt=2)
    assert condition(third, "Progressing") == ("False", "RevisionLate")


def test_a_third_revision_replaces_the_second_that_never_served():
    status = rolling().status
    third = look(make_revision("r1"), make_revision("r2", running=0), wanted="r3", serving="r1", status=status)
    assert third.actions == (CreateRevision("r3", 1), DeleteCluster("chat-r2", "cluster-r2"))


def test_a_spec_taken_back_returns_to_the_revision_that_serves():
    back = look(make_revision("r1"), make_revision("r2"), wanted="r1", serving="r1", status=served_status())
    assert CreateRevision("r1", 1) not in back.actions
    assert condition(back, "Progressing") == ("True", "DrainingOldRevision")
    assert back.status.revision.wanted == "r1"


def test_another_revision_begins_its_tries_anew():
    engine = engines([], target=1, status=DEPLOY_FAILED, message="RuntimeError: no")
    failed = rolling(make_revision("r2", running=0, serve=make_serve(0, engine=engine)))
    assert failed.status.startup.waits == 1
    third = look(make_revision("r1"), wanted="r3", serving="r1", status=failed.status, now=LATER + SECOND)
    assert (third.status.startup.waits, third.status.startup.attempt) == (0, 1)
    assert CreateRevision("r3", 1) in third.actions


def test_a_first_revision_that_never_served_is_replaced_at_once():
    replaced = look(make_revision("r1", running=0), wanted="r2")
    assert replaced.actions == (CreateRevision("r2", 1), DeleteCluster("chat-r1", "cluster-r1"))


def test_limits_changed_together_with_the_model_wait_for_the_new_revision():
    tighter = IngressSettings(queue_bound=5, request_timeout_seconds=600)
    assert rolling(settings=tighter).actions == (CreateRevision("r2", 1),)


def test_a_serving_cluster_that_was_deleted_while_rolling_out_is_not_rebuilt():
    lost = look(make_revision("r2", running=0), wanted="r2", serving="r1", status=served_status())
    assert CreateRevision("r1", 1) not in lost.actions
    assert condition(lost, "Available") == ("False", "IngressNotReady")
    taken_over = look(make_revision("r2"), wanted="r2", serving="r1", status=served_status())
    assert taken_over.actions == (PointService("r2"),)


def test_the_serving_revision_is_never_scaled_to_nothing_by_the_failures_of_the_new_one():
    engine = engines([], target=1, status=DEPLOY_FAILED, message="RuntimeError: no")
    status = rolling(make_revision("r2", running=0, serve=make_serve(0, engine=engine))).status
    given_back = engines([], status=DEPLOY_FAILED, message="RuntimeError: no")
    for seconds in (1, 10, 29):
        now = LATER + seconds * SECOND
        waiting = make_revision("r2", replicas=0, serve=make_serve(0, engine=given_back), now=now)
        kept = rolling(waiting, now=now, status=status)
        assert kept.actions == ()
        assert kept.status.replicas == 1
        assert ENGINE_DEPLOYMENT not in [getattr(action, "deployment", "") for action in kept.actions]


def test_a_service_that_somebody_deleted_is_made_again_and_the_revision_it_led_to_stays():
    gone = look(
        make_revision("r1"), make_revision("r2", running=0), wanted="r2", status=served_status(), serving="", now=LATER
    )
    assert PointService("r1") in gone.actions
    assert not any(isinstance(action, DeleteCluster) for action in gone.actions)
    assert gone.status.revision.serving == "r1"
    assert condition(gone, "Progressing") == ("True", "RollingOut")
