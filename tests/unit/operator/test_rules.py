"""Each rule of the planner, as sentences. A snapshot goes in; actions, conditions and the next look come out."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.builders import (
    T0,
    active,
    condition,
    ended,
    look,
    make_cluster,
    make_job,
    make_spec,
    make_workers,
    message,
    reasons,
    running_status,
)

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.job_contract import RowCounts
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus
from tidemill_operator.core.plan import (
    CreateCluster,
    DeleteCluster,
    DeleteJob,
    ScaleCluster,
    StopDriver,
    SubmitDriver,
)
from tidemill_operator.core.snapshot import AttemptState, AttemptView, Rejection

PROGRESSING, SUCCEEDED = ConditionType.PROGRESSING, ConditionType.SUCCEEDED
VALIDATED, FINISHED = ConditionType.VALIDATED, ConditionType.FINISHED


# The cluster


def test_a_new_job_gets_a_cluster_and_says_all_four_conditions():
    first = look()
    assert first.actions == (CreateCluster(),)
    assert [c.type for c in first.status.conditions] == ["Validated", "Progressing", "Succeeded", "Finished"]
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


def test_a_refused_cluster_is_said_and_tried_again_later_and_later():
    refused = Rejection(Reason.CLUSTER_REJECTED, "exceeded quota: gpus.")
    status, waits = None, []
    for number in range(1, 8):
        after = timedelta(hours=1) + timedelta(minutes=11) * number
        said = look(after=after, status=status, rejection=refused)
        assert said.actions == ()
        assert condition(said, PROGRESSING) == ("False", "ClusterRejected")
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
        cluster=make_cluster(replicas=3),
        workers=make_workers(3),
        attempt=AttemptView(AttemptState.UNKNOWN, problem="timed out."),
    )
    assert silent.actions == ()
    assert condition(silent, PROGRESSING) == ("Unknown", "RayUnreachable")
    assert silent.status.driver == running_status().driver


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
        **active(phase="processing", rows_total=25, rows_per_worker=10),
    )
    assert working.actions == (ScaleCluster("tickets-abc", 3, 4),)
    assert condition(working, VALIDATED) == ("True", "AllLinesValid")
    assert condition(working, PROGRESSING) == ("True", "AwaitingWorkers")
    assert working.status.workers.desired == 3
    assert reasons(working) == ["Scaled", "AllLinesValid"]


def test_pending_workers_say_why():
    working = look(
        status=running_status(),
        cluster=make_cluster(replicas=3, worker_problem="Insufficient nvidia.com/gpu"),
        workers=make_workers(3, ready=False),
        **active(phase="processing", rows_total=25, rows_per_worker=10),
    )
    assert "Insufficient nvidia.com/gpu" in message(working, PROGRESSING)


def test_idle_workers_go_by_name_together_with_the_replicas():
    working = look(
        status=running_status(),
        cluster=make_cluster(replicas=3),
        workers=make_workers(3),
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
        cluster=make_cluster(replicas=3),
        workers=make_workers(3),
        **active(phase="processing", rows_total=25, rows_completed=4, rows_per_worker=10),
    ).status
    blind = look(
        status=status,
        cluster=make_cluster(replicas=3),
        workers=make_workers(3),
        attempt=AttemptView(AttemptState.ACTIVE),
        metrics_problem="connection refused.",
    )
    assert blind.actions == ()
    assert blind.status.rows == RowsStatus(total=25, completed=4, failed=0, remaining=21)
    assert "connection refused. Workers are held" in message(blind, PROGRESSING)


def test_a_restarted_driver_that_validates_again_keeps_its_workers():
    status = look(
        status=running_status(), cluster=make_cluster(), **active(phase="processing", rows_total=25, rows_per_worker=10)
    ).status
    again = look(status=status, cluster=make_cluster(replicas=3), workers=make_workers(3), **active(phase="validating"))
    assert again.actions == ()
    assert again.status.rows.total == 25


def test_finalising_needs_no_worker_not_even_the_minimum():
    job = make_job(spec=make_spec(workers={"min": 2, "max": 4}), status=running_status())
    done = look(
        job=job,
        cluster=make_cluster(replicas=2),
        workers=make_workers(2),
        **active(phase="finalising", rows_total=9, rows_completed=9),
    )
    assert done.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1", "w2")),)


def test_a_raised_maximum_restarts_the_driver_with_a_larger_pool():
    job = make_job(spec=make_spec(workers={"max": 8}), status=running_status())
    figures = active(phase="processing", rows_total=900, rows_per_worker=10)
    stopping = look(job=job, cluster=make_cluster(replicas=4), workers=make_workers(4), **figures)
    assert stopping.actions == (StopDriver("10.0.0.1", 1),)
    stopped = look(
        job=replace(job, status=stopping.status),
        cluster=make_cluster(replicas=4),
        workers=make_workers(4),
        **ended(state=AttemptState.STOPPED),
    )
    assert stopped.actions == (SubmitDriver("10.0.0.1", 2),)
    assert stopped.status.driver.failures == 0
    assert stopped.status.driver.pool_size == 8


def test_a_lowered_maximum_lets_busy_workers_finish():
    job = make_job(spec=make_spec(workers={"max": 1}), status=running_status())
    figures = active(phase="processing", rows_total=900, rows_per_worker=10, in_flight={"10.0.1.1": 9, "10.0.1.2": 9})
    lowered = look(job=job, cluster=make_cluster(replicas=4), workers=make_workers(4), **figures)
    assert lowered.actions == (ScaleCluster("tickets-abc", 2, 2, ("w3", "w4")),)


# Attempts


@pytest.mark.parametrize(
    "reason", [Reason.INPUT_NOT_FOUND, Reason.INPUT_NOT_READABLE, Reason.OUTPUT_NOT_WRITABLE, Reason.MODEL_NOT_FOUND]
)
def test_an_awaited_cause_costs_no_worker_and_waits_longer_each_time(reason):
    status, waits = running_status(), []
    for attempt in range(1, 8):
        status = status.model_copy(update={"driver": status.driver.model_copy(update={"attempt": attempt})})
        waiting = look(status=status, cluster=make_cluster(replicas=2), workers=make_workers(2), **ended(reason))
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
    fifth = look(status=status, cluster=make_cluster(replicas=1), workers=make_workers(1), **ended(log="segfault"))
    assert fifth.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1",)),)
    assert condition(fifth, PROGRESSING) == ("False", "DriverFailing")
    assert "segfault" in message(fifth, PROGRESSING)
    assert fifth.recheck_after == timedelta(seconds=30)
    assert condition(fifth, FINISHED) == ("False", "Running")


def test_a_head_lost_with_its_driver_is_a_death_like_any_other():
    lost = look(status=running_status(), cluster=make_cluster(), **ended(state=AttemptState.LOST))
    assert lost.actions == (SubmitDriver("10.0.0.1", 2),)
    assert lost.status.driver.failures == 1


def test_a_cluster_lost_in_the_middle_is_made_again():
    lost = look(status=running_status(), **ended(state=AttemptState.LOST))
    assert lost.actions == (CreateCluster(),)
    assert lost.status.driver.ended_attempt == 1


# The end


@pytest.mark.parametrize(
    ("reason", "succeeded", "validated"),
    [
        (Reason.ALL_ROWS_ANSWERED, "True", ("True", "AllLinesValid")),
        (Reason.SOME_ROWS_FAILED, "True", ("True", "AllLinesValid")),
        (Reason.ALL_ROWS_FAILED, "False", ("True", "AllLinesValid")),
        (Reason.VALIDATION_FAILED, "False", ("False", "ValidationFailed")),
        (Reason.OUTPUT_IN_USE, "False", ("Unknown", "AwaitingValidation")),
        (Reason.INPUT_CHANGED, "False", ("Unknown", "AwaitingValidation")),
    ],
)
def test_a_final_outcome_ends_the_job_in_its_own_words(reason, succeeded, validated):
    rows = RowCounts(total=9, completed=7, failed=2)
    over = look(status=running_status(), cluster=make_cluster(replicas=1), **ended(reason, rows=rows))
    assert over.actions == ()  # the cluster goes once the end is written
    assert condition(over, SUCCEEDED) == (succeeded, reason)
    assert condition(over, FINISHED) == ("True", reason)
    assert condition(over, VALIDATED) == validated
    assert message(over, SUCCEEDED) == "Said by the driver."
    assert over.status.rows == RowsStatus(total=9, completed=7, failed=2, remaining=0)
    assert over.recheck_after == timedelta(0)
    gone = look(status=over.status, cluster=make_cluster())
    assert gone.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    assert gone.events == ()


def test_the_head_stays_until_the_workers_of_a_finished_job_have_left():
    over = look(status=running_status(), cluster=make_cluster(replicas=2), **ended(Reason.ALL_ROWS_ANSWERED)).status
    seen = {"status": over, "workers": make_workers(2)}
    leaving = look(cluster=make_cluster(replicas=2), **seen)
    assert leaving.actions == (ScaleCluster("tickets-abc", 0, 4, ("w1", "w2")),)
    told = make_cluster(workers_to_delete=("w1", "w2"))
    waiting = look(status=over, cluster=told, workers=make_workers(2, deleting=True))
    assert (waiting.actions, waiting.recheck_after) == ((), timedelta(seconds=1))
    gone = look(status=over, cluster=told)
    assert gone.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    stuck = look(after=timedelta(minutes=2), cluster=told, **seen)
    assert stuck.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_a_finished_job_without_a_cluster_asks_for_nothing_more():
    over = look(status=running_status(), **ended(Reason.ALL_ROWS_ANSWERED)).status
    idle = look(after=timedelta(days=3), status=over)
    assert (idle.actions, idle.events, idle.recheck_after, idle.status) == ((), (), None, over)


def test_all_rows_failed_shows_the_drivers_last_lines():
    over = look(status=running_status(), **ended(Reason.ALL_ROWS_FAILED, log="CUDA out of memory"))
    assert message(over, SUCCEEDED).endswith("CUDA out of memory")


def test_a_window_that_ends_stops_the_driver_and_then_expires():
    status = running_status().model_copy(update={"rows": RowsStatus(total=10, completed=4, remaining=6)})
    figures = active(phase="processing", rows_total=10, rows_completed=4)
    stopping = look(after=timedelta(hours=4), status=status, cluster=make_cluster(), **figures)
    assert stopping.actions == (StopDriver("10.0.0.1", 1),)
    assert condition(stopping, SUCCEEDED) == ("Unknown", "Running")
    over = look(
        after=timedelta(hours=4, seconds=3),
        status=stopping.status,
        cluster=make_cluster(),
        **ended(state=AttemptState.STOPPED),
    )
    assert condition(over, SUCCEEDED) == ("False", "Expired")
    assert condition(over, FINISHED) == ("True", "Expired")
    assert "4 of 10 rows answered" in message(over, SUCCEEDED)
    assert "parts/ of /data/out/" in message(over, SUCCEEDED)


def test_a_driver_that_will_not_stop_does_not_hold_the_end_for_ever():
    figures = active(phase="processing", rows_total=10)
    over = look(after=timedelta(hours=4, minutes=3), status=running_status(), cluster=make_cluster(), **figures)
    assert condition(over, SUCCEEDED) == ("False", "Expired")


def test_results_that_are_being_written_when_the_window_ends_are_finished():
    figures = active(phase="finalising", rows_total=10, rows_completed=10)
    assert look(after=timedelta(hours=4), status=running_status(), cluster=make_cluster(), **figures).actions == ()


def test_results_that_are_written_for_ever_do_not_hold_the_end_for_ever():
    figures = active(phase="finalising", rows_total=10, rows_completed=10)
    late = look(after=timedelta(hours=5), status=running_status(), cluster=make_cluster(), **figures)
    assert condition(late, SUCCEEDED) == ("False", "Expired")


def test_an_outcome_in_time_beats_a_window_that_ends_in_the_same_moment():
    over = look(after=timedelta(hours=5), status=running_status(), **ended(Reason.ALL_ROWS_ANSWERED))
    assert condition(over, SUCCEEDED) == ("True", "AllRowsAnswered")


def test_a_wait_ends_with_the_window():
    waiting = look(
        after=timedelta(hours=3, minutes=59, seconds=50),
        status=running_status(),
        cluster=make_cluster(),
        **ended(Reason.INPUT_NOT_FOUND),
    )
    assert waiting.recheck_after == timedelta(seconds=10)
    over = look(after=timedelta(hours=4), status=waiting.status, cluster=make_cluster())
    assert condition(over, SUCCEEDED) == ("False", "Expired")
    assert "no row answered" in message(over, SUCCEEDED)


def test_a_job_is_deleted_when_its_time_to_live_is_over():
    job = make_job(spec=make_spec(ttlSecondsAfterFinished=60), status=running_status())
    over = look(job=job, **ended(Reason.ALL_ROWS_ANSWERED)).status
    finished = replace(job, status=over)
    waiting = look(after=timedelta(minutes=1, seconds=40), job=finished)
    assert (waiting.actions, waiting.recheck_after) == ((), timedelta(seconds=20))
    assert look(after=timedelta(minutes=2), job=finished).actions == (DeleteJob(),)


def test_a_job_on_its_way_out_is_left_alone():
    leaving = look(job=make_job(deleting=True, status=running_status()), cluster=make_cluster())
    assert (leaving.actions, leaving.status) == ((), running_status())


# The spec


def test_a_wrong_spec_is_said_once_and_never_retried():
    wrong = look(job=make_job(problem="template.volumes: data is a hostPath."))
    assert wrong.actions == ()
    assert condition(wrong, SUCCEEDED) == ("False", "InvalidSpec")
    assert condition(wrong, FINISHED) == ("True", "InvalidSpec")
    assert reasons(wrong) == ["InvalidSpec"]
    again = look(job=make_job(problem="template.volumes: data is a hostPath.", status=wrong.status))
    assert (again.status, again.events, again.recheck_after) == (wrong.status, (), None)


def test_another_mistake_in_a_wrong_spec_is_said_instead():
    wrong = look(job=make_job(problem="one")).status
    other = look(job=make_job(problem="two", status=wrong, generation=2))
    assert message(other, SUCCEEDED) == "two"


def test_a_mended_spec_opens_the_job_again():
    wrong = look(job=make_job(problem="one")).status
    mended = look(job=make_job(status=wrong, generation=2))
    assert condition(mended, FINISHED) == ("False", "Running")
    assert mended.status.completion_time is None
    assert look(job=make_job(status=mended.status, generation=2)).actions == (CreateCluster(),)


def test_a_spec_that_goes_wrong_while_the_job_runs_removes_its_cluster():
    wrong = look(job=make_job(problem="one", status=running_status()), cluster=make_cluster())
    gone = look(job=make_job(problem="one", status=wrong.status), cluster=make_cluster())
    assert gone.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_a_long_window_is_warned_about_once_and_says_why():
    job = make_job(spec=make_spec(completionWindow="1d"))
    first = look(job=job)
    assert reasons(first) == ["LongCompletionWindow", "ClusterCreated"]
    assert "1d is above 8h" in first.events[0].message
    assert reasons(look(job=replace(job, status=first.status), cluster=make_cluster(head_ready=False))) == []


# The status


def test_a_second_look_at_the_same_things_writes_nothing():
    seen = {"cluster": make_cluster(replicas=1), "workers": make_workers(1)}
    figures = active(phase="processing", rows_total=9, rows_per_worker=10)
    first = look(status=running_status(), **seen, **figures)
    second = look(after=timedelta(minutes=7), status=first.status, **seen, **figures)
    assert second.status == first.status
    assert (second.actions, second.events) == ((), ())


def test_a_transition_time_moves_only_when_the_status_flips():
    first = look(cluster=make_cluster(head_ready=False))
    later = look(after=timedelta(minutes=9), status=first.status, cluster=make_cluster())
    before = {c.type: c for c in first.status.conditions}
    after = {c.type: c for c in later.status.conditions}
    assert before[PROGRESSING].reason != after[PROGRESSING].reason
    assert before[PROGRESSING].last_transition_time == after[PROGRESSING].last_transition_time


def test_conditions_carry_the_generation_they_speak_of():
    first = look()
    edited = look(job=make_job(status=first.status, generation=5))
    assert {c.observed_generation for c in edited.status.conditions} == {5}
    assert edited.status.observed_generation == 5
