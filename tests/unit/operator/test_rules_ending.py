"""The rules of a cancel and of the window's end, as sentences. A snapshot goes in, a plan comes out."""

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

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import RowCounts
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus
from tidemill_operator.core.plan import CreateCluster, DeleteCluster, ScaleCluster, StopDriver, SubmitDriver
from tidemill_operator.core.snapshot import Rejection

CANCEL = {"spec": make_spec(cancel=True)}
ENDINGS = {
    "Cancelled": ({"cancel": True}, timedelta(hours=1)),
    "Expired": ({"cancel": False}, timedelta(hours=4)),
}
"""By ending: the spec, and how long after the job's creation it is looked at."""


def working_status(**driver):
    """The status of a job that has answered 4 of 10 rows."""
    seen = crew(1)
    working = look(status=running_status(), **seen, **processing()).status
    return working.model_copy(update={"driver": running_status(**driver).driver})


def at_end(ending, *, status, later=timedelta(0), **seen):
    spec, after = ENDINGS[ending]
    return look(after=after + later, job=make_job(spec=make_spec(**spec), status=status), **seen)


@pytest.mark.parametrize("ending", ENDINGS)
class TestEitherEnd:
    def test_stops_the_driver_has_the_lines_written_and_ends(self, ending):
        seen = crew(1)
        stopping = at_end(ending, status=working_status(), **seen, **processing(rows_completed=6))
        assert stopping.actions == (StopDriver("10.0.0.1", 1),)
        assert condition(stopping, PROGRESSING) == ("True", ending)
        assert condition(stopping, SUCCEEDED) == ("Unknown", "Running")
        assert stopping.status.rows.completed == 6

        second = timedelta(seconds=1)
        stopped = STOPPED
        writing = at_end(ending, status=stopping.status, later=second, **seen, **stopped)
        leave = ScaleCluster("tickets-abc", 0, 4, ("w1",))
        assert writing.actions == (SubmitDriver("10.0.0.1", 2, ending), leave)
        assert (writing.status.driver.ending, writing.status.driver.failures) == (ending, 0)

        told = make_cluster(workers_to_delete=("w1",))
        leaving = {"cluster": told, "workers": make_workers(1, deleting=True)}
        waiting = at_end(ending, status=writing.status, later=2 * second, **leaving, **processing(phase="finalising"))
        assert waiting.actions == ()
        assert condition(waiting, PROGRESSING) == ("True", ending)

        rows = RowCounts(total=10, completed=6, failed=4)
        over = at_end(ending, status=waiting.status, later=3 * second, cluster=told, **ended(Reason(ending), rows=rows))
        assert condition(over, SUCCEEDED) == ("False", ending)
        assert condition(over, FINISHED) == ("True", ending)
        assert message(over, SUCCEEDED) == "Said by the driver."
        assert over.status.rows == RowsStatus(total=10, completed=6, failed=4, remaining=0)

    def test_comes_at_once_where_nothing_was_ever_validated(self, ending):
        over = at_end(ending, status=look().status)
        assert over.actions == ()
        assert condition(over, FINISHED) == ("True", ending)
        assert "before this job was seen to run any row" in message(over, SUCCEEDED)
        assert "in /data/out/, if any, are not joined" in message(over, SUCCEEDED)
        assert over.status.rows.total == 0

    def test_stops_a_driver_that_still_validates_and_looks_for_answers_of_an_earlier_life(self, ending):
        seen = {"cluster": make_cluster()}
        stopping = at_end(ending, status=running_status(), **seen, **active(phase="validating", rows_validated=3))
        assert stopping.actions == (StopDriver("10.0.0.1", 1),)
        looking = at_end(ending, status=stopping.status, **seen, **STOPPED)
        assert looking.actions == (SubmitDriver("10.0.0.1", 2, ending),)
        rows = RowCounts(total=10, completed=6, failed=4)
        over = at_end(ending, status=looking.status, **seen, **ended(Reason(ending), rows=rows))
        assert condition(over, FINISHED) == ("True", ending)
        assert over.status.rows.completed == 6

    @pytest.mark.parametrize("end", [ended(log="Killed"), ended(Reason.STORAGE_UNREACHABLE), LOST])
    def test_looks_again_where_the_attempt_that_looked_did_not_say_what_there_is(self, ending, end):
        looking = at_end(ending, status=running_status(ended_attempt=1), cluster=make_cluster())
        assert looking.actions == (SubmitDriver("10.0.0.1", 2, ending),)
        seconds30 = timedelta(seconds=30)
        failed = at_end(ending, status=looking.status, cluster=make_cluster(), **end)
        assert (failed.actions, condition(failed, FINISHED)) == ((), ("False", "Running"))
        again = at_end(ending, status=failed.status, later=seconds30, cluster=make_cluster())
        assert again.actions == (SubmitDriver("10.0.0.1", 3, ending),)
        rows = RowCounts(total=1, completed=1)
        said = ended(Reason.ALL_ROWS_ANSWERED, rows=rows)
        over = at_end(ending, status=again.status, later=seconds30, cluster=make_cluster(), **said)
        assert (condition(over, SUCCEEDED), over.status.rows) == (
            ("True", "AllRowsAnswered"),
            RowsStatus(total=1, completed=1),
        )

    def test_gets_a_head_where_an_attempt_was_submitted_that_nobody_saw_validate(self, ending):
        """It may have written a manifest before its head died."""
        looking = at_end(ending, status=running_status(ended_attempt=1))
        assert looking.actions == (CreateCluster(),)
        later = timedelta(hours=1)
        over = at_end(ending, status=looking.status, later=later, cluster=make_cluster(head_ready=False, head_ip=""))
        assert condition(over, FINISHED) == ("True", ending)
        assert "no row known to be answered" in message(over, SUCCEEDED)

    def test_asks_a_head_that_stands_although_no_attempt_is_written_down(self, ending):
        """The operator may have been killed between the submission and its status."""
        looking = at_end(ending, status=look().status, cluster=make_cluster())
        assert looking.actions == (SubmitDriver("10.0.0.1", 1, ending),)

    def test_lets_an_attempt_that_is_at_it_go_on_for_longer_than_an_hour(self, ending):
        seen = {"cluster": make_cluster(), **processing(phase="finalising")}
        submitted = at_end(ending, status=working_status(ended_attempt=1), cluster=make_cluster())
        joining = at_end(ending, status=submitted.status, later=timedelta(hours=3), **seen)
        assert (joining.actions, condition(joining, FINISHED)) == ((), ("False", "Running"))
        silent = at_end(ending, status=joining.status, later=timedelta(hours=3), cluster=make_cluster(), attempt=SILENT)
        assert condition(silent, FINISHED) == ("False", "Running")
        since = T0 + ENDINGS[ending][1] + timedelta(hours=3)
        away = {"cluster": make_cluster(head_ready=False, head_ip="", head_away_since=since), "attempt": SILENT}
        for minutes, finished in ((9, ("False", "Running")), (10, ("True", ending))):
            later = timedelta(hours=3, minutes=minutes)
            assert condition(at_end(ending, status=joining.status, later=later, **away), FINISHED) == finished
        over = at_end(ending, status=joining.status, later=timedelta(hours=12), **seen)
        assert condition(over, FINISHED) == ("True", ending)
        assert "could not be put in order within 12 h." in message(over, SUCCEEDED)

    def test_keeps_no_worker_for_a_head_that_is_away_silent_or_takes_no_driver(self, ending):
        workers = {"workers": make_workers(2)}
        leave = (ScaleCluster("tickets-abc", 0, 4, ("w1", "w2")),)
        away = make_cluster(head_ready=False, head_ip="", replicas=2)
        starting = at_end(ending, status=working_status(ended_attempt=1), cluster=away, **workers)
        assert starting.actions == leave
        seen = {"cluster": make_cluster(replicas=2), **workers}
        submitted = at_end(ending, status=working_status(ended_attempt=1), **seen)
        silent = at_end(ending, status=submitted.status, **seen, attempt=SILENT)
        assert silent.actions == leave
        refused = at_end(ending, status=working_status(ended_attempt=1), **seen, submit_problem="HTTP 500")
        assert refused.actions == leave
        for held, why in ((silent, {"attempt": SILENT}), (refused, {"submit_problem": "HTTP 500"})):
            later = at_end(ending, status=held.status, later=timedelta(minutes=2), **seen, **why)
            assert later.actions == (DeleteCluster("tickets-abc", "cluster-1"),)

    def test_notices_that_validation_passed_just_now(self, ending):
        stopping = at_end(ending, status=running_status(), cluster=make_cluster(), **processing(rows_completed=0))
        assert condition(stopping, VALIDATED) == ("True", "AllLinesValid")
        writing = at_end(ending, status=stopping.status, cluster=make_cluster(), **STOPPED)
        assert writing.actions == (SubmitDriver("10.0.0.1", 2, ending),)

    def test_gets_a_cluster_without_workers_where_there_is_none(self, ending):
        status = working_status(ended_attempt=1)
        creating = at_end(ending, status=status)
        assert creating.actions == (CreateCluster(),)
        submitting = at_end(ending, status=creating.status, cluster=make_cluster())
        assert submitting.actions == (SubmitDriver("10.0.0.1", 2, ending),)

    def test_leaves_a_driver_alone_that_puts_the_results_in_order(self, ending):
        joining = at_end(
            ending, status=working_status(), cluster=make_cluster(), **processing(phase="finalising", rows_completed=10)
        )
        assert joining.actions == ()
        assert condition(joining, PROGRESSING) == ("True", "Finalising")
        status, running = joining.status, RUNNING
        for _ in range(3):  # for a while its figures are missing
            blind = at_end(ending, status=status, cluster=make_cluster(), attempt=running, metrics_problem="slow.")
            assert (blind.actions, condition(blind, PROGRESSING)) == ((), ("True", "Finalising"))
            status = blind.status
        over = at_end(ending, status=joining.status, **ended(Reason.ALL_ROWS_ANSWERED))
        assert condition(over, SUCCEEDED) == ("True", "AllRowsAnswered")

    @pytest.mark.parametrize("away", [False, True])
    def test_keeps_the_cluster_of_results_being_put_in_order_through_looks_without_figures(self, ending, away):
        figures = processing(phase="finalising", rows_completed=10)
        begun = at_end(ending, status=working_status(), cluster=make_cluster(), **figures)
        minutes10 = timedelta(minutes=10)
        since = T0 + ENDINGS[ending][1] + minutes10
        head = {"head_ready": False, "head_ip": "", "head_away_since": since} if away else {}
        seen = {"cluster": make_cluster(**head), "attempt": SILENT}
        status = begun.status
        for seconds in (0, 2, 3):
            later = minutes10 + timedelta(seconds=seconds)
            blind = at_end(ending, status=status, later=later, **seen)
            assert blind.actions == ()
            status = blind.status
        seen = {"cluster": make_cluster(), "attempt": RUNNING, "metrics_problem": "slow."}
        back = at_end(ending, status=status, later=minutes10 + timedelta(seconds=5), **seen)
        assert (back.actions, condition(back, PROGRESSING)) == ((), ("True", "Finalising"))

    def test_counts_the_patience_with_a_silent_head_that_joins_from_its_silence(self, ending):
        figures = processing(phase="finalising", rows_completed=10)
        begun = at_end(ending, status=working_status(), cluster=make_cluster(), **figures)
        minutes10, seen = timedelta(minutes=10), {"cluster": make_cluster(), "attempt": SILENT}
        silent = at_end(ending, status=begun.status, later=minutes10, **seen)
        for seconds, removed in ((119, ()), (120, (DeleteCluster("tickets-abc", "cluster-1"),))):
            later = minutes10 + timedelta(seconds=seconds)
            assert at_end(ending, status=silent.status, later=later, **seen).actions == removed

    def test_is_not_held_by_a_head_that_is_silent(self, ending):
        seen = crew(1) | {"attempt": SILENT}
        waiting = at_end(ending, status=working_status(), **seen)
        assert waiting.actions == ()
        removing = at_end(ending, status=waiting.status, later=timedelta(seconds=120), **seen)
        assert removing.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
        lost = at_end(ending, status=removing.status, later=timedelta(seconds=121), **LOST)
        assert lost.actions == (CreateCluster(),)

    def test_tries_again_with_back_off_when_its_driver_dies_and_gives_up_after_an_hour(self, ending):
        status = working_status(ended_attempt=1, attempt=1)
        cluster, waits, later = make_cluster(), [], timedelta(0)
        submitted = at_end(ending, status=status, cluster=cluster)
        for _ in range(6):
            died = at_end(ending, status=submitted.status, later=later, cluster=cluster, **ended(log="Killed"))
            assert died.actions == ()
            assert condition(died, PROGRESSING) == ("False", "DriverFailing")
            wait = died.status.driver.retry_time - (T0 + ENDINGS[ending][1] + later)
            assert died.recheck_after <= wait
            waits.append(wait.total_seconds())
            later += wait
            submitted = at_end(ending, status=died.status, later=later, cluster=cluster)
            assert isinstance(submitted.actions[0], SubmitDriver)
            assert submitted.actions[0].ending == ending
        assert waits == [30, 60, 120, 240, 480, 600]
        over = at_end(ending, status=submitted.status, later=timedelta(hours=1), cluster=cluster, **ended(log="Killed"))
        assert condition(over, FINISHED) == ("True", ending)
        assert "4 of 10 rows answered" in message(over, SUCCEEDED)
        assert "parts/ of /data/out/" in message(over, SUCCEEDED)
        assert message(over, SUCCEEDED).endswith("Killed")

    def test_says_what_its_lines_were_waiting_for_when_it_gives_up(self, ending):
        submitted = at_end(ending, status=working_status(ended_attempt=1), cluster=make_cluster())
        later = timedelta(minutes=55)
        waiting = at_end(
            ending, status=submitted.status, later=later, cluster=make_cluster(), **ended(Reason.INPUT_NOT_FOUND)
        )
        assert (waiting.actions, waiting.recheck_after) == ((), timedelta(seconds=30))
        over = at_end(ending, status=waiting.status, later=timedelta(hours=1), cluster=make_cluster())
        assert condition(over, FINISHED) == ("True", ending)
        assert "within 1 h. It was waiting: InputNotFound: Said by the driver." in message(over, SUCCEEDED)

    def test_comes_at_once_where_the_output_takes_no_file(self, ending):
        waiting = look(status=working_status(), cluster=make_cluster(), **ended(Reason.OUTPUT_NOT_WRITABLE))
        over = at_end(ending, status=waiting.status, cluster=make_cluster())
        assert condition(over, FINISHED) == ("True", ending)
        assert "The output folder takes no file. The lines of answered rows stand in the folder parts/" in message(
            over, SUCCEEDED
        )
        same_look = at_end(ending, status=working_status(), cluster=make_cluster(), **ended(Reason.OUTPUT_NOT_WRITABLE))
        assert condition(same_look, FINISHED) == ("True", ending)

    @pytest.mark.parametrize("reason", [Reason.MODEL_NOT_FOUND, Reason.STORAGE_UNREACHABLE])
    def test_does_not_wait_for_what_only_rows_need(self, ending, reason):
        waiting = look(
            after=timedelta(hours=3, minutes=59),
            status=working_status(),
            cluster=make_cluster(),
            **ended(reason),
        )
        later = timedelta(hours=3)  # a cancel in the middle of the wait
        spec, _ = ENDINGS[ending]
        job = make_job(spec=make_spec(**spec), status=waiting.status)
        after = timedelta(hours=4) if ending == "Expired" else later
        assert look(after=after, job=job, cluster=make_cluster()).actions == (SubmitDriver("10.0.0.1", 2, ending),)

    def test_waits_with_back_off_for_a_cluster_that_is_refused(self, ending):
        refused = Rejection(Reason.CLUSTER_REJECTED, "exceeded quota.")
        creating = at_end(ending, status=working_status(ended_attempt=1), rejection=refused)
        assert creating.recheck_after == timedelta(seconds=30)
        assert at_end(ending, status=creating.status, later=timedelta(seconds=29)).actions == ()
        again = at_end(ending, status=creating.status, later=timedelta(seconds=30))
        assert again.actions == (CreateCluster(),)

    def test_is_told_once_when_it_takes_a_while(self, ending):
        seen = {"cluster": make_cluster(), **processing()}
        first = at_end(ending, status=working_status(), **seen)
        told = {"Cancelled": "Cancelling", "Expired": "Expiring"}[ending]
        assert told in reasons(first)
        assert told not in reasons(at_end(ending, status=first.status, later=timedelta(seconds=1), **seen))


