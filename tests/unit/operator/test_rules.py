"""The rules about cluster, work and attempts, as sentences. A snapshot goes in, a plan comes out."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.builders import (
    FINISHED,
    LOST,
    PROGRESSING,
    RUNNING,
    SILENT,
    STOPPED,
    SUCCEEDED,
    T0,
    VALIDATED,
    active,
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

from tidemill_api.conditions import AWAITED, ConditionType, Reason
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus
from tidemill_operator.core.plan import (
    CreateCluster,
    DeleteCluster,
    ScaleCluster,
    StopDriver,
    SubmitDriver,
)
from tidemill_operator.core.snapshot import AttemptState, AttemptView, Rejection

# The cluster


def test_a_new_job_gets_a_cluster_and_says_all_conditions():
    first = look()
    assert first.actions == (CreateCluster(),)
    types = ["Validated", "Progressing", "Suspended", "WindowAtRisk", "Succeeded", "Finished"]
    assert [c.type for c in first.status.conditions] == types
    assert condition(first, ConditionType.SUSPENDED) == ("False", "NotSuspended")
    assert condition(first, SUCCEEDED) == ("Unknown", "Running")
    assert condition(first, FINISHED) == ("False", "Running")
    assert first.status.start_time == T0 + timedelta(minutes=1)


def test_a_head_that_is_not_ready_is_waited_for_and_its_problem_is_said():
    waiting = look(cluster=make_cluster(head_ready=False, head_ip="", head_problem="0/1 nodes: Insufficient cpu"))
    assert waiting.actions == ()
    assert "Insufficient cpu" in message(waiting, PROGRESSING)


def test_a_ready_head_gets_the_first_attempt_at_once():
    submitted = look(cluster=make_cluster())
    assert submitted.actions == (SubmitDriver("10.0.0.1", 1),)
    assert submitted.status.driver.attempt == 1
    assert submitted.status.driver.pool_size == 4
    assert submitted.recheck_after < timedelta(seconds=1)


def test_a_cluster_that_somebody_deletes_is_waited_for():
    assert look(cluster=make_cluster(deleting=True)).actions == ()


@pytest.mark.parametrize("reason", [Reason.CLUSTER_REJECTED, Reason.KUBERAY_MISSING])
def test_a_refused_cluster_is_said_and_tried_again_later_and_later(reason):
    refused = Rejection(reason, "exceeded quota: gpus.")
    status, waits = None, []
    for number in range(1, 8):
        after = timedelta(hours=1) + timedelta(minutes=11) * number
        said = look(after=after, status=status, rejection=refused)
        assert said.actions == ()
        assert condition(said, PROGRESSING) == ("False", reason)
        assert "exceeded quota: gpus." in message(said, PROGRESSING)
        waits.append(said.recheck_after)
        status = said.status
    assert waits == [timedelta(seconds=s) for s in (30, 60, 120, 240, 480, 600, 600)]
    assert reasons(said) == []  # the same words are one event


def test_ray_without_its_agent_is_no_trouble_until_a_minute_has_passed():
    early = look(after=timedelta(seconds=20), cluster=make_cluster(), submit_problem="HTTP 500")
    late = look(after=timedelta(seconds=90), cluster=make_cluster(), submit_problem="HTTP 500")
    assert (condition(early, PROGRESSING), condition(late, PROGRESSING)) == (
        ("True", "ClusterStarting"),
        ("Unknown", "RayUnreachable"),
    )
    assert early.actions == late.actions == ()
    assert early.status.driver.attempt == 0


def test_a_silent_ray_holds_everything():
    silent = look(
        status=running_status(),
        **crew(3),
        attempt=SILENT,
    )
    assert silent.actions == ()
    assert condition(silent, PROGRESSING) == ("Unknown", "RayUnreachable")
    assert silent.status.driver == running_status().driver


def test_workers_are_not_held_for_ever_for_a_ray_that_is_silent():
    seen = crew(3)
    silent = {"attempt": SILENT}
    first = look(status=running_status(), **seen, **silent)
    held = look(after=timedelta(minutes=30), status=first.status, **seen, **silent)
    assert held.actions == ()
    removed = look(after=timedelta(minutes=31), status=held.status, **seen, **silent)
    assert removed.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    assert reasons(removed) == ["ClusterRemoved"]
    again = look(after=timedelta(minutes=31), status=removed.status, **LOST)
    assert again.actions == (CreateCluster(),)


def test_workers_are_not_held_for_ever_for_a_ray_that_takes_no_driver():
    seen = crew(3) | {"submit_problem": "HTTP 500"}
    first = look(after=timedelta(minutes=2), status=running_status(ended_attempt=1), **seen)
    held = look(after=timedelta(minutes=11), status=first.status, **seen)
    assert (first.actions, held.actions) == ((), ())
    removed = look(after=timedelta(minutes=12), status=held.status, **seen)
    assert removed.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_workers_wait_ten_minutes_for_a_head_that_is_away():
    away = make_cluster(head_ready=False, head_ip="", replicas=2, head_away_since=T0)
    seen = {"cluster": away, "workers": make_workers(2)}
    assert look(after=timedelta(minutes=9), status=running_status(), **seen).actions == ()
    later = look(after=timedelta(minutes=10), status=running_status(), **seen)
    assert later.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1", "w2")),)
    assert later.status.workers.desired == 0


# Work


def test_no_worker_before_validation_passed_even_with_a_minimum():
    job = make_job(spec=make_spec(workers={"min": 2, "max": 4}), status=running_status())
    validating = look(job=job, cluster=make_cluster(), **active(phase="validating", rows_validated=7))
    assert validating.actions == ()
    assert condition(validating, PROGRESSING) == ("True", "Validating")


def test_validated_rows_get_their_workers_in_the_same_pass():
    working = look(
        status=running_status(),
        cluster=make_cluster(),
        **active(phase="processing", rows_total=100_000, rows_per_worker=10),
    )
    assert working.actions == (ScaleCluster("tickets-abc", 4, 4),)
    assert condition(working, VALIDATED) == ("True", "AllLinesValid")
    assert condition(working, PROGRESSING) == ("True", "AwaitingWorkers")
    assert working.status.workers.desired == 4
    assert reasons(working)[:2] == ["Scaled", "AllLinesValid"]


def test_pending_workers_say_why():
    working = look(
        status=running_status(),
        cluster=make_cluster(replicas=3, worker_problem="Insufficient nvidia.com/gpu"),
        workers=make_workers(3, ready=False),
        **active(phase="processing", rows_total=25, rows_per_worker=10),
    )
    assert "Insufficient nvidia.com/gpu" in message(working, PROGRESSING)


def test_an_engine_that_answers_before_its_pod_is_ready_counts_as_processing():
    working = look(
        status=running_status(),
        cluster=make_cluster(replicas=1),
        workers=make_workers(1, ready=False),
        **active(phase="processing", rows_total=25, rows_per_worker=30, in_flight={"10.0.1.1": 25}),
    )
    assert condition(working, PROGRESSING) == ("True", "Processing")


def test_idle_workers_go_by_name_together_with_the_replicas():
    working = look(
        status=running_status(),
        **crew(3),
        **active(phase="processing", rows_total=25, rows_completed=20, rows_per_worker=10, in_flight={"10.0.1.2": 5}),
    )
    assert working.actions == (ScaleCluster("tickets-abc", 1, 4, ("w1", "w3")),)


def test_names_of_pods_that_have_gone_leave_workers_to_delete():
    working = look(
        status=running_status(),
        cluster=make_cluster(replicas=1, workers_to_delete=("w1", "gone")),
        workers=make_workers(1, deleting=True) + make_workers(2)[1:],
        **active(phase="processing", rows_total=25, rows_completed=20, rows_per_worker=10, in_flight={"10.0.1.2": 5}),
    )
    assert working.actions == (ScaleCluster("tickets-abc", 1, 4, ("w1",)),)


def test_missing_figures_freeze_the_workers_and_are_said():
    status = look(
        status=running_status(),
        **crew(3),
        **active(phase="processing", rows_total=25, rows_completed=4, rows_per_worker=10),
    ).status
    blind = look(
        status=status,
        **crew(3),
        attempt=RUNNING,
        metrics_problem="connection refused.",
    )
    assert blind.actions == ()
    assert blind.status.rows == RowsStatus(total=25, completed=4, failed=0, remaining=21)
    assert condition(blind, PROGRESSING) == ("True", "FiguresMissing")
    assert "connection refused. Workers are held" in message(blind, PROGRESSING)


def test_a_driver_whose_first_figures_never_come_says_so_after_a_minute():
    running = AttemptView(AttemptState.ACTIVE, submitted=T0 + timedelta(minutes=1))
    seen = {"cluster": make_cluster(), "attempt": running, "metrics_problem": "connection refused."}
    submitted = look(cluster=make_cluster())
    early = look(after=timedelta(seconds=119), status=submitted.status, **seen)
    assert condition(early, PROGRESSING) == ("True", "Validating")
    assert early.recheck_after < timedelta(seconds=1)
    late = look(after=timedelta(seconds=120), status=early.status, **seen)
    assert condition(late, PROGRESSING) == ("True", "FiguresMissing")
    assert "live figures are missing: connection refused." in message(late, PROGRESSING)
    assert late.recheck_after == timedelta(seconds=2)
    assert look(after=timedelta(hours=1), status=late.status, **seen).status == late.status
    healed = look(status=late.status, cluster=make_cluster(), **active(phase="validating", rows_validated=7))
    assert message(healed, PROGRESSING) == "7 lines of the input read."


def test_figures_that_were_missing_for_long_are_no_reason_to_give_up_a_ray_that_is_silent_for_a_moment():
    running = AttemptView(AttemptState.ACTIVE, submitted=T0)
    blind = look(after=timedelta(minutes=2), status=running_status(), cluster=make_cluster(), attempt=running)
    held = look(after=timedelta(hours=1), status=blind.status, cluster=make_cluster(), attempt=SILENT)
    assert held.actions == ()
    assert condition(held, PROGRESSING) == ("Unknown", "RayUnreachable")


def test_workers_that_are_long_in_coming_are_asked_for_rarely():
    seen = {"cluster": make_cluster(replicas=3), **active(phase="processing", rows_total=25, rows_per_worker=10)}
    first = look(status=running_status(), **seen)
    assert first.recheck_after < timedelta(seconds=1)
    early = look(after=timedelta(seconds=119), status=first.status, **seen)
    late = look(after=timedelta(seconds=120), status=first.status, **seen)
    assert (early.recheck_after, late.recheck_after) == (timedelta(seconds=0.5), timedelta(seconds=2))


def test_lines_that_are_read_are_not_written_at_every_look():
    def said(lines):
        seen = {"cluster": make_cluster(), **active(phase="validating", rows_validated=lines)}
        return message(look(status=running_status(), **seen), PROGRESSING)

    assert said(999) == "999 lines of the input read."
    assert said(61_234) == said(69_999) == "At least 60000 lines of the input read."
    assert len({said(lines) for lines in range(1000, 1_000_000, 997)}) == 27


def test_a_restarted_driver_that_validates_again_keeps_its_workers():
    status = look(
        status=running_status(), cluster=make_cluster(), **active(phase="processing", rows_total=25, rows_per_worker=10)
    ).status
    again = look(status=status, **crew(3), **active(phase="validating"))
    assert again.actions == ()
    assert again.status.rows.total == 25


def test_a_minimum_that_is_raised_starts_workers_that_the_rows_do_not_fill():
    for least, wanted in ((0, 1), (2, 2)):
        job = make_job(spec=make_spec(workers={"min": least, "max": 4}), status=running_status())
        assert look(job=job, **crew(1), **processing()).status.workers.desired == wanted


def test_finalising_needs_no_worker_not_even_the_minimum():
    job = make_job(spec=make_spec(workers={"min": 2, "max": 4}), status=running_status())
    done = look(
        job=job,
        **crew(2),
        **active(phase="finalising", rows_total=9, rows_completed=9),
    )
    assert done.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1", "w2")),)


def test_a_raised_maximum_restarts_the_driver_with_a_larger_pool():
    job = make_job(spec=make_spec(workers={"max": 8}), status=running_status())
    figures = active(phase="processing", rows_total=900, rows_per_worker=10)
    stopping = look(job=job, **crew(4), **figures)
    assert stopping.actions == (StopDriver("10.0.0.1", 1),)
    stopped = look(
        job=replace(job, status=stopping.status),
        **crew(4),
        **STOPPED,
    )
    assert stopped.actions == (SubmitDriver("10.0.0.1", 2),)
    assert stopped.status.driver.failures == 0
    assert stopped.status.driver.pool_size == 8


def test_a_lowered_maximum_sends_workers_away_those_with_the_fewest_rows_first():
    job = make_job(spec=make_spec(workers={"max": 1}), status=running_status())
    figures = active(phase="processing", rows_total=900, rows_per_worker=10, in_flight={"10.0.1.1": 8, "10.0.1.2": 9})
    lowered = look(job=job, **crew(4), **figures)
    assert lowered.actions == (ScaleCluster("tickets-abc", 1, 1, ("w1", "w3", "w4")),)
    assert lowered.status.workers.desired == 1


def test_rows_on_a_node_that_is_gone_wait_for_a_worker_and_hold_none():
    figures = active(phase="processing", rows_total=30, rows_per_worker=10, in_flight={"10.0.1.9": 9, "10.0.1.8": 9})
    done = {**figures, "metrics": replace(figures["metrics"], rows_completed=20)}
    seen = {"status": running_status(), "cluster": make_cluster(replicas=1), "workers": make_workers(1)}
    assert look(**seen, **done).status.workers.desired == 1
    over = {**figures, "metrics": replace(figures["metrics"], rows_completed=30)}
    assert look(**seen, **over).actions == (ScaleCluster("tickets-abc", 0, 4, ("w1",)),)


# Attempts


@pytest.mark.parametrize("reason", sorted(AWAITED))
def test_an_awaited_cause_costs_no_worker_and_waits_longer_each_time(reason):
    status, waits = running_status(), []
    for attempt in range(1, 8):
        status = status.model_copy(update={"driver": status.driver.model_copy(update={"attempt": attempt})})
        waiting = look(status=status, **crew(2), **ended(reason))
        assert waiting.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1", "w2")),)
        assert condition(waiting, PROGRESSING) == ("False", reason)
        assert condition(waiting, SUCCEEDED) == ("Unknown", "Running")
        waits.append(waiting.recheck_after.total_seconds())
        status = waiting.status
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_the_next_try_keeps_saying_what_was_awaited_until_it_gets_further():
    waiting = look(status=running_status(), cluster=make_cluster(), **ended(Reason.INPUT_NOT_FOUND))
    early = look(after=timedelta(minutes=1, seconds=29), status=waiting.status, cluster=make_cluster())
    assert early.actions == ()
    assert early.recheck_after == timedelta(seconds=1)
    retried = look(after=timedelta(minutes=1, seconds=30), status=early.status, cluster=make_cluster())
    assert retried.actions == (SubmitDriver("10.0.0.1", 2),)
    assert condition(retried, PROGRESSING) == ("False", "InputNotFound")
    reading = look(
        after=timedelta(minutes=2),
        status=retried.status,
        cluster=make_cluster(),
        **active(phase="validating", rows_validated=1),
    )
    assert condition(reading, PROGRESSING) == ("True", "Validating")
    assert reading.status.driver.waits == 0


def test_a_driver_with_new_rows_is_restarted_at_once_for_ever():
    status = running_status()
    for attempt in range(1, 20):
        rows = RowsStatus(total=100, completed=attempt, remaining=100 - attempt)
        died = look(status=status.model_copy(update={"rows": rows}), cluster=make_cluster(), **ended(log="Killed"))
        assert died.actions == (SubmitDriver("10.0.0.1", attempt + 1),)
        assert died.status.driver.failures == 0
        assert "Killed" in next(e.message for e in died.events if e.reason == "DriverDied")
        status = died.status


def test_five_deaths_without_a_row_wait_and_show_the_log():
    status = running_status()
    for attempt in range(1, 5):
        died = look(status=status, cluster=make_cluster(), **ended(log="segfault"))
        assert died.actions == (SubmitDriver("10.0.0.1", attempt + 1),)
        status = died.status
    fifth = look(status=status, **crew(1), **ended(log="segfault"))
    assert fifth.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1",)),)
    assert condition(fifth, PROGRESSING) == ("False", "DriverFailing")
    assert "segfault" in message(fifth, PROGRESSING)
    assert fifth.recheck_after == timedelta(seconds=30)
    assert condition(fifth, FINISHED) == ("False", "Running")


def test_a_head_lost_with_its_driver_is_a_death_like_any_other():
    lost = look(status=running_status(), cluster=make_cluster(), **LOST)
    assert lost.actions == (SubmitDriver("10.0.0.1", 2),)
    assert lost.status.driver.failures == 1


def test_a_cluster_lost_in_the_middle_is_made_again():
    lost = look(status=running_status(), **LOST)
    assert lost.actions == (CreateCluster(),)
    assert lost.status.driver.ended_attempt == 1
