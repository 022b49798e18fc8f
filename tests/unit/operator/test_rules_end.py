"""The rules about the end, the spec and the status, as sentences. A snapshot goes in, a plan comes out."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.builders import (
    FINISHED,
    PROGRESSING,
    RUNNING,
    SUCCEEDED,
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
    reasons,
    running_status,
)

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import RowCounts
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus
from tidemill_operator.core.plan import (
    CreateCluster,
    DeleteCluster,
    DeleteJob,
    ScaleCluster,
    SubmitDriver,
)
from tidemill_operator.core.rules_end import FIX_HINT

# The end


@pytest.mark.parametrize(
    ("reason", "succeeded", "validated"),
    [
        (Reason.ALL_ROWS_ANSWERED, "True", ("True", "AllLinesValid")),
        (Reason.SOME_ROWS_FAILED, "True", ("True", "AllLinesValid")),
        (Reason.ALL_ROWS_FAILED, "False", ("True", "AllLinesValid")),
        (Reason.VALIDATION_FAILED, "False", ("False", "ValidationFailed")),
        (Reason.TOO_MANY_ROWS_FAILED, "False", ("True", "AllLinesValid")),
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
    assert condition(over, PROGRESSING) == ("False", "JobFinished")
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
    away = look(after=timedelta(hours=4), status=waiting.status)
    assert (away.actions, condition(away, SUCCEEDED)) == ((CreateCluster(),), ("Unknown", "Running"))


def test_a_wait_with_a_head_ends_with_one_look_into_the_folder_and_says_what_was_awaited():
    seen = {"after": timedelta(hours=4), "cluster": make_cluster()}
    waiting = look(status=running_status(), cluster=make_cluster(), **ended(Reason.INPUT_NOT_FOUND))
    looking = look(status=waiting.status, **seen)
    assert looking.actions == (SubmitDriver("10.0.0.1", 2, "Expired"),)
    at_it = look(status=looking.status, **seen, attempt=RUNNING)
    over = look(status=at_it.status, **seen, **ended(Reason.EXPIRED, message="No row was run."))
    assert condition(over, SUCCEEDED) == ("False", "Expired")
    assert message(over, SUCCEEDED) == "No row was run. It was waiting: InputNotFound: Said by the driver."


def test_a_job_is_deleted_when_its_time_to_live_is_over():
    job = make_job(spec=make_spec(ttlSecondsAfterFinished=60), status=running_status())
    over = look(job=job, **ended(Reason.ALL_ROWS_ANSWERED)).status
    finished = replace(job, status=over)
    waiting = look(after=timedelta(minutes=1, seconds=40), job=finished)
    assert (waiting.actions, waiting.recheck_after) == ((), timedelta(seconds=20))
    assert look(after=timedelta(minutes=2), job=finished).actions == (DeleteJob(),)


@pytest.mark.parametrize(("seconds", "kept"), [(0, 0), (1800, 1800), (7200, 3600)])
def test_a_time_to_live_that_is_set_after_the_end_counts_from_the_end(seconds, kept):
    over = look(status=running_status(), **ended(Reason.ALL_ROWS_ANSWERED)).status
    job = make_job(spec=make_spec(ttlSecondsAfterFinished=seconds), status=over, generation=2)
    after = timedelta(minutes=1, seconds=kept)  # it ended after a minute; looked at when it is due, or an hour later
    looked = look(after=after, job=job)
    assert looked.actions == ((DeleteJob(),) if seconds <= kept else ())
    assert looked.recheck_after == (None if seconds <= kept else timedelta(hours=1))


def test_a_job_on_its_way_out_is_left_alone():
    leaving = look(job=make_job(deleting=True, status=running_status()), cluster=make_cluster())
    assert (leaving.actions, leaving.status) == ((), running_status())


def test_a_deleted_job_that_a_finalizer_keeps_lets_its_cluster_go():
    job, cluster = replace(make_job(deleting=True, status=running_status()), held=True), make_cluster()
    held = look(job=job, cluster=cluster)
    assert (held.actions, held.status) == ((DeleteCluster(cluster.name, cluster.uid),), running_status())
    assert look(job=job, cluster=replace(cluster, deleting=True)).actions == ()


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
    other = look(job=make_job(problem="two.", status=wrong, generation=2))
    assert message(other, SUCCEEDED) == f"two.{FIX_HINT}"


def test_a_mended_spec_opens_the_job_again():
    wrong = look(job=make_job(problem="one")).status
    mended = look(job=make_job(status=wrong, generation=2))
    assert condition(mended, FINISHED) == ("False", "Running")
    assert mended.status.completion_time is None
    assert look(job=make_job(status=mended.status, generation=2)).actions == (CreateCluster(),)


def test_a_spec_that_the_driver_refused_is_never_started_again():
    refused = look(status=running_status(), cluster=make_cluster(), **ended(Reason.INVALID_SPEC)).status
    for generation in (1, 2):
        later = look(job=make_job(status=refused, generation=generation), after=timedelta(minutes=5))
        assert condition(later, FINISHED) == ("True", "InvalidSpec")
        assert message(later, SUCCEEDED) == "Said by the driver."
        assert (later.actions, later.events, later.recheck_after) == ((), (), None)


def test_a_spec_that_went_wrong_after_an_attempt_still_heals():
    ran = running_status(ended_attempt=1)
    wrong = look(job=make_job(problem="template.volumes: data is a hostPath.", status=ran)).status
    mended = look(job=make_job(status=wrong))
    assert condition(mended, FINISHED) == ("False", "Running")


def test_a_spec_that_goes_wrong_while_the_job_runs_removes_its_cluster():
    wrong = look(job=make_job(problem="one", status=running_status()), cluster=make_cluster())
    gone = look(job=make_job(problem="one", status=wrong.status), cluster=make_cluster())
    assert gone.actions == (DeleteCluster("tickets-abc", "cluster-1"),)


def test_a_long_window_is_warned_about_once_and_says_why():
    job = make_job(spec=make_spec(completionWindow="1d"))
    first = look(job=job)
    assert reasons(first) == ["LongCompletionWindow", "ClusterCreated"]
    assert "1d is above 8h" in first.events[0].message
    assert "a stuck job is noticed as late" in first.events[0].message
    assert reasons(look(job=replace(job, status=first.status), cluster=make_cluster(head_ready=False))) == []


# The status


def test_a_second_look_at_the_same_things_writes_nothing():
    seen = crew(1)
    figures = active(phase="processing", rows_total=9, rows_per_worker=10)
    first = look(status=running_status(), **seen, **figures)
    second = look(after=timedelta(minutes=1, seconds=59), status=first.status, **seen, **figures)
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
