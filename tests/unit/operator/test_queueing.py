"""Jobs and endpoints in a Kueue queue: one size for life or elastic, and a wait that is said. No Kueue runs here."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator import endpoint_builders as ep
from unit.operator.builders import (
    PROGRESSING,
    SILENT,
    T0,
    active,
    condition,
    crew,
    ended,
    look,
    make_cluster,
    make_job,
    make_spec,
    message,
    processing,
    running_status,
)

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.endpoint_conditions import EndpointCondition
from tidemill_operator.core.endpoint.plan import CreateRevision
from tidemill_operator.core.endpoint.plan import ScaleServe as ServeSize
from tidemill_operator.core.job_claim import claim_of
from tidemill_operator.core.plan import CreateCluster, DeleteCluster, ScaleCluster, StopDriver
from tidemill_operator.core.queueing import Queueing
from tidemill_operator.core.snapshot import Snapshot
from tidemill_operator.views import read_cluster

FIXED, ELASTIC = Queueing("nights"), Queueing("nights", elastic=True)
QUEUED = {"fixed": True, "queue": "nights"}
WAITING = QUEUED | {"suspended_since": T0, "head_ready": False, "head_ip": "", "head_ready_since": None}


def queued_job(queueing=FIXED, **given):
    return replace(make_job(**given), queueing=queueing)


def kinds(plan):
    return [type(action) for action in plan.actions]


# Jobs


@pytest.mark.parametrize(("queueing", "workers"), [(FIXED, 4), (ELASTIC, 0), (Queueing(), 0)])
def test_a_job_in_a_queue_starts_at_its_one_size_and_an_elastic_one_at_none(queueing, workers):
    plan = look(job=queued_job(queueing))
    assert plan.actions == (CreateCluster(workers),)
    assert plan.status.workers.desired == workers


def test_a_cluster_that_only_writes_error_lines_asks_for_no_quota_of_workers():
    status = running_status(ended_attempt=1)
    plan = look(job=queued_job(spec=make_spec(cancel=True), status=status))
    assert CreateCluster(0) in plan.actions


@pytest.mark.parametrize(
    "figures",
    [
        processing(rows_total=1_000_000),
        processing(rows_total=10, rows_completed=9),
        active(phase="validating"),
        active(phase="finalising", rows_total=10),
    ],
)
def test_a_cluster_of_a_fixed_size_is_never_resized(figures):
    plan = look(job=queued_job(status=running_status()), **crew(4, **QUEUED), **figures)
    assert plan.actions == ()


def test_its_size_stays_though_workers_max_is_raised_and_the_driver_runs_on():
    job = queued_job(spec=make_spec(workers={"min": 0, "max": 9}), status=running_status())
    plan = look(job=job, **crew(4, **QUEUED), **processing())
    assert plan.actions == ()
    assert StopDriver not in kinds(plan)
    assert plan.status.workers.desired == 4
    assert "fixed at 4 by Kueue's LocalQueue nights, though workers.max is 9;" in message(plan, PROGRESSING)


def test_a_share_that_a_fixed_size_does_not_follow_is_said_and_one_that_it_does_is_not():
    job = queued_job(status=running_status())
    for share, said in ((2, True), (4, False), (None, False)):
        plan = look(job=job, share=share, **crew(4, **QUEUED), **processing(in_flight={"10.0.1.1": 3}))
        assert ("though its share of the GPU budget is smaller;" in message(plan, PROGRESSING)) is said
        assert plan.actions == ()


def test_an_elastic_cluster_is_scaled_as_any():
    cluster = {"fixed": False, "queue": "nights"}
    plan = look(job=queued_job(ELASTIC, status=running_status()), **crew(0, **cluster), **processing(rows_total=9000))
    assert ScaleCluster in kinds(plan)


def test_a_cluster_that_kueue_took_into_a_default_queue_is_given_its_one_size():
    """It was made without workers, since nobody knew of the queue."""
    plan = look(job=make_job(status=running_status()), **crew(0, **QUEUED), **processing())
    assert plan.actions == (ScaleCluster("tickets-abc", 4, 4),)


def test_waiting_for_quota_is_said_with_its_queue_and_since_when():
    plan = look(job=queued_job(), cluster=make_cluster(replicas=4, **WAITING))
    assert condition(plan, PROGRESSING) == ("False", Reason.AWAITING_ADMISSION)
    said = message(plan, PROGRESSING)
    assert said == "RayCluster tickets-abc waits for quota in Kueue's LocalQueue nights since 2026-01-01T12:00:00Z."
    assert plan.actions == ()


def test_a_suspended_cluster_outside_of_kueue_is_said_to_be_somebody_elses_doing():
    plan = look(cluster=make_cluster(**WAITING | {"fixed": False, "queue": ""}))
    assert "by somebody else: set its spec.suspend to false" in message(plan, PROGRESSING)


def test_waiting_for_quota_puts_the_window_at_risk_by_that_name():
    status = look(job=queued_job(status=running_status()), **crew(4, **QUEUED), **processing(rows_total=10**7)).status
    plan = look(
        after=timedelta(hours=3),
        job=queued_job(status=status),
        cluster=make_cluster(replicas=4, **WAITING),
        **ended(),
    )
    risk = next(c for c in plan.status.conditions if c.type == ConditionType.WINDOW_AT_RISK)
    assert (risk.status, risk.reason) == ("True", Reason.JOB_WAITING)
    assert "waits for quota" in risk.message


def test_a_job_that_kueue_put_back_begins_its_next_attempt_once_it_is_admitted_again():
    status = running_status()
    waiting = look(job=queued_job(status=status), cluster=make_cluster(replicas=4, **WAITING), attempt=SILENT)
    assert condition(waiting, PROGRESSING)[1] == Reason.AWAITING_ADMISSION
    back = look(job=queued_job(status=waiting.status), **crew(4, **QUEUED), attempt=ended(state="lost")["attempt"])
    assert [action.attempt for action in back.actions] == [2]


def test_a_suspended_job_has_its_cluster_deleted_and_nobody_writes_its_suspend():
    spec = make_spec(suspend=True)
    waiting = look(job=queued_job(spec=spec), cluster=make_cluster(replicas=4, **WAITING))
    assert waiting.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    idle = look(job=queued_job(spec=spec), **crew(4, **QUEUED))
    assert idle.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_waiting_for_something_outside_gives_the_quota_back():
    outcome = ended(Reason.INPUT_NOT_FOUND)
    plan = look(job=queued_job(status=running_status()), **crew(4, **QUEUED), **outcome)
    assert plan.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_a_job_that_ends_while_it_waits_for_quota_asks_for_none_of_workers_any_more():
    status = running_status(ended_attempt=1)
    job = queued_job(spec=make_spec(cancel=True), status=status)
    waits = look(job=job, cluster=make_cluster(replicas=4, **WAITING))
    assert waits.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    assert waits.status.workers.desired == 0
    without = look(job=replace(job, status=waits.status), cluster=make_cluster(replicas=0, **WAITING))
    assert without.actions == (), "the next one has no worker, and waits"
    assert condition(without, PROGRESSING) == ("False", Reason.AWAITING_ADMISSION)


def test_a_finished_job_gives_its_quota_back_at_once():
    done = look(job=queued_job(status=running_status()), **crew(4, **QUEUED), **ended(Reason.ALL_ROWS_ANSWERED))
    after = look(job=queued_job(status=done.status), **crew(4, **QUEUED))
    assert DeleteCluster in kinds(done) + kinds(after)


def test_a_cluster_of_a_fixed_size_claims_all_of_it_and_a_waiting_one_none():
    spec = make_spec(resources={"gpu": 1})
    status = look(job=queued_job(spec=spec, status=running_status()), **crew(4, **QUEUED), **processing()).status
    seen = Snapshot(now=T0 + timedelta(minutes=5), job=queued_job(spec=spec, status=status), **crew(4, **QUEUED))
    claim = claim_of(seen, "job/tickets")
    assert (claim.want, claim.must) == (4, 4)
    waits = claim_of(replace(seen, cluster=make_cluster(replicas=4, **WAITING), workers=()), "job/tickets")
    assert (waits.have, waits.cost) == (0, 1.0)


# Endpoints


def served(cluster, **fields):
    return ep.make_revision("r1", replicas=3, **{"cluster": make_cluster(name="chat-r1", uid="c", **cluster)} | fields)


def endpoint(queueing=FIXED, **given):
    return replace(ep.make_endpoint(**given), queueing=queueing)


@pytest.mark.parametrize(("queueing", "workers"), [(FIXED, 4), (ELASTIC, 1)])
def test_an_endpoint_in_a_queue_starts_with_all_of_its_replicas(queueing, workers):
    assert ep.look(endpoint=endpoint(queueing)).actions == (CreateRevision("r1", workers),)


def test_an_idle_endpoint_of_a_fixed_size_keeps_its_replicas_and_its_doors():
    cluster = {"replicas": 3, "max_replicas": 4} | QUEUED
    status = ep.served_status(idle_since=T0)
    spec = ep.make_spec(replicas={"min": 0, "max": 4}, scaling={"scaleToZeroAfterSeconds": 0})
    plan = ep.look(served(cluster), serving="r1", endpoint=endpoint(spec=spec, status=status))
    assert not [action for action in plan.actions if isinstance(action, ScaleCluster | ServeSize)]
    assert plan.status.replicas == 3


def test_a_busy_endpoint_of_a_fixed_size_does_not_grow():
    cluster = {"replicas": 3, "max_replicas": 4} | QUEUED
    busy = served(cluster, ingress_samples=ep.samples(3, waiting=500, oldest=60.0))
    plan = ep.look(busy, serving="r1", endpoint=endpoint(status=ep.served_status()))
    assert not [action for action in plan.actions if isinstance(action, ScaleCluster)]


def test_an_endpoint_that_waits_for_quota_says_so():
    cluster = {"replicas": 4} | WAITING
    view = served(cluster, serve=None, workers=(), ingress_samples=(), engine_samples=())
    plan = ep.look(view, endpoint=endpoint())
    assert ep.condition(plan, EndpointCondition.PROGRESSING) == ("False", "AwaitingAdmission")
    assert "Kueue's LocalQueue nights since" in ep.message(plan, EndpointCondition.PROGRESSING)


def test_a_new_revision_that_waits_for_quota_beside_one_that_serves_is_not_late():
    waiting = ep.make_revision(
        "r2", serve=None, workers=(), cluster=make_cluster(name="chat-r2", uid="d", replicas=4, **WAITING)
    )
    cluster = {"replicas": 3, "max_replicas": 4} | QUEUED
    status = ep.served_status()
    status = status.model_copy(update={"revision": status.revision.model_copy(update={"wanted": "r2"})})
    later = ep.LATER + timedelta(hours=5)
    plan = ep.look(served(cluster), waiting, wanted="r2", serving="r1", now=later, endpoint=endpoint(status=status))
    assert ep.condition(plan, EndpointCondition.PROGRESSING) == ("False", "AwaitingAdmission")
    assert plan.status.startup.retry_time == later, "its deadline begins when it is admitted"


def test_a_new_revision_that_waits_for_quota_says_that_the_old_one_holds_some():
    waiting = ep.make_revision(
        "r2", serve=None, workers=(), cluster=make_cluster(name="chat-r2", uid="d", replicas=4, **WAITING)
    )
    old = served({"replicas": 3, "max_replicas": 4} | QUEUED)
    plan = ep.look(old, waiting, wanted="r2", serving="r1", endpoint=endpoint(status=ep.served_status()))
    assert "Revision r1 holds its quota there" in ep.message(plan, EndpointCondition.PROGRESSING)
    elsewhere = served({"replicas": 3, "max_replicas": 4})
    plan = ep.look(elsewhere, waiting, wanted="r2", serving="r1", endpoint=endpoint(status=ep.served_status()))
    assert "holds its quota" not in ep.message(plan, EndpointCondition.PROGRESSING)


@pytest.mark.parametrize(("most", "said"), [(9, True), (3, False)])
def test_a_size_that_a_fixed_endpoint_does_not_take_on_is_said_with_what_would_help(most, said):
    cluster = {"replicas": 3, "max_replicas": 3} | QUEUED
    spec = ep.make_spec(replicas={"min": 1, "max": most})
    plan = ep.look(served(cluster), serving="r1", endpoint=endpoint(spec=spec, status=ep.served_status()))
    told = ep.message(plan, EndpointCondition.PROGRESSING)
    assert (f"fixed at 3 by Kueue's LocalQueue nights, though replicas.max is {most};" in told) is said
    assert ("tidemill.dev/restarted-at" in told) is said


def failed(name, uid, **fields):
    """A revision of a fixed size that Serve has given up without a replica."""
    gone = ep.engines([], target=3, status="DEPLOY_FAILED", message="the model does not load")
    serve = replace(ep.make_revision(name, replicas=3).serve, engine=gone)
    cluster = make_cluster(name=f"chat-{name}", uid=uid, replicas=3, max_replicas=3, **QUEUED)
    return ep.make_revision(name, replicas=3, **{"cluster": cluster, "serve": serve} | fields)


def test_an_endpoint_that_cannot_start_gives_its_quota_back_until_the_next_try():
    first = ep.look(failed("r1", "c"), endpoint=endpoint())
    assert DeleteCluster("chat-r1", "c") in first.actions
    assert first.status.replicas == 0
    retry = first.status.startup.retry_time
    before = ep.look(endpoint=endpoint(status=first.status), now=retry - timedelta(seconds=1))
    assert before.actions == ()
    after = ep.look(endpoint=endpoint(status=first.status), now=retry)
    assert after.actions == (CreateRevision("r1", 4),)


def test_a_new_revision_that_cannot_start_gives_its_quota_back_and_the_one_that_serves_keeps_its_own():
    status = ep.served_status()
    old = served({"replicas": 3, "max_replicas": 4} | QUEUED)
    plan = ep.look(old, failed("r2", "d"), wanted="r2", serving="r1", endpoint=endpoint(status=status))
    assert [action for action in plan.actions if isinstance(action, DeleteCluster)] == [DeleteCluster("chat-r2", "d")]


def test_nothing_of_a_fixed_size_is_given_back_while_ray_does_not_say_what_runs():
    first = ep.look(failed("r1", "c"), endpoint=endpoint())
    silent = failed("r1", "c", serve=None, serve_problem="timed out.")
    soon = first.status.startup.retry_time - timedelta(seconds=1)
    plan = ep.look(silent, serving="r1", now=soon, endpoint=endpoint(status=first.status))
    assert DeleteCluster not in kinds(plan)
    assert plan.status.replicas == 3


# What the RayCluster says


def body(*, labels=None, annotations=None, suspend=None, conditions=()):
    metadata = {"name": "c", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
    spec = {"workerGroupSpecs": []} | ({} if suspend is None else {"suspend": suspend})
    given = {"labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": metadata | given, "spec": spec, "status": {"conditions": list(conditions)}}


def test_the_raycluster_itself_says_whether_its_size_is_fixed():
    queue = {"kueue.x-k8s.io/queue-name": "nights"}
    elastic = {"kueue.x-k8s.io/elastic-job": "true"}
    assert read_cluster(body(labels=queue), ()).fixed
    assert not read_cluster(body(labels=queue, annotations=elastic), ()).fixed
    assert not read_cluster(body(), ()).fixed


def test_a_raycluster_is_suspended_since_kuberay_says_so_or_since_it_stands():
    said = {"type": "RayClusterSuspended", "status": "True", "lastTransitionTime": "2026-01-01T13:00:00Z"}
    assert read_cluster(body(suspend=True), ()).suspended_since == T0
    assert read_cluster(body(suspend=True, conditions=[said]), ()).suspended_since == T0 + timedelta(hours=1)
    assert read_cluster(body(suspend=False, conditions=[said]), ()).suspended_since is None
    assert read_cluster(body(), ()).suspended_since is None
