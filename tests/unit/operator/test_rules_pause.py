"""The rules of a job that must not work now: suspended, or waiting for the job that it continues."""

from datetime import timedelta

import pytest
from unit.operator.builders import (
    FINISHED,
    LOST,
    PROGRESSING,
    SILENT,
    STOPPED,
    SUCCEEDED,
    SUSPENDED,
    condition,
    crew,
    ended,
    look,
    make_cluster,
    make_job,
    make_spec,
    make_workers,
    message,
    processing,
    reasons,
    running_status,
)

from tidemill_api.conditions import Reason
from tidemill_operator.core.plan import CreateCluster, DeleteCluster, ScaleCluster, StopDriver, SubmitDriver
from tidemill_operator.core.snapshot import SourceView


def paused(status=None, *, after=timedelta(minutes=1), **seen):
    return look(after=after, job=make_job(spec=make_spec(suspend=True), status=status), **seen)


# Suspended


def test_a_job_suspended_from_the_start_creates_nothing():
    waiting = paused()
    assert waiting.actions == ()
    assert condition(waiting, SUSPENDED) == ("True", "SuspendRequested")
    assert condition(waiting, PROGRESSING) == ("False", "SuspendRequested")
    assert condition(waiting, SUCCEEDED) == ("Unknown", "Running")
    assert waiting.recheck_after == timedelta(hours=2, minutes=39)  # then it has waited twice its target
    assert reasons(waiting) == ["SuspendRequested", "Suspended"]
    assert paused(waiting.status, after=timedelta(hours=1)).status == waiting.status


def test_a_pause_stops_the_driver_then_the_workers_and_then_removes_the_cluster():
    seen = crew(1)
    stopping = paused(running_status(), **seen, **processing())
    assert stopping.actions == (StopDriver("10.0.0.1", 1),)
    assert condition(stopping, PROGRESSING) == ("False", "SuspendRequested")
    assert condition(stopping, SUSPENDED) == ("False", "NotSuspended")
    assert "SuspendRequested" in reasons(stopping)

    leaving = paused(stopping.status, **seen, **STOPPED)
    assert leaving.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1",)),)
    told = make_cluster(workers_to_delete=("w1",))
    waiting = paused(leaving.status, cluster=told, workers=make_workers(1, deleting=True))
    assert waiting.actions == ()

    removing = paused(waiting.status, cluster=told)
    assert removing.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    assert paused(removing.status, cluster=make_cluster(deleting=True)).actions == ()
    over = paused(removing.status)
    assert condition(over, SUSPENDED) == ("True", "SuspendRequested")
    assert (over.status.rows.completed, over.status.workers.desired) == (4, 0)
    assert reasons(over) == ["Suspended"]


def test_a_pause_is_not_said_while_pods_of_the_cluster_still_run():
    leaving = paused(running_status(ended_attempt=1), pods=2)
    assert condition(leaving, SUSPENDED) == ("False", "NotSuspended")
    assert "its pods are leaving" in message(leaving, PROGRESSING)
    assert leaving.recheck_after == timedelta(seconds=2)
    assert condition(paused(leaving.status), SUSPENDED) == ("True", "SuspendRequested")


def test_workers_that_will_not_leave_go_with_the_cluster():
    seen = crew(1)
    leaving = paused(running_status(ended_attempt=1), **seen)
    stuck = paused(leaving.status, after=timedelta(minutes=4), **seen)
    assert stuck.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_a_head_beyond_reach_does_not_hold_a_pause():
    silent = {"cluster": make_cluster(), "attempt": SILENT}
    waiting = paused(running_status(), **silent)
    assert waiting.actions == ()
    removing = paused(waiting.status, after=timedelta(minutes=3), **silent)
    assert removing.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_a_job_that_is_resumed_starts_again_as_the_next_attempt():
    over = paused(running_status(ended_attempt=1))
    resumed = look(after=timedelta(minutes=9), status=over.status)
    assert resumed.actions == (CreateCluster(),)
    assert condition(resumed, SUSPENDED) == ("False", "NotSuspended")
    assert condition(resumed, PROGRESSING) == ("True", "ClusterStarting")
    assert reasons(resumed) == ["ClusterCreated", "Resumed"]
    again = look(after=timedelta(minutes=9), status=resumed.status, cluster=make_cluster())
    assert again.actions == (SubmitDriver("10.0.0.1", 2),)


def test_a_pause_forgets_what_was_awaited():
    waiting = look(status=running_status(), cluster=make_cluster(), **ended(Reason.INPUT_NOT_FOUND))
    removing = paused(waiting.status, cluster=make_cluster())
    assert removing.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    over = paused(removing.status)
    assert (over.status.driver.waits, over.status.driver.retry_time) == (0, None)


def test_a_driver_that_was_done_before_it_was_stopped_has_finished_the_job():
    over = paused(running_status(), cluster=make_cluster(), **ended(Reason.ALL_ROWS_ANSWERED))
    assert condition(over, FINISHED) == ("True", "AllRowsAnswered")