def test_a_cancel_beats_the_end_of_the_window():
    job = make_job(spec=make_spec(cancel=True), status=working_status(ended_attempt=1))
    late = look(after=timedelta(hours=5), job=job, cluster=make_cluster())
    assert late.actions == (SubmitDriver("10.0.0.1", 2, "Cancelled"),)


def test_a_longer_window_lets_the_job_go_on_where_no_end_was_written():
    expired = at_end("Expired", status=working_status(ended_attempt=1), cluster=make_cluster())
    died = at_end("Expired", status=expired.status, cluster=make_cluster(), **ended())
    longer = make_job(spec=make_spec(completionWindow="8h"), status=died.status)
    goes_on = look(after=timedelta(hours=4, minutes=1), job=longer, cluster=make_cluster())
    assert goes_on.actions == (SubmitDriver("10.0.0.1", 3),)
    assert goes_on.status.driver.ending_time is None


def test_a_window_that_is_made_shorter_than_the_jobs_age_ends_it_now():
    shorter = make_job(spec=make_spec(completionWindow="30m"), status=working_status())
    over = look(after=timedelta(hours=1), job=shorter, **crew(1), **processing())
    assert over.actions == (StopDriver("10.0.0.1", 1),)
    assert condition(over, PROGRESSING) == ("True", "Expired")
    assert "The completion window of 30m ended" in message(over, PROGRESSING)


def test_a_job_that_ended_is_not_cancelled_any_more():
    over = look(status=running_status(), **ended(Reason.ALL_ROWS_ANSWERED)).status
    late = look(after=timedelta(hours=9), job=make_job(**CANCEL, status=over))
    assert (late.actions, late.events, late.status) == ((), (), over)


def test_a_job_cancelled_before_it_was_seen_gets_no_cluster():
    over = look(job=make_job(**CANCEL))
    assert (over.actions, condition(over, SUCCEEDED)) == ((), ("False", "Cancelled"))
    assert reasons(over) == ["Cancelled"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"rejection": Rejection(Reason.CLUSTER_REJECTED, "exceeded quota.")}, "ClusterRejected: exceeded quota."),
        (
            {"cluster": make_cluster(head_ready=False, head_ip="", head_problem="0/1 nodes: Insufficient cpu")},
            "ClusterStarting: The head pod is starting: 0/1 nodes: Insufficient cpu",
        ),
    ],
)
def test_a_job_that_never_ran_says_at_its_end_what_it_was_waiting_for(before, said):
    waiting = look(**before)
    over = at_end("Expired", status=waiting.status, cluster=before.get("cluster"))
    assert "before this job was seen to run any row" in message(over, SUCCEEDED)
    assert message(over, SUCCEEDED).endswith(f" It was waiting: {said}")