@pytest.mark.parametrize(("fields", "after", "ending"), [({"cancel": True}, 1, "Cancelled"), ({}, 4, "Expired")])
def test_a_suspended_job_that_has_to_end_gets_a_cluster_for_its_lines(fields, after, ending):
    validated = look(status=running_status(ended_attempt=0), cluster=make_cluster(), **processing()).status
    over = paused(validated.model_copy(update={"driver": running_status(ended_attempt=1).driver}))
    assert condition(over, SUSPENDED) == ("True", "SuspendRequested")
    spec = make_spec(suspend=True, **fields)
    moment = timedelta(hours=after)
    creating = look(after=moment, job=make_job(spec=spec, status=over.status))
    assert creating.actions == (CreateCluster(),)
    assert condition(creating, SUSPENDED) == ("False", "NotSuspended")
    writing = look(after=moment, job=make_job(spec=spec, status=creating.status), cluster=make_cluster())
    assert writing.actions == (SubmitDriver("10.0.0.1", 2, ending),)


def test_a_suspended_job_that_never_ran_expires_at_once():
    over = paused(paused().status, after=timedelta(hours=4))
    assert (over.actions, condition(over, FINISHED)) == ((), ("True", "Expired"))
    assert "waiting" not in message(over, SUCCEEDED)


# Resubmitted of another job


def of_another(status=None, *, after=timedelta(minutes=1), **seen):
    return look(after=after, job=make_job(spec=make_spec(resubmitOf="before"), status=status), **seen)


@pytest.mark.parametrize(
    ("source", "said"),
    [(None, "does not exist in this namespace"), (SourceView(finished=False, output_uri="/b/"), "not finished yet")],
)
def test_a_source_that_is_not_ready_is_waited_for_without_a_cluster(source, said):
    waiting = of_another(source=source)
    assert waiting.actions == ()
    assert condition(waiting, PROGRESSING) == ("False", "ResubmitSourceNotReady")
    assert said in message(waiting, PROGRESSING)
    assert waiting.recheck_after == timedelta(minutes=10)
    late = of_another(waiting.status, after=timedelta(hours=3, minutes=55), source=source)
    assert late.recheck_after == timedelta(minutes=5)
    assert (late.status.rows, reasons(late)) == (waiting.status.rows, ["WindowAtRisk"])
    over = of_another(waiting.status, after=timedelta(hours=4), source=source)
    assert condition(over, FINISHED) == ("True", "Expired")


def test_a_finished_source_gives_its_output_folder_which_is_then_remembered():
    source = SourceView(finished=True, output_uri="/data/before")
    assert of_another(source=source).actions == (CreateCluster(),)
    submitted = of_another(source=source, cluster=make_cluster())
    assert submitted.actions == (SubmitDriver("10.0.0.1", 1, None, "/data/before/"),)
    again = of_another(submitted.status, cluster=make_cluster(), **LOST)
    assert again.actions == (SubmitDriver("10.0.0.1", 2, None, "/data/before/"),)


@pytest.mark.parametrize("uri", ["/data/out", "/data/out/", "file:///data/out/"])
def test_the_folder_of_the_source_is_no_output_folder(uri):
    over = of_another(source=SourceView(finished=True, output_uri=uri))
    assert (over.actions, condition(over, FINISHED)) == ((), ("True", "InvalidSpec"))
    assert message(over, SUCCEEDED).startswith("output.uri is the output folder of before")
    later = of_another(over.status, source=SourceView(finished=True, output_uri=uri))
    assert (later.actions, later.events, later.status) == ((), (), over.status)


@pytest.mark.parametrize("reason", ["ValidationFailed", "InvalidSpec", "Cancelled", "Expired"])
def test_a_source_that_ended_without_results_is_not_waited_for(reason):
    over = of_another(source=SourceView(finished=True, output_uri="/data/before/", unwritten=reason))
    assert (over.actions, condition(over, FINISHED)) == ((), ("True", "InvalidSpec"))
    assert message(over, SUCCEEDED).startswith(f"The job before, named in resubmitOf, ended as {reason} without")
    assert of_another(over.status, source=None).status == over.status


def test_jobs_that_wait_for_each_other_are_told_so():
    circle = ("tickets", "before", "tickets")
    over = of_another(source=SourceView(finished=False, output_uri="/data/before/", circle=circle))
    assert (over.actions, condition(over, FINISHED)) == ((), ("True", "InvalidSpec"))
    assert "tickets -> before -> tickets" in message(over, SUCCEEDED)


def test_a_source_that_vanishes_while_the_head_starts_is_not_needed_any_more():
    creating = of_another(source=SourceView(finished=True, output_uri="/data/before"))
    assert creating.status.driver.resubmit_of_uri == "/data/before/"
    submitted = of_another(creating.status, cluster=make_cluster())
    assert submitted.actions == (SubmitDriver("10.0.0.1", 1, None, "/data/before/"),)


def test_a_source_that_vanishes_before_its_folder_was_written_down_leaves_no_head_behind():
    """The operator was killed between the creation of the cluster and its status."""
    waiting = of_another(cluster=make_cluster())
    assert waiting.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    assert condition(waiting, PROGRESSING) == ("False", "ResubmitSourceNotReady")