def test_an_ending_attempt_whose_ray_is_silent_is_held():
    status = working_status(ended_attempt=1)
    submitted = at_end("Cancelled", status=status, cluster=make_cluster())
    silent = at_end("Cancelled", status=submitted.status, cluster=make_cluster(), attempt=SILENT)
    assert silent.actions == ()
    assert condition(silent, PROGRESSING) == ("Unknown", "RayUnreachable")


def test_an_outcome_without_rows_takes_nothing_back():
    status = working_status().model_copy(update={"rows": RowsStatus(total=10, completed=4, remaining=6)})
    over = look(job=make_job(**CANCEL, status=status), cluster=make_cluster(), **ended(Reason.CANCELLED))
    assert over.status.rows == RowsStatus(total=10, completed=4, remaining=6)


def test_a_job_that_is_looked_at_long_after_its_window_still_gets_its_lines():
    """The operator was away at the end: the grace counts from its first look."""
    late = look(after=timedelta(days=3), status=working_status(ended_attempt=1), cluster=make_cluster())
    assert late.actions == (SubmitDriver("10.0.0.1", 2, "Expired"),)
    assert late.status.driver.ending_time == T0 + timedelta(days=3)


def test_an_end_resubmitted_of_another_job_still_knows_its_folder():
    spec = make_spec(cancel=True, resubmitOf="before")
    status = working_status(ended_attempt=1, resubmit_of_uri="/data/before/")
    writing = look(job=replace(make_job(spec=spec, status=status)), cluster=make_cluster())
    assert writing.actions == (SubmitDriver("10.0.0.1", 2, "Cancelled", "/data/before/"),)
